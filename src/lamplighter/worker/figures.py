"""What an init and an invocation come to: durations, the answer's size, the memory's peak. Told once, at the end, to
the log and to who observes (metrics, bills), so that both always show the same figures (AWS: spec 3.6)."""

import asyncio
from typing import Literal

from lamplighter.model.causes import read_header
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.model.usage import Initialized, Observe, Ran, Restore, Restored, Thrown
from lamplighter.sandbox.contract import Sandbox
from lamplighter.worker.logs import Logs
from lamplighter.worker.notes import FAILED, ID, REPORTED, Notebook
from lamplighter.worker.platform_events import Status
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.stream import Stream

_PEAK_AGE = 0.05  # seconds for which a look at the memory's peak holds


class Figures:
    """Of one environment: of its init, and of the invocation in hand. Durations in milliseconds."""

    def __init__(
        self,
        function: FunctionVersion,
        logs: Logs,
        platform: PlatformLog,
        clock: Clock,
        observe: Observe | None,
        initialization: str,
        book: Notebook | None = None,
    ) -> None:
        self._function = function
        self._logs = logs
        self._platform = platform
        self._clock = clock
        self._observe = observe
        self._notes = None if book is None else book.open(function, logs, clock, initialization)
        self._initialization = initialization
        self._loop = asyncio.get_running_loop()
        self._init_began = 0.0
        self._init_duration: float | None = None  # until a REPORT has named it
        self._restore: Restore | None = None  # likewise
        self._began = 0.0
        self._told: tuple[float, float, int] | None = None  # of the answer: first and last byte, size
        self._failed = False  # the answer is an error
        self._traced = False
        self._thrown: tuple[Thrown, ...] = ()  # what its function says of its error
        self._plain = False  # nothing sets it apart so far
        self._told_later = False  # its lines
        self._runtime_over: float | None = None  # when the runtime had done its part, if extensions went on
        self._peak: int | None = None  # of the memory, as of then
        self._peak_at = float("-inf")

    # Of init

    def init_begins(self) -> None:
        self._init_began = self._clock.monotonic()

    def init_time(self) -> float:
        """Since it began."""
        return (self._clock.monotonic() - self._init_began) * 1000

    def init_done(self) -> float:
        """Its duration, which the next REPORT names."""
        self._init_duration = duration = self.init_time()
        return duration

    def restored(self, began: float) -> float:
        """The duration of a restore, which the next REPORT names. `began`: on the clock, when the copy ran."""
        self.copied()
        duration = self.init_time()
        self._restore = Restore(duration, (self._clock.monotonic() - began) * 1000)
        return duration

    def not_restored(self, began: float, status: Literal["error", "timeout"], error_type: str | None) -> None:
        """`began`: as for `restored`."""
        self.copied()
        self._unpaid((self._clock.monotonic() - began) * 1000, status, error_type)

    def copied(self) -> None:
        """A restore is over, well or not; each has a price."""
        if self._observe is not None:
            self._observe(Restored(self._function, self._clock.now()))

    def init_failed(self, duration: float, status: Literal["error", "timeout"], error_type: str | None) -> None:
        self._unpaid(duration, status, error_type)

    def unused(self, initializing: bool) -> None:
        """The environment ends; an init that no invocation has named was for nothing."""
        if initializing:
            self._unpaid(self.init_time(), "unused")
        elif self._init_duration is not None:
            self._unpaid(self._init_duration, "unused")
            self._init_duration = None
        elif self._restore is not None:
            self._unpaid(self._restore.billed, "unused")
            self._restore = None

    def _unpaid(
        self, duration: float, status: Literal["unused", "error", "timeout"], error_type: str | None = None
    ) -> None:
        """An init that no invocation will name. It began when the last one did."""
        if self._observe is None:
            return
        began = self._clock.now() - (self._clock.monotonic() - self._init_began)
        self._observe(Initialized(self._function, self._initialization, began, duration, status, error_type))

    # Of an invocation

    def begin(self, invocation: Invocation) -> bool:
        """Whether its START is told later: before anything that comes after it."""
        self._traced = traced = invocation.above is not None
        self._began = self._clock.monotonic()
        notes = self._notes
        if notes is None or traced or invocation.source != "sync" or len(invocation.request_id) != ID:
            self._plain = self._told_later = False
            return False
        self._plain = True
        self._told_later = later = self._platform.plain and self._logs.wanted and not invocation.log_tail
        if later:
            notes.begin(invocation.request_id)
        return later

    def explained(self, cause: bytes) -> None:
        """What the error that comes next has come from: X-Ray's document, in JSON, or anything."""
        if self._traced:
            self._thrown = read_header(cause)

    def answered(self, size: int, failed: bool, stream: Stream | None) -> None:
        """When the answer came, for who wants to know. `size`: bytes."""
        self._failed = failed
        if self._platform.detailed or self._traced:
            at = (self._clock.monotonic() - self._began) * 1000
            first = at
            if stream is not None and stream.began is not None:  # on the loop's clock
                first = at - (self._loop.time() - stream.began) * 1000
            self._told = (min(first, at), at, size)

    def runtime_done(self, invocation: Invocation) -> None:
        """The runtime has asked for its next event; extensions may go on."""
        self._runtime_over = duration = (self._clock.monotonic() - self._began) * 1000
        if self._platform.detailed:
            self._logs.drain()
            status: Status = "error" if self._failed else "success"
            self._platform.runtime_done(invocation, status, None, duration, self._told)

    def end(
        self,
        invocation: Invocation,
        stream: Stream | None,
        sandbox: Sandbox | None,
        status: Status,
        error_type: str | None,
        noticed: bool,
        over: float,
    ) -> None:
        """Its phase was over at `over`, on the clock. `noticed`: it failed, and not by what the runtime posted."""
        duration = (over - self._began) * 1000
        done, self._runtime_over = self._runtime_over, None
        extensions = 0.0 if done is None else duration - done
        peak, init = self._memory_peak(sandbox), self._init_duration
        plain = self._plain and stream is None and done is None and not noticed and status == "success"
        plain = plain and init is None and self._restore is None
        told_later = plain and self._told_later and self._platform.plain
        if self._failed and not noticed:
            status = "error"
        if told_later:
            self._logs.drain()
        elif self._logs.wanted or self._platform.detailed:
            self._logs.drain()
            if self._platform.detailed and done is None:
                ended: Status = "failure" if noticed and status == "error" else status
                self._platform.runtime_done(invocation, ended, error_type, duration, self._told)
            self._platform.reported(invocation, status, error_type, duration, peak, init, noticed, self._restore)
        if self._notes is not None and plain:
            flags = FAILED * self._failed | REPORTED * (not told_later)
            self._notes.end(invocation.request_id, invocation.invoked_arn, duration, peak, flags)
        elif self._observe is not None:
            self._observe(self._usage(invocation, stream, status, error_type, duration, extensions, peak, noticed))
        self._told, self._failed, self._thrown = None, False, ()
        self._init_duration = self._restore = None

    def _usage(
        self,
        invocation: Invocation,
        stream: Stream | None,
        status: Status,
        error_type: str | None,
        duration: float,
        extensions: float,
        peak: int | None,
        noticed: bool,
    ) -> Ran:
        return Ran(
            self._function,
            invocation.request_id,
            invocation.invoked_arn,
            invocation.tenant_id,
            invocation.source,
            invocation.size,
            self._initialization,
            self._clock.now() - duration / 1000,
            duration,
            self._init_duration,
            extensions,
            peak,
            "timeout" if status == "timeout" else "crash" if noticed else "success" if status == "success" else "error",
            error_type,
            0 if stream is None else stream.size,
            invocation.trace_id,
            invocation.above,
            None if self._told is None else self._told[1],
            self._restore,
            self._thrown,
        )

    def _memory_peak(self, sandbox: Sandbox | None) -> int | None:
        """Read once in a while: with many short invocations, each would otherwise pay for a look at the cgroup."""
        now = self._loop.time()
        if sandbox is not None and now - self._peak_at > _PEAK_AGE:
            self._peak_at = now
            self._peak = sandbox.memory_peak()
        return self._peak
