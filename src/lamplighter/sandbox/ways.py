"""The service's side of the relay: starts it, gives it what sandboxes hand out, and takes it back."""

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

_END_LIMIT = 5.0  # seconds

_log = logging.getLogger(__name__)


class Ways:
    """The ways out of sandboxes. Make it with `launch`, give it back with `close`."""

    def __init__(self, channel: Channel, process: asyncio.subprocess.Process) -> None:
        self._channel = channel
        self._process = process
        self._closed = False
        asyncio.get_running_loop().add_reader(channel, self._on_end)

    @classmethod
    async def launch(cls, allowed: Sequence[str]) -> Self:
        """`allowed`: networks beside the internet. The relay has the rights that we have now."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "lamplighter.sandbox.relay", str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"},
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise SandboxError(f"the relay for functions' network could not be started: {error}") from error
        ways = cls(Channel(ours), process)
        ways._channel.send({"allowed": list(allowed)})
        return ways

    def open(self, name: int, descriptors: list[int]) -> None:
        """Serve a sandbox's connections and questions; the descriptors are ours."""
        if self._closed:
            close_all(descriptors)
        else:
            self._send({"open": name}, descriptors)

    def shut(self, name: int) -> None:
        if not self._closed:
            self._send({"close": name}, ())

    async def close(self) -> None:
        self._end()
        try:
            async with asyncio.timeout(_END_LIMIT):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _send(self, body: dict[str, object], descriptors: Sequence[int]) -> None:
        self._channel.send(body, descriptors)
        if self._channel.pending:
            loop = asyncio.get_running_loop()
            loop.add_writer(self._channel, self._flush)

    def _flush(self) -> None:
        self._channel.flush()
        if not self._channel.pending:
            asyncio.get_running_loop().remove_writer(self._channel)

    def _on_end(self) -> None:
        """It says nothing, so this is its end."""
        _log.error("the relay is gone, so functions don't reach the network any more; start Lamplighter again")
        self._end()

    def _end(self) -> None:
        if not self._closed:
            self._closed = True
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._channel)
            loop.remove_writer(self._channel)
            self._channel.close()
