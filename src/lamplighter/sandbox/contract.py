"""What a sandbox promises: isolation only. It knows processes, namespaces, cgroups and mounts; it does not know what an
invocation is, nor HTTP. `worker/` gives it meaning.

The implementation runs in two processes: this side (unprivileged, in the service's event loop) and the sandbox server
(root, or the owner of a user namespace), joined by a Unix socket with the typed messages of `sandbox/messages.py`.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lamplighter.model.command import Command

Isolation = Literal["full", "user", "none"]


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to start. Sizes in MB. Code and layers are digests of prepared packages, never paths."""

    runtime: str  # a name of runtimes.catalogue, e.g. "python3.12"
    code: str  # hex SHA-256 of the deployment package; appears read-only at /var/task
    variables: Mapping[str, str]  # the whole environment of the runtime process, as AWS names it
    memory_size: int = 128
    ephemeral_storage: int = 512
    layers: tuple[str, ...] = field(default=())  # appear at /opt, later ones over earlier ones
    command: Command | None = None  # run this instead of the runtime client, or of the function's `bootstrap`
    log_frames: bool = False  # give the runtime a descriptor for framed log records (AWS: spec 3.2)
    template: bool = False  # copies are to be made of it, see `Templates`


@dataclass(frozen=True, slots=True)
class Exit:
    """How the runtime process ended: an exit code, or a signal's number."""

    code: int | None = None
    signal: int | None = None
    refusal: str | None = (
        None  # why its command or `bootstrap` could not be run; nothing of the function's has run then
    )
    untaken: bool = False  # it was killed before it knew what to run, so of the function at most extensions have run


class Sandbox(Protocol):
    """A running sandbox. Whoever started it must `end` it."""

    runtime_api: socket.socket  # non-blocking TCP listener on 127.0.0.1:9001 inside the sandbox's network namespace
    xray_daemon: socket.socket | None  # UDP, what the guest sends to 169.254.100.1:2000; None without isolation
    service_api: socket.socket | None  # listener on 127.0.0.1:4566 inside, for the service; None without isolation
    output: int  # non-blocking read end of the runtime's stdout and stderr, one pipe; closed by `end`
    frames: int  # the same of what the runtime writes as framed log records; -1: it has no way to
    exited: asyncio.Future[Exit]  # done as soon as the runtime process is gone, whatever the reason
    extensions: dict[str, asyncio.Future[Exit]]  # the external ones that were started, by name, and their ends
    extension_output: int  # as `output`, of all of them together; -1: there are none

    def start_runtime(self) -> None:
        """Where there are `extensions`, the runtime waits for this, so that they come first."""
        ...

    def signal_runtime(self, number: int) -> None:
        """Send the runtime a signal: any where there are `extensions`, which outlive it; else SIGTERM alone, since
        `end` kills it. With isolation none, there is no way to."""
        ...

    def memory_peak(self) -> int | None:
        """Bytes, the most memory used so far by all of the sandbox's processes; None where cgroups can't tell."""
        ...

    def limit_cpu(self, limited: bool = True) -> None:
        """Hold the runtime to the CPU share that its memory size buys, or lift that. A sandbox starts with full speed,
        as AWS gives it to INIT; call this when that is over."""
        ...

    def freeze(self) -> None:
        """Let nothing inside run until `thaw`. Nothing else may be asked of it meanwhile but to `end`. Does nothing
        where cgroups can't."""
        ...

    def thaw(self) -> None:
        """Idempotent."""
        ...

    async def connect(self, port: int) -> socket.socket:
        """A non-blocking TCP connection to what listens on 127.0.0.1:`port` inside. OSError: nobody does."""
        ...

    async def end(self, keep_tmp: bool = False) -> None:
        """Kill everything inside, take it down and give its resources back. Idempotent.

        keep_tmp: all but /tmp, until another sandbox takes it over or this is called again without."""
        ...


class Sandboxes(Protocol):
    async def start(self, spec: SandboxSpec, former: Sandbox | None = None) -> Sandbox:
        """Returns once the runtime process is running (its handler need not be imported yet).

        former: one of the same function that was ended with its /tmp kept, which now is this one's.

        Raises SandboxError when it can't be made, with a sentence that says why and what would help."""
        ...

    async def close(self) -> None:
        """End every sandbox and the fork servers."""
        ...


class Templates(Protocol):
    """What can keep an initialised runtime still and make copies of it, each a sandbox of its own."""

    async def hold(self, sandbox: Sandbox, let_go: Callable[[], None]) -> None:
        """Of one that was started with `template`, whose runtime waits for something. `let_go`: gives it that, so that
        it goes on to its next fork. Once this has returned it runs only to make copies, each of which returns from that
        fork in a sandbox of its own, without any descriptor. Raises Unfit."""
        ...

    async def copy(self, template: Sandbox, spec: SandboxSpec) -> Sandbox:
        """Returns once it is about to run. Of `spec` only the variables count; the rest is the template's,
        which must outlive it. Raises TemplateGone, SandboxError."""
        ...


class SandboxError(Exception):
    """A sandbox could not be made; the text is for the operator, never for the function's caller."""


class EndedEarly(SandboxError):
    """It ended unasked before it said that its runtime runs, as what waits to become a sandbox can be killed in that
    moment. At worst the function's init had begun."""


class TemplateGone(SandboxError):
    """What was to be copied is dead or dying, and known to be so before its own end is heard of."""


class Unfit(SandboxError):
    """No copies can be made of this one; the text says why. It may have been killed."""
