"""The service's side of the relay: starts it, gives it what sandboxes hand out, and takes it back.

If it dies, connections that were open are lost, and another takes over: what sandboxes handed out is kept here for
that, so who connects meanwhile only waits.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lamplighter.sandbox.channel import Channel, close_all
from lamplighter.sandbox.contract import SandboxError
from lamplighter.sandbox.reach import Reach

_END_LIMIT = 5.0  # seconds
_AGAIN = (0.1, 1.0, 5.0, 30.0)  # seconds before the next is started, if they die one after the other
_STEADY = 60.0  # seconds after which one has not died of how it was started

_log = logging.getLogger(__name__)


class Ways:
    """The ways out of sandboxes. Make it with `launch`, give it back with `close`."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._open: dict[int, list[int]] = {}  # what sandboxes handed out
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def launch(cls, reach: Reach) -> Self:
        """The relay has the rights that we have now, at most."""
        ways = cls(reach)
        await ways._start()
        ways._watching = asyncio.get_running_loop().create_task(ways._watch())
        return ways

    @property
    def pid(self) -> int | None:
        """The relay's, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def open(self, name: int, descriptors: list[int]) -> None:
        """Serve a sandbox's connections and datagrams; the descriptors are ours."""
        self._open[name] = descriptors
        self._hand(name)

    def shut(self, name: int) -> None:
        kept = self._open.pop(name, None)
        if kept is not None:
            close_all(kept)
            self._send({"close": name})

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for name in tuple(self._open):
            self.shut(name)
        self._hang_up()
        if self._process is None:
            return
        try:
            async with asyncio.timeout(_END_LIMIT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "lamplighter.sandbox.relay", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"},
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise SandboxError(f"the relay for functions' network could not be started: {error}") from error
        self._channel = Channel(ours)
        reach = {"allowed": self._reach.allowed, "refused": self._reach.refused}
        self._send({name: [str(network) for network in named] for name, named in reach.items()})
        for name in self._open:
            self._hand(name)

    async def _watch(self) -> None:
        """Start another relay whenever one dies."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            started = loop.time()
            if self._process is not None:
                code = await self._process.wait()
                self._process = None
                deaths = 0 if loop.time() - started > _STEADY else deaths
                lost = "the relay died (%s): functions' connections outside are lost, and new ones wait for another"
                _log.error(lost, f"signal {-code}" if code < 0 else f"exit code {code}")
            self._hang_up()
            await asyncio.sleep(_AGAIN[min(deaths, len(_AGAIN) - 1)])
            deaths += 1
            try:
                await self._start()
            except SandboxError as error:
                _log.error("%s", error)

    def _hand(self, name: int) -> None:
        self._send({"open": name}, [os.dup(each) for each in self._open[name]])

    def _send(self, body: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        if self._channel is None:
            close_all(descriptors)
            return
        self._channel.send(body, descriptors)
        if self._channel.pending:
            asyncio.get_running_loop().add_writer(self._channel, self._flush)

    def _flush(self) -> None:
        if self._channel is not None:
            self._channel.flush()
            if not self._channel.pending:
                asyncio.get_running_loop().remove_writer(self._channel)

    def _hang_up(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_writer(self._channel)
            self._channel.close()
            self._channel = None
