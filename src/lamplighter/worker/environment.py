"""One environment: a sandbox, the runtime in it, and where both stand (AWS: spec 3.1).

Time-outs live here, and so does every way an invocation can end without an answer. All of it is driven by what
happens: the runtime's calls, its death, one deadline. What a warm invocation takes is in `course.py`, what an
environment lives in in `housing.py`.

After a failed init, a crash or a time-out the sandbox ends, and the next invocation begins with the init of a new one,
in its own time: the environment stays what it is to everybody else, with its log stream. One that does nothing but fail
is given up after a while, so that what is wrong with it alone doesn't stay.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

from lamplighter.model.clock import Clock
from lamplighter.model.errors import SnapStartException, SnapStartTimeoutException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.usage import Observe
from lamplighter.sandbox.contract import Exit, Sandbox, SandboxError
from lamplighter.worker import failures
from lamplighter.worker.answer import Answer
from lamplighter.worker.contract import Reach, TooLate, WorkerError
from lamplighter.worker.course import Course
from lamplighter.worker.extensions import Extension
from lamplighter.worker.figures import Figures
from lamplighter.worker.housing import Gone, Housing
from lamplighter.worker.lifecycle import Signal, State, follow
from lamplighter.worker.logs import Logs
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.notes import Notebook
from lamplighter.worker.platform_events import Status
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.stream import Stream
from lamplighter.worker.telemetry_subscription import Api
from lamplighter.worker.xray_daemon import Take

INIT_LIMIT = 10.0  # seconds (AWS: spec 3.1)
AHEAD_INIT_LIMIT = 130.0  # of what is initialised ahead; the function's time-out, if that is longer
_LAST_WORDS = 0.05  # seconds for what a dead runtime wrote to be read, if a child of its keeps a connection open
RESETS = 10  # after as many failures without a success between, a new environment takes over
REPLACED = 8  # in one environment; whoever kills them all is told as its runtime's death
_LEAVE = 0.3  # seconds that a runtime may take to exit by itself after an init error


class LiveEnvironment(Course):
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
        book: Notebook | None = None,
    ) -> None:
        restored = initialization == "snap-start"
        figures = Figures(function, logs, platform, clock, observe, initialization, book)
        super().__init__(function, logs, platform, clock, figures, restored, freeze_after)
        self._housing = Housing(self, function, start_sandbox, logs, platform, clock, metadata, segments, reach)
        self._on_end = on_end
        self._init_limit = init_limit
        self._refusal: SnapStartException | SnapStartTimeoutException | None = None  # why it could not be restored
        self._replaced = 0  # sandboxes that were none of the function's doing
        self._init_error: tuple[bytes, str] | None = None  # what the runtime posted in init: payload, error type
        # Coming and going, each owned by `_take_down` and so by whoever calls `end`.
        self._repetition: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

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

    async def run(self, invocation: Invocation, stream: Stream | None = None) -> Outcome:
        if self._state is State.DEAD:
            raise self._refusal or WorkerError("the environment is gone")
        if self._invocation is not None:
            raise WorkerError("an environment runs one invocation at a time")
        if invocation.latest is not None and self._clock.now() >= invocation.latest:
            raise TooLate
        self._tell()
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

    # What the runtime says, and goes wrong

    def broke_off(self) -> None:
        """Settled in a moment, so that a death can be told as the reason."""
        assert self._invocation is not None
        self.streamed((failures.TRUNCATED, failures.truncated(self._invocation.request_id)))
        self._broken = True
        self._loop.call_later(_LEAVE, self._give_up, self._invocation)

    def init_failed(self, body: bytes, error_type: str) -> None:
        """Settled when the runtime exits, as it should now, so that its last output is in the log."""
        self._init_error = (body, failures.error_type(error_type))
        self._loop.call_later(_LEAVE, self._gone, self._housing.sandbox, Exit())

    def subscribe(self, api: Api, identifier: str, body: bytes) -> None:
        self._housing.subscribe(api, identifier, body, self._state in (State.INIT, State.SUPPRESSED_INIT))

    # What extensions do (company.Listener)

    def extension_asked(self) -> None:
        if self._housing.company.waited_for and self._housing.company.settled:
            self._over()
            self._tell()

    def extension_failed(self, extension: Extension, exit: Exit | None) -> None:
        """Settled when it exits, as it should after it posted an error."""
        gone = partial(self._extension_gone, self._housing.sandbox, extension)
        if exit is None:
            self._loop.call_later(_LEAVE, gone, exit)
        else:
            gone(exit)

    def _extension_gone(self, sandbox: Sandbox | None, extension: Extension, exit: Exit | None) -> None:
        if sandbox is None or sandbox is not self._housing.sandbox or self._state is State.DEAD:
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
            self._housing.reason = "failure"
            self._die(Signal.EXITED)
        else:
            self._housing.drain()
            self._platform.crashed(request_id, f"{reason}\n{error_type}")
            told = failures.TRUNCATED if self._begun_to_stream() else error_type
            self._fail(Signal.EXITED, payload, "error", error_type, error_type=told)

    def _give_up(self, invocation: Invocation) -> None:
        """Nothing more is known of why this invocation's stream broke off."""
        if self._invocation is invocation:
            self._broken = False
            self.read()

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
        self._housing.reason = "timeout" if signal is Signal.TIMED_OUT else "failure"
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
        if sandbox is not self._housing.sandbox:
            return
        exit = Exit() if exited.cancelled() else exited.result()
        gone = partial(self._gone, sandbox, exit)
        if self._state is State.READY:
            gone()
        else:
            self._loop.call_later(_LAST_WORDS, gone)
            self._housing.api.hung_up().add_done_callback(lambda _: gone())

    def _gone(self, sandbox: Sandbox | None, exit: Exit) -> None:
        """Settle the runtime's death, once: later calls, and those about an earlier sandbox, find nothing to do."""
        if sandbox is not self._housing.sandbox or self._state in (State.DEAD, State.FAILED_INIT, State.RESET):
            return
        if self._state in (State.INIT, State.SUPPRESSED_INIT):
            request_id = self._invocation.request_id if self._invocation is not None else ""
            if exit.untaken and self._replaced < REPLACED:
                self._replace()
            elif self._init_error is not None:
                self._fail_init(*self._init_error)
            else:
                reason = failures.reason(exit)
                self._fail_init(failures.exited(request_id, exit), failures.exit_type(exit), reason)
        elif self._state is State.READY:
            self._housing.reason = "failure"
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
        self._housing.drain()
        status = "error" if error_type else "timeout"
        self._housing.reason = "failure" if error_type else "timeout"
        self._housing.company.tell(self._platform.extension)
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
            self._figures.not_restored(self._ran, status, error_type)
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

    def _replace(self) -> None:
        """The sandbox in hand, in the same init: its runtime was killed before it knew for which function."""
        self._replaced += 1
        self._housing.reason = "failure"
        self._put_away()
        self._repetition = self._loop.create_task(self._start_another(self._state))

    async def _start_another(self, state: State) -> None:
        assert self._stopping is not None
        await asyncio.wait([self._stopping])
        if self._state is not state:
            return
        try:
            await self._start()
        except (SandboxError, OSError) as error:
            self._die(Signal.ENDED, str(error))

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
        sandbox = await self._housing.make()
        if self._state is State.DEAD:
            await sandbox.end()
            raise SandboxError("the environment was ended before its sandbox stood")
        if self._state is State.INIT:
            self._deadline.set(self._init_limit)
        self._ran = self._clock.monotonic()
        await self._housing.take(sandbox, self._restored)
        sandbox.exited.add_done_callback(partial(self._exited, sandbox))

    def _let_go(self) -> Gone:
        self._freeze.clear()
        return self._housing.let_go()

    def _put_away(self) -> None:
        """End the sandbox in hand, or the one that is being started; there may be another after it."""
        before = [task for task in (self._repetition, self._stopping) if task is not None and not task.done()]
        if self._repetition is not None:
            self._repetition.cancel()
        self._stopping = self._loop.create_task(self._stop_after(before, self._let_go()))

    async def _stop_after(self, before: list[asyncio.Task[None]], gone: Gone) -> None:
        if before:
            await asyncio.wait(before)
        await self._housing.stop(gone, keep_tmp=True)
        self._housing.former = gone.sandbox or self._housing.former

    def _die(self, signal: Signal, reason: str = "the environment was ended") -> None:
        """No invocation from here on; take everything down. `reason`: for one that is still waiting."""
        self._tell()
        self._figures.unused(self._state is State.INIT and self._housing.sandbox is not None and not self._restored)
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
        await self._housing.stop(self._let_go())
        if self._housing.former is not None:
            with contextlib.suppress(SandboxError):  # told when it was put away
                await self._housing.former.end()
        self._on_end(self)
