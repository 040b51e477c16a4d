"""The course of invocations in an environment when all goes well: given, answered, over (AWS: spec 3.1).

All of it is driven by what the runtime and its extensions call; a warm invocation is two callbacks and no task. How it
can end otherwise is in `environment.py`, what it all comes to in `figures.py`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.parcels import Parcel
from lamplighter.sandbox.contract import Sandbox
from lamplighter.worker import failures
from lamplighter.worker.answer import Answer
from lamplighter.worker.contract import TooLate
from lamplighter.worker.deadline import Deadline
from lamplighter.worker.event_head import event_head
from lamplighter.worker.figures import Figures
from lamplighter.worker.freeze import Freeze
from lamplighter.worker.housing import Housing
from lamplighter.worker.lifecycle import Signal, State, follow
from lamplighter.worker.logs import Logs
from lamplighter.worker.platform_events import Status
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.stream import Stream


class Course(ABC):
    """`restored`: sandboxes are copies of a template, so there is no init but a restore."""

    _housing: Housing

    def __init__(
        self,
        function: FunctionVersion,
        logs: Logs,
        platform: PlatformLog,
        clock: Clock,
        figures: Figures,
        restored: bool,
        freeze_after: float | None,
    ) -> None:
        self.function = function
        self.born = clock.monotonic()
        self._logs = logs
        self._platform = platform
        self._clock = clock
        self._figures = figures
        self._restored = restored
        self._ran = 0.0  # since when the sandbox in hand runs, on the clock
        self._loop = asyncio.get_running_loop()
        self._state = State.INIT
        self._init_over: asyncio.Future[None] | None = None  # of the first init, if somebody waits for that
        self._resets = 0  # since an invocation last went well
        # Of the invocation in hand.
        self._invocation: Invocation | None = None
        self._answer: Answer | None = None
        self._outcome: Outcome | None = None  # what it will be given
        self._stream: Stream | None = None
        self._broken = False  # its stream broke off, and the reason is not known yet
        # One that went well and is not told of yet, with when it was over: whoever waits for the answer comes first.
        self._untold: tuple[Invocation, Stream | None, float] | None = None
        self._deadline = Deadline(self._loop, self._late)
        self._on_free: Callable[[], None] | None = None
        self._freeze = Freeze(self._loop, self._at_rest, freeze_after)

    @abstractmethod
    def _late(self) -> None:
        """The deadline is reached."""

    @property
    def alive(self) -> bool:
        return self._state is not State.DEAD

    @property
    def warm(self) -> bool:
        return self._state is State.READY and self._invocation is None

    @property
    def busy(self) -> bool:
        return self._invocation is not None

    @property
    def stage(self) -> Literal["starting", "ready", "busy"]:
        """For whoever watches."""
        if self._state is State.READY:
            return "ready"
        return "busy" if self._state in (State.BUSY, State.ANSWERED) else "starting"

    def when_free(self, callback: Callable[[], None]) -> None:
        self._on_free = callback

    # What the runtime says (runtime_turns.Listener)

    def asked(self) -> None:
        company = self._housing.company
        company.api.table.open = False
        if company.present:
            company.waited_for = True
            if self._state is State.ANSWERED:
                assert self._invocation is not None
                self._figures.runtime_done(self._invocation)
            if not company.settled:
                return
        self._over()

    def _over(self) -> None:
        """Runtime and extensions wait for what comes next: init, or the phase, is over."""
        state = self._state
        self._housing.company.waited_for = False
        self._state = follow(state, Signal.ASKED)
        if state is State.ANSWERED:
            self._resets = 0
            invocation = self._invocation
            assert invocation is not None
            if invocation.log_tail:
                self._finish("success", None, False)
            else:
                self._untold = invocation, self._stream, self._clock.monotonic()
                self._free()
        elif state is State.SUPPRESSED_INIT:
            self._housing.limit_cpu()
            self._housing.company.tell(self._platform.extension)
            self._platform.init_ended("invoke", "success", None, self._figures.init_time())
            if self._restored:
                self._figures.copied()
            if not self._too_late():
                self._give()
            else:
                self._finish("error", None, False)
        else:
            self._housing.limit_cpu()
            duration = self._figures.restored(self._ran) if self._restored else self._figures.init_done()
            if self._logs.wanted:
                self._housing.drain()  # what was written in init comes before the first START
            self._housing.company.tell(self._platform.extension)
            if self._restored:
                self._platform.restore_ended("success", None, duration)
            else:
                self._platform.init_ended("init", "success", None, duration)
            self._tell_init()
            if self._invocation is not None:
                if not self._too_late():
                    self._open()
                    self._give()
                else:
                    self._free()
        self._freeze.begin()

    def explained(self, cause: bytes) -> None:
        self._figures.explained(cause)

    def answered(self, body: bytes | list[bytes] | Parcel, failed: bool) -> None:
        self._state = follow(self._state, Signal.ANSWERED)
        error: Literal["Unhandled"] | None = "Unhandled" if failed else None
        if isinstance(body, bytes):
            self._outcome, size = Outcome(body, error), len(body)
        elif not isinstance(body, list):
            self._outcome, size = Outcome(b"", error, parcel=body), len(body)
        else:
            self._outcome, size = Outcome(b"", error, pieces=body), sum(map(len, body))
        self._figures.answered(size, failed, self._stream)

    def answer_too_large(self) -> None:
        self._state = follow(self._state, Signal.ANSWERED)
        self._outcome = Outcome(failures.TOO_LARGE, "Unhandled", error_type=failures.TOO_LARGE_TYPE)
        self._figures.answered(0, True, self._stream)

    def streamed(self, error: tuple[str, bytes] | None) -> None:
        self._state = follow(self._state, Signal.ANSWERED)
        if error is None:
            self._outcome = Outcome(b"")
        else:
            error_type, payload = error
            self._outcome = Outcome(payload, "Unhandled", error_type=error_type)
        size = 0 if self._stream is None else self._stream.size
        self._figures.answered(size, error is not None, self._stream)

    def read(self) -> None:
        """Answered, and maybe asked again: now whoever waits may go on. With a tail, when the phase is over."""
        if self._outcome is None or (self._invocation is not None and self._invocation.log_tail):
            self._tell()
            return
        if self._answer is None or not self._answer.taken_at_once:
            self._tell()  # a task may look at what was told
        try:
            self._settle()
        finally:
            self._tell()

    def _tell(self) -> None:
        """Of the invocation that is over, before anything else begins."""
        if self._untold is not None:
            (invocation, stream, over), self._untold = self._untold, None
            self._figures.end(invocation, stream, self._housing.sandbox, "success", None, False, over)

    def _tell_init(self) -> None:
        if self._init_over is not None and not self._init_over.done():
            self._init_over.set_result(None)

    # An invocation

    def _open(self) -> None:
        """Its time begins to run."""
        invocation = self._invocation
        assert invocation is not None
        told_later = self._figures.begin(invocation)
        self._deadline.set(self.function.timeout)
        if invocation.log_tail:
            self._logs.collect_tail()
        if not told_later and (self._logs.wanted or self._platform.detailed):
            self._platform.started(invocation)

    def _too_late(self) -> bool:
        """Whether init has taken the invocation in hand past its latest begin; who waits for it is told."""
        invocation, answer = self._invocation, self._answer
        assert invocation is not None
        if invocation.latest is None or self._clock.now() < invocation.latest:
            return False
        if answer is not None:
            answer.fail(TooLate())
            self._answer = None
        return True

    def _give(self) -> None:
        invocation = self._invocation
        assert invocation is not None
        self._state = follow(self._state, Signal.GIVEN)
        deadline = self._clock.now() + self._deadline.at - self._loop.time()
        if self._housing.company.present:
            self._housing.company.invoke(invocation, int(deadline * 1000))
        head = event_head(invocation, int(deadline * 1000))
        payload = invocation.payload if invocation.parcel is None else invocation.parcel
        self._housing.api.give(invocation.request_id, head, payload, self._stream, invocation.carrier)

    def _settle(self) -> None:
        answer, outcome = self._answer, self._outcome
        self._answer = self._outcome = None
        if answer is not None and outcome is not None:
            answer.give(outcome)

    def _finish(self, status: Status, error_type: str | None, noticed: bool) -> None:
        """The phase is over. `noticed`: it failed, and not by what the runtime posted."""
        invocation = self._invocation
        assert invocation is not None
        over = self._clock.monotonic()
        self._figures.end(invocation, self._stream, self._housing.sandbox, status, error_type, noticed, over)
        if self._outcome is not None and invocation.log_tail:
            told = self._outcome
            self._outcome = told._replace(log_tail=self._logs.tail())
        self._free()

    def _free(self) -> None:
        self._invocation = self._stream = None
        self._broken = False
        if self._on_free is not None:
            callback, self._on_free = self._on_free, None
            callback()

    def _at_rest(self) -> Sandbox | None:
        """The sandbox in hand, if nothing goes on in it. What extensions are told of an invocation belongs to that."""
        if self._state is not State.READY or (self._housing.telemetry is not None and not self._housing.telemetry.told):
            return None
        return self._housing.sandbox
