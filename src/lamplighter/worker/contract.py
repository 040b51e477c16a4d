"""What the invoker may ask of a worker: make an environment for a function version, run invocations in it, end it.

A Protocol from the start, since in a cluster the worker is another node's (design, decision 7)."""

import socket
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.worker.stream import Stream

Initialization = Literal["on-demand", "provisioned-concurrency", "snap-start"]  # as in AWS_LAMBDA_INITIALIZATION_TYPE


class Environment(Protocol):
    """Sandbox + runtime process + state. Runs one invocation at a time."""

    function: FunctionVersion
    born: float  # seconds on the clock's monotonic time

    @property
    def alive(self) -> bool:
        """False once it can't take another invocation (its process died while idle, it failed too often, it was
        ended). After a crash or a time-out it can."""
        ...

    @property
    def warm(self) -> bool:
        """Whether it is initialised, and idle: the next invocation waits for nothing."""
        ...

    async def initialized(self) -> bool:
        """When its first init is over: whether it went well. For one that no invocation waits for."""
        ...

    @property
    def busy(self) -> bool:
        """From `run` until the phase is over: when the runtime asks for the next event, maybe long after its answer."""
        ...

    def when_free(self, callback: Callable[[], None]) -> None:
        """Call back once, when a busy environment is no longer so; it may be dead then."""
        ...

    async def run(self, invocation: Invocation, stream: Stream | None = None) -> Outcome:
        """Run one invocation to its answer, the runtime's death or the function's time-out, whichever is first.

        `stream`: takes the answer as it comes, if the function streams it; the outcome then says how it ended.

        A function's failure is an Outcome with `error`, never an exception. WorkerError: it could not be run at all;
        TooLate: it was not begun by its `latest`."""
        ...

    async def end(self) -> None:
        """Take it down. Idempotent."""
        ...


class Workers(Protocol):
    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> Environment:
        """A new environment, its INIT begun. Raises WorkerError when none can be made."""
        ...

    async def close(self) -> None: ...


class Reach(Protocol):
    """How the function of one environment gets at the service."""

    @property
    def defaults(self) -> Mapping[str, str]:
        """Variables that the function's own win over."""
        ...

    @property
    def credentials(self) -> Mapping[str, str]:
        """Variables that nothing wins over: AWS_ACCESS_KEY_ID and so on."""
        ...

    async def listen(self, listener: socket.socket) -> None:
        """Serve what connects there, inside of the sandbox, until `hang_up`; the socket stays its owner's."""
        ...

    def hang_up(self) -> None: ...

    def close(self) -> None:
        """The environment is gone: its credentials are worth nothing from now on. Idempotent."""
        ...


OpenReach = Callable[[FunctionVersion], Reach]


class WorkerError(Exception):
    """No environment could be made; for the operator's log, not for the caller."""


class TooLate(Exception):
    """An invocation has waited, for an environment or for its init, until it was not to be run any more."""
