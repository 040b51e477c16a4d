"""One environment: a sandbox, the runtime in it, and where both stand (AWS: spec 3.1).

Time-outs live here, and so does every way an invocation can end without an answer. All of it is driven by what
happens: the runtime's calls, its death, one deadline. A warm invocation is two callbacks and no task. What it all comes
to is in `figures.py`.

After a failed init, a crash or a time-out the sandbox ends, and the next invocation begins with the init of a new one,
in its own time: the environment stays what it is to everybody else, with its log stream. One that does nothing but fail
is given up after a while, so that what is wrong with it alone doesn't stay.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple

from lamplighter.model.clock import Clock
from lamplighter.model.errors import SnapStartException, SnapStartTimeoutException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.usage import Observe
from lamplighter.sandbox.contract import Exit, Sandbox, SandboxError
from lamplighter.worker import failures
from lamplighter.worker.answer import Answer
from lamplighter.worker.company import Company, Reason
from lamplighter.worker.contract import Reach, WorkerError
from lamplighter.worker.deadline import Deadline
from lamplighter.worker.event_head import event_head
from lamplighter.worker.extensions import Extension
from lamplighter.worker.figures import Figures
from lamplighter.worker.freeze import Freeze
from lamplighter.worker.lifecycle import Signal, State, follow
from lamplighter.worker.logs import Logs
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.platform_events import Status
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.stream import Stream
from lamplighter.worker.telemetry_api import Refused, TelemetryApi
from lamplighter.worker.telemetry_subscription import Api
from lamplighter.worker.xray_daemon import Take, XRayDaemon

INIT_LIMIT = 10.0  # seconds (AWS: spec 3.1)
AHEAD_INIT_LIMIT = 130.0  # of what is initialised ahead; the function's time-out, if that is longer
_LAST_WORDS = 0.05  # seconds for what a dead runtime wrote to be read, if a child of its keeps a connection open
RESETS = 10  # after as many failures without a success between, a new environment takes over
_LEAVE = 0.3  # seconds that a runtime may take to exit by itself after an init error
_FLUSH = 0.5  # seconds that telemetry's last events may take to be delivered

_log = logging.getLogger(__name__)


class _Gone(NamedTuple):
    """What an environment has let go and somebody takes down, whatever it has in hand by then."""

    sandbox: Sandbox | None
    company: Company
    reason: Reason
    telemetry: TelemetryApi | None


class LiveEnvironment:
    """Made by the worker, which calls `begin` once and hears through `on_end` that all is taken down."""

    def __init__(
        self,
        function: FunctionVersion,
        start_sandbox: Callable[[Sandbox | None], Awaitable[Sandbox]],
        logs: Logs,
        platform: PlatformLog,
        clock: Clock,
        on_end: Callable[["LiveEnvironment"], None],
        init_limit: float = INIT_LIMIT,
        metadata: Metadata | None = None,
        observe: Observe | None = None,
        initialization: str = "on-demand",
        segments: Take | None = None,
        reach: Reach | None = None,
        freeze_after: float | None = None,
    ) -> None:
        self.function = function
        self._start_sandbox = start_sandbox
        self._logs = logs
        self._platform = platform
        self._clock = clock
        self.born = clock.monotonic()
        self._on_end = on_end
        self._figures = Figures(function, logs, platform, clock, observe, initialization)
        self._init_limit = init_limit
        self._restored = initialization == "snap-start"  # sandboxes are copies of a template: no init, but a restore
        self._ran = 0.0  # since when, on the clock
        self._refusal: SnapStartException | SnapStartTimeoutException | None = None  # why it could not be restored
        self._loop = asyncio.get_running_loop()
        self._state = State.INIT
        self._metadata = metadata
        self._api = RuntimeApi(self, metadata)
        self._daemon = XRayDaemon(segments)
        self._reach = reach
        self._sandbox: Sandbox | None = None
        self._former: Sandbox | None = None  # ended, with its /tmp kept for the next
        self._company = Company(self, function, None, logs, clock)  # of the sandbox in hand
        self._reason: Reason = "spindown"  # why that one is let go
        self._telemetry: TelemetryApi | None = None  # from the first subscription on
        self._init_over: asyncio.Future[None] | None = None  # of the first init, if somebody waits for that
        self._init_error: tuple[bytes, str] | None = None  # what the runtime posted in init: payload, error type
        # Of the invocation in hand.
        self._invocation: Invocation | None = None
        self._answer: Answer | None = None
        self._outcome: Outcome | None = None  # what it will be given
        self._stream: Stream | None = None
        self._broken = False  # its stream broke off, and the reason is not known yet
        self._deadline = Deadline(self._loop, self._late)
        self._on_free: Callable[[], None] | None = None
        self._freeze = Freeze(self._loop, self._at_rest, freeze_after)
        self._resets = 0  # since an invocation last went well
        # Coming and going, each owned by `_take_down` and so by whoever calls `end`.
        self._repetition: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

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

    async def begin(self) -> None:
        """Start the sandbox, and with it INIT. Raises SandboxError."""
        if self._restored:
            self._platform.restore_started()
        else:
            self._platform.init_started("init")
        await self._start()

    async def initialized(self) -> bool:
        if self._state is State.INIT:
            self._init_over = self._loop.create_future()
            await self._init_over
        return self._state is State.READY

    def _tell_init(self) -> None:
        if self._init_over is not None and not self._init_over.done():
            self._init_over.set_result(None)

    async def run(self, invocation: Invocation, stream: Stream | None = None) -> Outcome:
        if self._state is State.DEAD:
            raise self._refusal or WorkerError("the environment is gone")
        if self._invocation is not None:
            raise WorkerError("an environment runs one invocation at a time")
        self._invocation = invocation
        self._stream = stream
        self._answer = answer = Answer(self._loop)
        if self._state is State.READY:
            self._open()
            self._give()
            if self._freeze.frozen is not None:
                self._freeze.end()  # it wakes up to an event that is there
        elif self._state in (State.FAILED_INIT, State.RESET):
            self._repeat_init()
        try:
            return await answer
        except asyncio.CancelledError:
            if self._state is State.INIT:
                self._invocation = None
            elif self._state in (State.BUSY, State.SUPPRESSED_INIT):
                self._die(Signal.ENDED)  # its late answer must not become the next invocation's
            raise

    async def end(self) -> None:
        if self._state is not State.DEAD:
            self._die(Signal.ENDED)
        assert self._ending is not None
        await asyncio.shield(self._ending)

    # What the runtime says (runtime_api.Listener)

    def asked(self) -> None:
        company = self._company
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
        self._company.waited_for = False
        self._state = follow(state, Signal.ASKED)
        if state is State.ANSWERED:
            self._resets = 0
            self._finish("success", None, False)
        elif state is State.SUPPRESSED_INIT:
            self._limit_cpu()
            self._company.tell(self._platform.extension)
            self._platform.init_ended("invoke", "success", None, self._figures.init_time())
            self._give()
        else:
            self._limit_cpu()
            duration = self._figures.restored(self._ran) if self._restored else self._figures.init_done()
            if self._logs.wanted:
                self._drain()  # what was written in init comes before the first START
            self._company.tell(self._platform.extension)
            if self._restored:
                self._platform.restore_ended("success", None, duration)
            else:
                self._platform.init_ended("init", "success", None, duration)
            self._tell_init()
            if self._invocation is not None:
                self._open()
                self._give()
        self._freeze.begin()

    def answered(self, body: bytes, failed: bool) -> None:
        self._state = follow(self._state, Signal.ANSWERED)
        self._outcome = Outcome(body, "Unhandled" if failed else None)
        self._figures.answered(len(body), failed, self._stream)

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

    def broke_off(self) -> None:
        """Settled in a moment, so that a death can be told as the reason."""
        assert self._invocation is not None
        self.streamed((failures.TRUNCATED, failures.truncated(self._invocation.request_id)))
        self._broken = True
        self._loop.call_later(_LEAVE, self._give_up, self._invocation)

    def init_failed(self, body: bytes, error_type: str) -> None:
        """Settled when the runtime exits, as it should now, so that its last output is in the log."""
        self._init_error = (body, failures.error_type(error_type))
        self._loop.call_later(_LEAVE, self._gone, self._sandbox, Exit())

    def subscribe(self, api: Api, identifier: str, body: bytes) -> None:
        name = self._company.api.table.get(identifier).name
        if self._sandbox is None:  # it is being shut down
            raise Refused(403, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
        if self._telemetry is None:
            self._telemetry = TelemetryApi(self._sandbox.connect, self._clock, self.function.log_format == "JSON")
        self._telemetry.open = self._state in (State.INIT, State.SUPPRESSED_INIT)
        asked = self._telemetry.subscribe(name, api, body)
        if self._telemetry.wants("function"):
            self._logs.tap = self._telemetry.function
        if self._telemetry.wants("extension"):
            self._company.output.tap = self._telemetry.extension
        self._platform.join(self._telemetry)
        self._platform.subscribed(api, name, list(asked.types))

    # What extensions do (company.Listener)

    def extension_asked(self) -> None:
        if self._company.waited_for and self._company.settled:
            self._over()

    def extension_failed(self, extension: Extension, exit: Exit | None) -> None:
        """Settled when it exits, as it should after it posted an error."""
        gone = partial(self._extension_gone, self._sandbox, extension)
        if exit is None:
            self._loop.call_later(_LEAVE, gone, exit)
        else:
            gone(exit)

    def _extension_gone(self, sandbox: Sandbox | None, extension: Extension, exit: Exit | None) -> None:
        if sandbox is None or sandbox is not self._sandbox:
            return
        initializing = self._state in (State.INIT, State.SUPPRESSED_INIT)
        posted = extension.error_type is not None
        error_type, reason = failures.extension_failure(exit, initializing, posted)
        extension.error_type = extension.error_type or error_type
        request_id = self._invocation.request_id if self._invocation is not None else ""
        payload = failures.extension_failed(request_id, error_type, reason)
        if initializing:
            self._fail_init(payload, error_type, f"{reason}\n{error_type}")
        elif self._state is State.READY:
            self._reason = "failure"
            self._die(Signal.EXITED)
        else:
            self._drain()
            self._platform.crashed(request_id, f"{reason}\n{error_type}")
            told = failures.TRUNCATED if self._begun_to_stream() else error_type
            self._fail(Signal.EXITED, payload, "error", error_type, error_type=told)

    def read(self) -> None:
        """Answered, and maybe asked again: now whoever waits may go on. With a tail, when the phase is over."""
        if self._outcome is not None and (self._invocation is None or not self._invocation.log_tail):
            self._settle()

    # An invocation

    def _open(self) -> None:
        """Its time begins to run."""
        invocation = self._invocation
        assert invocation is not None
        self._figures.begin(invocation.above is not None)
        self._deadline.set(self.function.timeout)
        if invocation.log_tail:
            self._logs.collect_tail()
        if self._logs.wanted or self._platform.detailed:
            self._platform.started(invocation)

    def _give(self) -> None:
        invocation = self._invocation
        assert invocation is not None
        self._state = follow(self._state, Signal.GIVEN)
        deadline = self._clock.now() + self._deadline.at - self._loop.time()
        if self._company.present:
            self._company.invoke(invocation, int(deadline * 1000))
        head = event_head(invocation, int(deadline * 1000))
        self._api.give(invocation.request_id, head, invocation.payload, self._stream)

    def _settle(self) -> None:
        answer, outcome = self._answer, self._outcome
        self._answer = self._outcome = None
        if answer is not None and outcome is not None:
            answer.give(outcome)

    def _finish(self, status: Status, error_type: str | None, noticed: bool) -> None:
        """The phase is over. `noticed`: it failed, and not by what the runtime posted."""
        invocation = self._invocation
        assert invocation is not None
        self._figures.end(invocation, self._stream, self._sandbox, status, error_type, noticed)
        if self._outcome is not None and invocation.log_tail:
            told = self._outcome
            self._outcome = Outcome(told.payload, told.error, self._logs.tail(), told.error_type)
        self._free()

    def _give_up(self, invocation: Invocation) -> None:
        """Nothing more is known of why this invocation's stream broke off."""
        if self._invocation is invocation:
            self._broken = False
            self.read()

    def _free(self) -> None:
        self._invocation = self._stream = None
        self._broken = False
        if self._on_free is not None:
            callback, self._on_free = self._on_free, None
            callback()

    def _at_rest(self) -> Sandbox | None:
        """The sandbox in hand, if nothing goes on in it. What extensions are told of an invocation belongs to that."""
        if self._state is not State.READY or (self._telemetry is not None and not self._telemetry.told):
            return None
        return self._sandbox

    # Failures

    def _fail(
        self, signal: Signal, payload: bytes, status: Status, cause: str | None, error_type: str | None = None
    ) -> None:
        """The invocation in hand ends with `payload`, unless it was answered already, and the sandbox ends.
        `cause`: the error type that the log shows; `error_type`: that of the outcome."""
        assert self._invocation is not None
        if self._state is not State.ANSWERED or self._broken:
            self._outcome = Outcome(payload, "Unhandled", error_type=error_type)
        self._state = follow(self._state, signal)
        self._reason = "timeout" if signal is Signal.TIMED_OUT else "failure"
        self._finish(status, cause, True)
        self._resets += 1
        if self._resets < RESETS:
            self._put_away()
        else:
            self._die(Signal.ENDED)
        self._settle()

    def _time_out(self) -> None:
        invocation = self._invocation
        assert invocation is not None
        timeout = self.function.timeout
        self._logs.drain()
        if self._state is State.SUPPRESSED_INIT:
            self._platform.init_ended("invoke", "timeout", None, self._figures.init_time())
        self._platform.timed_out(invocation.request_id, timeout)
        payload = failures.timed_out(invocation.request_id, timeout)
        self._fail(Signal.TIMED_OUT, payload, "timeout", None, error_type=failures.TIMED_OUT)

    def _exited(self, sandbox: Sandbox, exited: asyncio.Future[Exit]) -> None:
        """The runtime process is gone; first read what it wrote before."""
        if sandbox is not self._sandbox:
            return
        exit = Exit() if exited.cancelled() else exited.result()
        gone = partial(self._gone, sandbox, exit)
        if self._state is State.READY:
            gone()
        else:
            self._loop.call_later(_LAST_WORDS, gone)
            self._api.hung_up().add_done_callback(lambda _: gone())

    def _gone(self, sandbox: Sandbox | None, exit: Exit) -> None:
        """Settle the runtime's death, once: later calls, and those about an earlier sandbox, find nothing to do."""
        if sandbox is not self._sandbox or self._state in (State.DEAD, State.FAILED_INIT, State.RESET):
            return
        if self._state in (State.INIT, State.SUPPRESSED_INIT):
            request_id = self._invocation.request_id if self._invocation is not None else ""
            if self._init_error is not None:
                self._fail_init(*self._init_error)
            else:
                reason = failures.reason(exit)
                self._fail_init(failures.exited(request_id, exit), failures.exit_type(exit), reason)
        elif self._state is State.READY:
            self._reason = "failure"
            self._die(Signal.EXITED)
        else:
            assert self._invocation is not None
            request_id = self._invocation.request_id
            self._logs.drain()
            self._platform.crashed(request_id, failures.reason(exit))
            self._fail(
                Signal.EXITED,
                failures.exited(request_id, exit),
                "error",
                failures.exit_type(exit),
                error_type=failures.TRUNCATED if self._begun_to_stream() else failures.exit_type(exit),
            )

    def _begun_to_stream(self) -> bool:
        return self._stream is not None and self._stream.begun

    def _fail_init(self, payload: bytes, error_type: str | None, reason: str | None = None) -> None:
        """`error_type` None: init took too long. `reason`: for the log of the invocation that it is the end of."""
        self._drain()
        status = "error" if error_type else "timeout"
        self._reason = "failure" if error_type else "timeout"
        self._company.tell(self._platform.extension)
        if self._state is State.SUPPRESSED_INIT:
            assert self._invocation is not None
            self._platform.init_ended("invoke", status, error_type, self._figures.init_time())
            if reason is not None:
                self._platform.crashed(self._invocation.request_id, reason)
            noticed = error_type if self._init_error is None else None
            self._fail(Signal.INIT_FAILED, payload, "error", error_type, error_type=noticed)
            return
        duration = self._figures.init_time()
        if self._restored:
            self._platform.restore_ended(status, error_type, duration)
            self._refusal = failures.not_restored(status)
            self._die(Signal.ENDED)
            return
        self._platform.init_ended("init", status, error_type, duration)
        self._figures.init_failed(duration, status, error_type)
        self._state = follow(self._state, Signal.INIT_FAILED)
        self._put_away()
        self._tell_init()
        if self._invocation is not None:
            self._repeat_init()

    def _repeat_init(self) -> None:
        """Once more, at the expense of the invocation's own time."""
        self._state = follow(self._state, Signal.REPEATED)
        self._deadline.clear()
        self._repetition = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        assert self._stopping is not None
        await asyncio.wait([self._stopping])  # not itself: it goes on if this is cancelled
        if self._state is not State.SUPPRESSED_INIT:
            return
        self._open()  # extensions' time to shut down was not the invocation's
        self._platform.init_started("invoke")
        try:
            await self._start()
        except (SandboxError, OSError) as error:
            self._die(Signal.ENDED, str(error))

    def _limit_cpu(self) -> None:
        if self._sandbox is not None:
            self._sandbox.limit_cpu()

    def _late(self) -> None:
        """The deadline is reached."""
        if self._state in (State.READY, State.FAILED_INIT, State.RESET, State.DEAD):
            return  # nothing is running
        if self._state is State.INIT:
            self._fail_init(b"", None)
        else:
            self._time_out()

    # Coming and going

    async def _start(self) -> None:
        self._figures.init_begins()
        self._init_error = None
        former, self._former = self._former, None
        sandbox = await self._start_sandbox(former)
        if self._state is State.DEAD:
            await sandbox.end()
            raise SandboxError("the environment was ended before its sandbox stood")
        if self._state is State.INIT:
            self._deadline.set(self._init_limit)
        self._sandbox = sandbox
        self._company = Company(self, self.function, sandbox, self._logs, self._clock)
        self._reason = "spindown"
        self._api = RuntimeApi(self, self._metadata, self._company.api)
        self._api.restoring = self._restored
        self._ran = self._clock.monotonic()
        self._logs.attach(sandbox.output, sandbox.frames)
        await self._api.open(sandbox.runtime_api)
        self._daemon.open(sandbox.xray_daemon)
        if self._reach is not None and sandbox.service_api is not None:
            await self._reach.listen(sandbox.service_api)
        sandbox.exited.add_done_callback(partial(self._exited, sandbox))

    def _let_go(self) -> _Gone:
        """Hear nothing more from the sandbox in hand, if any, and tell it nothing but that it is to end, and what
        telemetry still has."""
        self._freeze.clear()
        sandbox, self._sandbox = self._sandbox, None
        telemetry, self._telemetry = self._telemetry, None
        if sandbox is not None and self._company.present:
            self._api.retire()
        else:
            self._unplug()
        return _Gone(sandbox, self._company, self._reason, telemetry)

    def _unplug(self) -> None:
        self._api.close()
        self._daemon.close()
        if self._reach is not None:
            self._reach.hang_up()
        self._drain()
        self._company.output.detach()
        self._logs.detach()
        self._logs.tap = None
        self._platform.leave()

    def _drain(self) -> None:
        self._company.output.drain()
        self._logs.drain()

    def _put_away(self) -> None:
        """End the sandbox in hand, or the one that is being started; there may be another after it."""
        before = [task for task in (self._repetition, self._stopping) if task is not None and not task.done()]
        if self._repetition is not None:
            self._repetition.cancel()
        self._stopping = self._loop.create_task(self._stop_after(before, self._let_go()))

    async def _stop_after(self, before: list[asyncio.Task[None]], gone: _Gone) -> None:
        if before:
            await asyncio.wait(before)
        await self._stop(gone, keep_tmp=True)
        self._former = gone.sandbox or self._former

    async def _stop(self, gone: _Gone, keep_tmp: bool = False) -> None:
        sandbox, company, reason, telemetry = gone
        try:
            if sandbox is not None and company.present:
                last = [] if telemetry is None else [telemetry.finish(_FLUSH)]
                await asyncio.gather(company.shut_down(reason), *last)
                self._unplug()
            if telemetry is not None:
                await telemetry.finish(_FLUSH)
                await telemetry.close()
            if sandbox is not None:
                await sandbox.end(keep_tmp)
        except (SandboxError, OSError) as error:
            _log.error("the sandbox of %s could not be taken down: %s", self.function.arn, error)

    def _die(self, signal: Signal, reason: str = "the environment was ended") -> None:
        """No invocation from here on; take everything down. `reason`: for one that is still waiting."""
        self._figures.unused(self._state is State.INIT and self._sandbox is not None and not self._restored)
        self._state = follow(self._state, signal)
        self._deadline.clear()
        self._tell_init()
        if self._ending is None:
            self._ending = self._loop.create_task(self._take_down())
        if self._invocation is not None:
            if self._outcome is not None:
                self._settle()  # answered; only its log's tail is not complete
            elif self._answer is not None:
                self._answer.fail(self._refusal or WorkerError(reason))
            self._free()

    async def _take_down(self) -> None:
        if self._repetition is not None and not self._repetition.done():
            self._repetition.cancel()
            await asyncio.wait([self._repetition])
        if self._stopping is not None:
            await asyncio.wait([self._stopping])
        await self._stop(self._let_go())
        if self._former is not None:
            with contextlib.suppress(SandboxError):  # told when it was put away
                await self._former.end()
        self._on_end(self)
