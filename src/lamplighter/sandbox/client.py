"""The service's side of the sandbox room: Sandboxes over a sandbox server, on the event loop, without privilege.

One packet socket to the server carries requests and its answers; each sandbox has a status socket of its own, which is
`handle.py`'s.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from lamplighter.model.command import Command
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.contract import EndedEarly, Isolation, Sandbox, SandboxError, SandboxSpec, TemplateGone
from lamplighter.sandbox.freezer import Freezing
from lamplighter.sandbox.gauge import Pages
from lamplighter.sandbox.handle import END_DEADLINE, START_DEADLINE, ServerSandbox
from lamplighter.sandbox.messages import Configuration, configuration_body
from lamplighter.sandbox.remedies import remedy
from lamplighter.sandbox.ways import Ways

LAUNCH_DEADLINE = 15.0
REPLACED = 8  # sandboxes that end early in a row, as all that wait may have been killed at once

_log = logging.getLogger(__name__)


class ServerSandboxes:
    """contract.Sandboxes over one sandbox server. Make it with `launch`, give it back with `close`.

    runtimes: names of what sandboxes are made of.
    controllers: what this host's cgroups can do ("memory", "cpu", "pids", "freezer"). tmps: how many have been started,
    by where their /tmp is ("disk", "memory"). lost: done when the server died unasked.
    """

    def __init__(self, channel: Channel, process: asyncio.subprocess.Process, told: Configuration) -> None:
        self.isolation: Isolation = told.isolation
        self.ways: Ways | None = None
        self.freezing = Freezing()
        self.runtimes = frozenset(told.runtimes)
        self.controllers: frozenset[str] = frozenset()
        self.tmps = {"disk": 0, "memory": 0}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel = channel
        self._process = process
        self._names = itertools.count(1)
        self._sandboxes: dict[int, ServerSandbox] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing = False
        self._closed = False

    @classmethod
    async def launch(cls, told: Configuration, python: Sequence[str] = (sys.executable,)) -> Self:
        """Start the server. For isolation "full" call this while still root; afterwards the service can drop it.

        python: the command that runs the server: an interpreter of 3.11 or later, which needs nothing installed.
        Raises SandboxError with what is missing on this host.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        channel = Channel(ours)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *python,
                    "-S",  # it needs no installed package
                    "-P",  # never look for modules in the current directory: this process may be root
                    "-m",
                    "lamplighter.sandbox.server",
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"},
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is the service's to handle: it drains first
                )
            except OSError as error:
                channel.close()
                raise SandboxError(f"the sandbox server could not be started: {error}") from error
        sandboxes = cls(channel, process, told)
        asyncio.get_running_loop().add_reader(ours, sandboxes._on_packet)
        sandboxes.send(configuration_body(told))
        try:
            async with asyncio.timeout(LAUNCH_DEADLINE):
                await sandboxes._ready
        except TimeoutError:
            await sandboxes.close()
            raise SandboxError(f"the sandbox server was not ready within {LAUNCH_DEADLINE:.0f} seconds") from None
        except BaseException:
            await sandboxes.close()
            raise
        return sandboxes

    async def hold(self, sandbox: Sandbox, let_go: Callable[[], None]) -> None:
        """contract.Templates"""
        assert isinstance(sandbox, ServerSandbox)
        await sandbox.hold(let_go)

    async def copy(self, template: Sandbox, spec: SandboxSpec) -> ServerSandbox:
        """contract.Templates"""
        assert isinstance(template, ServerSandbox)
        return await self._replacing(lambda: ServerSandbox(self, next(self._names), spec, template))

    async def start(self, spec: SandboxSpec, former: Sandbox | None = None) -> ServerSandbox:
        """contract.Sandboxes.start"""
        return await self._replacing(lambda: ServerSandbox(self, next(self._names), spec), former)

    async def _replacing(self, make: Callable[[], ServerSandbox], former: Sandbox | None = None) -> ServerSandbox:
        """One that ends early is replaced: no invocation has been given to it."""
        for _ in range(REPLACED):
            try:
                return await self._open(make(), former)
            except EndedEarly:
                if former is not None:  # its /tmp went with the one that ended
                    raise
        return await self._open(make(), former)

    async def _open(self, sandbox: ServerSandbox, former: Sandbox | None = None) -> ServerSandbox:
        if self._closed or self.lost.done():
            raise SandboxError("the sandbox server is gone; restart Lamplighter")
        self._sandboxes[sandbox.name] = sandbox
        try:
            await sandbox.open(former if isinstance(former, ServerSandbox) else None)
        except TimeoutError:
            await self._abandon(sandbox)
            raise SandboxError(
                f"a sandbox was not up within {START_DEADLINE:.0f} seconds; is the host overloaded?"
            ) from None
        except Malformed as error:
            await self._abandon(sandbox)
            raise SandboxError(f"a sandbox could not be started: {error}") from None
        except BaseException:
            await self._abandon(sandbox)
            raise
        return sandbox

    def warm(self, runtime: str, command: Command | None = None) -> None:
        """Start the runtime's fork server now, so that its first sandbox doesn't wait for the interpreter; and if there
        will be a command that can wait, let one wait."""
        self.send({"type": "warm", "runtime": runtime, "command": command})

    async def close(self) -> None:
        """End every sandbox, the fork servers and the server."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._channel)
        loop.remove_writer(self._channel)
        self._channel.close()
        for sandbox in list(self._sandboxes.values()):
            sandbox.gone()
            sandbox.close()
        self._sandboxes.clear()
        try:
            async with asyncio.timeout(END_DEADLINE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self.freezing.close()
        self.lost.cancel()

    def send(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        self._channel.send(body, descriptors)
        self._watch_writes()

    def way_out(self, name: int, descriptors: list[int]) -> None:
        if self.ways is not None:
            self.ways.open(name, descriptors)
        else:
            close_all(descriptors)

    def no_way_out(self, name: int) -> None:
        if self.ways is not None:
            self.ways.shut(name)

    def request_end(self, name: int, keep_tmp: bool) -> None:
        if not self._closed and name in self._sandboxes:
            self.send({"type": "end", "id": name, "keep_tmp": keep_tmp})

    def drop_tmp(self, name: int) -> None:
        """Of a sandbox that is gone."""
        if not self._closed:
            self.send({"type": "end", "id": name})

    async def _abandon(self, sandbox: ServerSandbox) -> None:
        """Take down what didn't come up; the first error is the one worth telling."""
        with contextlib.suppress(SandboxError):
            await sandbox.end()

    def _watch_writes(self) -> None:
        if self._channel.pending != self._writing:
            self._writing = self._channel.pending
            loop = asyncio.get_running_loop()
            if self._writing:
                loop.add_writer(self._channel, self._flush)
            else:
                loop.remove_writer(self._channel)

    def _flush(self) -> None:
        self._channel.flush()
        self._watch_writes()

    def _on_packet(self) -> None:
        while not self._closed:
            try:
                packet = self._channel.receive()
            except BlockingIOError:
                return
            if packet is None:
                self._server_died()
                return
            body, descriptors = packet
            self._understand(body, descriptors)
            close_all(descriptors)

    def _understand(self, body: dict[str, Any], descriptors: list[int]) -> None:
        sandbox = self._sandboxes.get(body.get("id", 0))
        match body["type"]:
            case "ready":
                self.controllers = frozenset(body["controllers"])
                self._ready.set_result(None)
            case "failed":
                reason, number = body["reason"], body["errno"]
                self._ready.set_exception(
                    SandboxError(f"no isolation {self.isolation}: {reason}{remedy(number, reason)}")
                )
            case "notice":
                _log.warning("%s", body["text"])
            case "started" if sandbox:
                self.tmps[body["tmp"]] += 1
                sandbox.made(body, descriptors)
            case "refused" | "malformed" if sandbox:
                sandbox.failed(body["reason"], body.get("errno"))
            case "orphan" if sandbox:
                sandbox.failed("its template is gone", kind=TemplateGone)
            case "held" | "template" if sandbox:
                sandbox.held(None)
            case "unfit" | "lost" if sandbox:
                sandbox.held(body["reason"])
            case "ended" if sandbox:
                del self._sandboxes[body["id"]]
                memory = body.get("memory")
                seen = memory and (memory[0], memory[1] and Pages(*memory[1]))
                sandbox.gone(body.get("reason"), body["keeps_tmp"], seen)
            case _:
                pass  # about a sandbox that was ended meanwhile

    def _server_died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        if not self._ready.done():
            self._ready.set_exception(SandboxError("the sandbox server died while starting; its last words are above"))
        for sandbox in list(self._sandboxes.values()):
            sandbox.gone("the sandbox server died")
        self._sandboxes.clear()
        if not self.lost.done():
            self.lost.set_result(None)
