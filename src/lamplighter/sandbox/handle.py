"""One running sandbox as the service holds it: what it hands over on its status socket, and what can be done to it.

A crash is known the moment it happens, since the sandbox itself tells how its runtime ended, and end of file means that
it is gone, whoever killed it. Who speaks to the sandbox server is `client.py`.
"""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from lamplighter.sandbox.cgroup import cpu_quota
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.contract import EndedEarly, Exit, Isolation, SandboxError, SandboxSpec, Unfit
from lamplighter.sandbox.freezer import Freezer, Freezing
from lamplighter.sandbox.gauge import MemoryGauge, Pages
from lamplighter.sandbox.remedies import remedy
from lamplighter.sandbox.sizes import limits

INIT_LIMIT = 10.0  # seconds after which the CPU share is held even if nobody asked for it (AWS: spec 3.1)
START_DEADLINE = 10.0  # seconds until a sandbox that doesn't come up is given up
END_DEADLINE = 10.0


class Owner(Protocol):
    """What a sandbox needs of who made it."""

    @property
    def isolation(self) -> Isolation: ...
    @property
    def freezing(self) -> Freezing: ...
    def send(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None: ...
    def way_out(self, name: int, descriptors: list[int]) -> None: ...
    def no_way_out(self, name: int) -> None: ...
    def request_end(self, name: int, keep_tmp: bool) -> None: ...
    def drop_tmp(self, name: int) -> None: ...


class ServerSandbox:
    """A running sandbox (contract.Sandbox)."""

    def __init__(self, owner: Owner, name: int, spec: SandboxSpec, template: "ServerSandbox | None" = None) -> None:
        loop = asyncio.get_running_loop()
        self._template = template
        self._held: asyncio.Future[None] | None = None  # the answer to the last request to hold it
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self.output = self.frames = self.extension_output = -1
        self.extensions: dict[str, asyncio.Future[Exit]] = {}
        self.xray_daemon: socket.socket | None = None
        self.service_api: socket.socket | None = None
        self.name = name
        self._owner = owner
        self._spec = spec
        self._status: Channel | None = None
        self._running: asyncio.Future[socket.socket] = loop.create_future()
        self._made: asyncio.Future[None] = loop.create_future()  # the server has done its part
        self._gone: asyncio.Future[None] = loop.create_future()  # the server has taken it down
        self._gauge: MemoryGauge | None = None
        self._sockets: deque[asyncio.Future[socket.socket]] = deque()  # asked for
        self._cpu: tuple[int, Literal[1, 2]] | None = None
        self._freezer: Freezer | None = None
        self._peak: int | None = None
        self._ending = False
        self.keeps_tmp = False  # for a sandbox that comes after this one
        self._limiter = loop.call_later(INIT_LIMIT, self.limit_cpu)
        self.runtime_api: socket.socket

    def memory_peak(self) -> int | None:
        """Bytes; after the end, as of the end. Files written to a /tmp in memory count too. To a copy, its template's
        do as well: what it has not changed of them it shares."""
        if self._gauge is not None:
            with contextlib.suppress(OSError, ValueError):  # ENODEV: its cgroup is gone
                self._gauge.look()
            if self._gauge.peak is not None:
                shared = self._template.memory_peak() if self._template is not None else None
                self._peak = max(self._peak or 0, self._gauge.peak + (shared or 0))
        return self._peak

    def limit_cpu(self, limited: bool = True) -> None:
        """Hold the runtime to the CPU share its memory size buys (AWS: spec 3.1), or lift that.

        A sandbox starts unlimited, as initialisation has full speed; call this when that is over. After 10 s it is held
        in any case. Does nothing where cgroups can't."""
        self._limiter.cancel()
        if self._cpu:
            descriptor, version = self._cpu
            with contextlib.suppress(OSError):  # ENODEV: its cgroup is gone
                os.pwrite(descriptor, cpu_quota(version, limits(self._spec.memory_size) if limited else None), 0)

    def freeze(self) -> None:
        """contract.Sandbox"""
        if self._freezer is not None and not self._ending:
            self._freezer.freeze()

    def thaw(self) -> None:
        """contract.Sandbox"""
        if self._freezer is not None:
            self._freezer.thaw()

    def start_runtime(self) -> None:
        """contract.Sandbox"""
        if self.extensions:
            self._tell({"go": True})

    def signal_runtime(self, number: int) -> None:
        """contract.Sandbox"""
        if self._owner.isolation != "none":  # which has no pid 1 that listens
            self._tell({"signal": number})

    def _tell(self, body: dict[str, Any]) -> None:
        if self._status is not None:
            self._status.send(body)

    async def connect(self, port: int) -> socket.socket:
        """contract.Sandbox: with a socket of the sandbox's own network namespace, and to its loopback alone."""
        loop = asyncio.get_running_loop()
        if self._owner.isolation == "none":
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        else:
            if self._status is None or self._ending:
                raise ConnectionError("the sandbox is gone")
            asked: asyncio.Future[socket.socket] = loop.create_future()
            self._sockets.append(asked)
            self._status.send({"socket": True})
            made = await asked
        made.setblocking(False)
        try:
            await loop.sock_connect(made, ("127.0.0.1", port))
        except BaseException:
            made.close()
            raise
        return made

    def _take_socket(self, descriptors: list[int]) -> None:
        """In the order of asking; who has stopped waiting gets none."""
        made = socket.socket(fileno=descriptors.pop(0)) if descriptors else None
        asked = self._sockets.popleft() if self._sockets else None
        if asked is None or asked.done():
            if made is not None:
                made.close()
        elif made is None:
            asked.set_exception(ConnectionError("the sandbox has no socket to give"))
        else:
            asked.set_result(made)

    async def end(self, keep_tmp: bool = False) -> None:
        """contract.Sandbox. Raises SandboxError when the server doesn't manage within its deadline."""
        if not self._ending:
            self._ending = True
            self.memory_peak()
            self._owner.request_end(self.name, keep_tmp)
        try:
            async with asyncio.timeout(END_DEADLINE):
                await asyncio.shield(self._gone)
        except TimeoutError:
            raise SandboxError("a sandbox did not end; the sandbox server may be stuck on a hung disk") from None
        finally:
            self.close()
        if self.keeps_tmp and not keep_tmp:
            self.keeps_tmp = False
            self._owner.drop_tmp(self.name)

    async def open(self, former: "ServerSandbox | None") -> None:
        """Ask for the sandbox and wait until its runtime process runs."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._status = Channel(ours)
        self.output, output_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output, False)
        ends = [theirs.detach(), output_end]
        if self._spec.log_frames:
            self.frames, frames_end = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.frames, False)
            ends.append(frames_end)
        asyncio.get_running_loop().add_reader(ours, self._on_status)
        common = {"id": self.name, "variables": dict(self._spec.variables)}
        if self._template is not None:
            self._owner.send({"type": "copy", "of": self._template.name, **common}, ends)
        else:
            special = {
                "runtime": self._spec.runtime,
                "code": self._spec.code,
                "layers": self._spec.layers,
                "command": self._spec.command,
                "memory_size": self._spec.memory_size,
                "ephemeral_storage": self._spec.ephemeral_storage,
                "template": self._spec.template,
                "tmp_of": former.name if former is not None and former.keeps_tmp else None,
            }
            self._owner.send({"type": "start", **special, **common}, ends)
        if former is not None:
            former.keeps_tmp = False
        async with asyncio.timeout(START_DEADLINE):
            await self._made
            self.runtime_api = await self._running
        self.runtime_api.setblocking(False)

    async def hold(self, let_go: Callable[[], None]) -> None:
        """contract.Templates"""
        loop = asyncio.get_running_loop()
        self._held = held = loop.create_future()
        self._owner.send({"type": "hold", "id": self.name})
        try:
            async with asyncio.timeout(START_DEADLINE):
                await held
                self._held = forked = loop.create_future()
                let_go()
                await forked
        except TimeoutError:
            raise Unfit("it could not be held in time") from None

    def held(self, reason: str | None) -> None:
        """Or not, if there is a reason."""
        if self._held is not None and not self._held.done():
            if reason is None:
                self._held.set_result(None)
            else:
                self._held.set_exception(Unfit(reason))

    def made(self, body: dict[str, Any], descriptors: list[int]) -> None:
        """The server has made the cgroups and passed the rest on."""
        if body["gauge"]:
            self._gauge = MemoryGauge(descriptors.pop(0), descriptors.pop(0) if body["pages"] else -1)
        if body["cpu"]:
            self._cpu = descriptors.pop(0), body["cpu"]
        if body["freezer"]:
            self._freezer = Freezer(descriptors.pop(0), body["freezer"], self._owner.freezing)
        if not self._made.done():
            self._made.set_result(None)

    def failed(self, reason: str, number: int | None = None, kind: type[SandboxError] = SandboxError) -> None:
        """It will not come up, or (`gone` follows) it is going down."""
        text = f"a sandbox could not be started: {reason}{remedy(number, reason)}"
        for future in (self._made, self._running):
            if not future.done():
                future.set_exception(kind(text))
                future.exception()  # one of the two is looked at, by `open`

    def gone(
        self, reason: str | None = None, keeps_tmp: bool = False, memory: tuple[int, Pages | None] | None = None
    ) -> None:
        """The server has taken it down. memory: what it saw of it last, which nobody else may have had the time to."""
        self.keeps_tmp = keeps_tmp
        if memory is not None and self._gauge is not None:
            self._gauge.note(*memory)
        self.thaw()  # if it is the server that is gone, nobody else will
        self.held("it is gone")
        self._on_status()  # what it said last may still be on its way up here, and is more to the point
        self.failed(reason or "it ended while starting", kind=EndedEarly)
        if self._template is None or self._status is None:
            self._exit_all()  # else who tells how a copy ended is not who ends it: that comes, or end of file
        if not self._gone.done():
            self._gone.set_result(None)

    def _on_status(self) -> None:
        while self._status:
            try:
                packet = self._status.receive()
            except (BlockingIOError, Malformed):
                return
            if packet is None:
                asyncio.get_running_loop().remove_reader(self._status)
                self._status.close()
                self._status = None
                self._exit_all()  # no word from its pid 1: killed. The server's "ended" follows
                return
            self._understand(*packet)

    def _understand(self, body: dict[str, Any], descriptors: list[int]) -> None:
        if "running" in body and descriptors and not self._running.done():
            if body.get("extensions"):
                loop = asyncio.get_running_loop()
                self.extensions = {name: loop.create_future() for name in body["extensions"]}
                self.extension_output = descriptors.pop()
                os.set_blocking(self.extension_output, False)
            self._running.set_result(socket.socket(fileno=descriptors.pop(0)))
            if descriptors:
                self.xray_daemon = socket.socket(fileno=descriptors.pop(0))
                self.xray_daemon.setblocking(False)
                self.service_api = socket.socket(fileno=descriptors.pop(0))
                self.service_api.setblocking(False)
            if out := body.get("way_out"):
                self._owner.way_out(self.name, [descriptors.pop(0) for _ in range(out)])
            self._read_instead(descriptors)
        elif "socket" in body:
            self._take_socket(descriptors)
        elif "failed" in body:
            self.failed(body["failed"], body.get("errno"))
        elif "code" in body:
            untaken = bool(body.get("untaken"))
            how = Exit(code=body["code"], signal=body["signal"], refusal=body["refusal"], untaken=untaken)
            if "extension" in body:
                self.extensions[body["extension"]].set_result(how)
            else:
                self._exit(how)
        close_all(descriptors)

    def _read_instead(self, descriptors: list[int]) -> None:
        """A process that has waited has pipes of its own for its output and its framed records."""
        if len(descriptors) == 2:
            for unused in (self.output, self.frames):
                if unused >= 0:
                    os.close(unused)
            self.output, self.frames = descriptors
            descriptors.clear()
            os.set_blocking(self.output, False)
            os.set_blocking(self.frames, False)

    def _exit(self, how: Exit) -> None:
        if not self.exited.done():
            self.memory_peak()
            self.exited.set_result(how)

    def _exit_all(self) -> None:
        """Nothing of it is left."""
        killed = Exit(signal=9)
        self._exit(killed)
        for exited in self.extensions.values():
            if not exited.done():
                exited.set_result(killed)

    def close(self) -> None:
        """Let go of what it has handed out; it is gone, or nobody cares any more."""
        self._limiter.cancel()
        if self._status:
            asyncio.get_running_loop().remove_reader(self._status)
            self._status.close()
            self._status = None
        if self._running.done() and not self._running.cancelled() and not self._running.exception():
            self._running.result().close()
        self._owner.no_way_out(self.name)
        for given in (self.xray_daemon, self.service_api):
            if given is not None:
                given.close()
        for asked in self._sockets:
            asked.cancel()
        outputs = (self.output, self.frames, self.extension_output)
        for descriptor in (*outputs, self._cpu[0] if self._cpu else -1):
            if descriptor >= 0:
                os.close(descriptor)
        self.output = self.frames = self.extension_output = -1
        self._cpu = None
        if self._gauge is not None:
            self._gauge.close()
        if self._freezer is not None:
            self._freezer.close()
            self._freezer = None
        self._exit_all()
