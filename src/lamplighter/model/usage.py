"""What ran and what was refused, told once where it happens: metrics and bills are made of these values alone.

Observers are called in the event loop, in the middle of things: they must take note and return. Nothing here refers to
a payload, so that a value may be kept.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.invocation import Source


class Restore(NamedTuple):
    """Milliseconds: of all of it, and of what is billed, the runtime's own part with its hooks."""

    duration: float
    billed: float


def billed(duration: float, init: float | None = None, restore: Restore | None = None) -> int:
    """Whole milliseconds, as a REPORT shows them; init and the billed part of a restore count where this invocation
    names them (AWS: spec 10.4). AWS rounds a restore for itself: 306.34 and 303 ms are 610."""
    time = math.ceil(duration + (init or 0.0))
    return time if restore is None else time + math.ceil(restore.billed)


class Thrown(NamedTuple):
    """An exception, as a function tells of it, within bounds. `stack`: a frame on each line, the innermost last or
    first, as the language has it."""

    type: str
    message: str
    stack: str


class Ran(NamedTuple):
    """One invocation whose phase is over: there is a REPORT for it. A tuple, since the warm path makes one per call
    and a frozen dataclass of this size takes several times as long."""

    function: FunctionVersion  # what was executed: version, memory, architecture, /tmp
    request_id: str
    invoked_arn: str  # as the caller named it, with the alias or version
    tenant: str | None
    source: Source
    payload: int  # bytes of the event
    initialization: str  # as in AWS_LAMBDA_INITIALIZATION_TYPE
    began: float  # seconds since the epoch
    duration: float  # milliseconds
    init: float | None  # milliseconds, if this invocation is the one that names its environment's init
    extensions: float  # milliseconds that extensions went on after the runtime was done
    memory_peak: int | None  # bytes, of the environment so far; None: nobody knows
    status: Literal["success", "error", "timeout", "crash"]  # crash: the runtime failed, not its handler
    error_type: str | None  # of a time-out or a crash, where it has one
    streamed: int  # bytes of an answer that was streamed
    trace: str = ""  # the header that the function was given
    above: str | None = None  # as in Invocation
    answered: float | None = None  # milliseconds until the answer was there; of traced invocations
    restore: Restore | None = None  # if this invocation is the one that names its environment's
    thrown: tuple[Thrown, ...] = ()  # why its function failed, of traced invocations; the outermost first

    @property
    def billed(self) -> int:
        """Milliseconds."""
        return billed(self.duration, self.init, self.restore)


class Runs:
    """Invocations of one version that ended in the minute in which they began, invoked by one name and initialised in
    one way: without an init or restore to name, trace, extensions, streamed answer or requests beyond one each.
    In place of a Ran for each."""

    __slots__ = ("began", "durations", "errors", "function", "initialization", "invoked_arn", "memory_peak")

    def __init__(self, function: FunctionVersion, invoked_arn: str, initialization: str, began: float) -> None:
        self.function = function
        self.invoked_arn = invoked_arn
        self.initialization = initialization
        self.began = began  # of the minute, seconds since the epoch
        self.durations = array("d")  # milliseconds, of each
        self.errors = 0  # of these: whose status was not success
        self.memory_peak: int | None = None  # of the one that ended last

    @property
    def billed(self) -> int:
        """Milliseconds, of all together."""
        return sum(map(math.ceil, self.durations))


class Initialized(NamedTuple):
    """An init, or the billed part of a restore, that no invocation's REPORT names: it failed, the environment ended
    before it ran anything, or what was initialised is kept for copies to begin from."""

    function: FunctionVersion
    initialization: str
    began: float  # seconds since the epoch
    duration: float  # milliseconds
    status: Literal["unused", "kept", "error", "timeout"]
    error_type: str | None

    @property
    def billed(self) -> int:
        """Milliseconds."""
        return billed(self.duration)


class Refused(NamedTuple):
    """An invocation that a limit, or the end of a loop of functions, kept from running."""

    function: FunctionId
    version: str
    invoked_arn: str
    at: float  # seconds since the epoch
    reason: Literal["throttled", "recursive"]


class Provisioned(NamedTuple):
    """Concurrency kept ready for a version, used or not. Told at the beginning of each period of five minutes that
    begins while it is allocated, since AWS bills whole ones (spec 10.4), and for what is added when it is added."""

    function: FunctionVersion
    concurrency: int  # environments
    began: float  # seconds since the epoch
    seconds: float


class Restored(NamedTuple):
    """An environment began as a copy of what was initialised for it (AWS: spec 10.4, per GB restored)."""

    function: FunctionVersion
    began: float  # seconds since the epoch


class Cached(NamedTuple):
    """What a version's environments begin from was kept for so long (AWS: spec 10.4, per GB-second)."""

    function: FunctionVersion
    began: float  # seconds since the epoch
    seconds: float


class Peak(NamedTuple):
    """How many ran at once, at most, since the last look. `function` None: of the whole account. `qualifier`: of what
    concerns an alias or a version alone."""

    account: str
    region: str
    function: str | None
    name: str
    value: float
    qualifier: str | None = None


Usage = Ran | Runs | Initialized | Refused | Provisioned | Restored | Cached
Observe = Callable[[Usage], None]


class Count(Protocol):
    """Told of invocations, one after the other, that a Runs can stand for. Returns False where they don't fall into one
    minute; then each wants a Ran. `began`, `ended`: the first and the last; `memory_peak`: of the last."""

    def __call__(
        self,
        function: FunctionVersion,
        invoked_arn: str,
        initialization: str,
        began: float,
        ended: float,
        durations: Sequence[float],
        memory_peak: int | None,
        errors: int,
    ) -> bool: ...
