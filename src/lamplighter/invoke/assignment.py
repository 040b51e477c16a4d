"""Assignment within one process: counts concurrency exactly and hands out environments, most recently used first.

An invocation counts from its admission until the phase it caused is over, which may be after its answer (AWS: spec
4.1). Where no environment is free a new one is started, but whichever is free first is taken: a cold start belongs to
the assignment, not to the invocation that caused it, so it is neither waited for in vain nor lost when a caller leaves.
Provisioned environments (`ahead`) come before all others, and are counted apart.

When the host's memory runs short, idle environments end, the least recently used first; when that doesn't help, what
would need a new environment is throttled, before anything swaps or dies.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from lamplighter.invoke.ahead import AT_ONCE, Ahead, Means, Standing
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.memory import Relief, Room
from lamplighter.invoke.pool import Key, Pool
from lamplighter.model.clock import Clock
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Peak
from lamplighter.worker.contract import Environment, WorkerError, Workers

IDLE_LIMIT = 600.0  # seconds that an environment is kept without an invocation (AWS: 5 to 15 minutes)
AGE_LIMIT = 7200.0  # seconds after which an environment takes no more invocations (AWS: some two hours)
# Seconds to wait for an environment that has answered and is about to be free, before another one is started: as long
# as the last start took, since who waits that long and then starts one has lost no more than as much again.
_HESITATE = (0.005, 0.1)
_SWEEP = 15.0  # seconds between looks at idle environments
_RETRY = 1.0  # seconds until who was throttled for a lack of memory or growth may try again
_CLOSE_LIMIT = 30.0  # seconds

_log = logging.getLogger(__name__)


class InProcessAssignment:
    """Implements `invoke.contract.Assignment` with this node's `workers`.

    `memory`: bytes that the host can still give (None: nobody knows), of which `memory_reserve` are left alone.
    `spilled`: told of each invocation on demand of a version that has provisioned environments, and of the
    alias or version that has them."""

    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        limits: Limits,
        idle_limit: float = IDLE_LIMIT,
        age_limit: float = AGE_LIMIT,
        memory: Callable[[], int | None] = lambda: None,
        memory_reserve: int = 0,
        spilled: Callable[[FunctionVersion, str], None] = lambda function, qualifier: None,
    ) -> None:
        self._workers = workers
        self._clock = clock
        self._limits = limits
        self._idle_limit = idle_limit
        self._age_limit = age_limit
        self._spilled = spilled
        self._starting = 0  # environments on their way, of all pools
        self._telling: asyncio.TimerHandle | None = None
        gate = asyncio.Semaphore(AT_ONCE)
        self._means = Means(workers, clock, age_limit, gate, self._own, self._has_room)
        self._pools: dict[Key, Pool] = {}
        self._relief = Relief(Room(clock, memory, memory_reserve), self._pools, self._end_oldest)
        self._tasks: set[asyncio.Task[None]] = set()  # cold starts and endings
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def environment(self, function: FunctionVersion, paced: bool = False) -> "Hold":
        return Hold(self, function, paced)

    def provision(self, function: FunctionVersion, count: int, qualifier: str = "") -> None:
        """Keep so many environments of this version initialised, from now on. `qualifier`: the alias or version that
        this was asked for."""
        key = (function.id, function.version, function.generation)
        if self._closed or (not count and key not in self._pools):
            return
        pool = self._pool(function)
        if pool.ahead is None:
            pool.ahead = Ahead(function, self._means, partial(self._ahead_changed, pool))
        pool.ahead.want(count, qualifier)
        self._forget_if_unused(pool)
        if self._sweeper is None:
            self._sweep_later()

    def _ahead_changed(self, pool: Pool) -> None:
        self._limits.tell()  # who finds no room on demand may find it here
        self._forget_if_unused(pool)

    def peaks(self) -> Sequence[Peak]:
        """Of provisioned environments in use, since the last time this was asked."""
        return [peak for pool in self._pools.values() if pool.ahead is not None for peak in pool.ahead.peaks()]

    def standing(self, function: FunctionVersion) -> Standing:
        """What of that is there now."""
        pool = self._pools.get((function.id, function.version, function.generation))
        return Standing() if pool is None or pool.ahead is None else pool.ahead.standing()

    def retire(self, arn: str, keep_generation: int | None) -> None:
        for pool in tuple(self._pools.values()):
            if pool.function.arn == arn and pool.function.generation != keep_generation:
                self._retire(pool)

    def sweep(self) -> None:
        """End environments that were idle for too long, are too old, or died idle. A timer calls it, and tests do."""
        oldest = self._clock.monotonic() - self._idle_limit
        for pool in tuple(self._pools.values()):
            kept: list[tuple[Environment, float]] = []
            for environment, since in pool.idle:
                if environment.alive and since > oldest and not self._too_old(environment):
                    kept.append((environment, since))
                else:
                    self._end(environment)
            pool.idle = kept
            if pool.ahead is not None:
                pool.ahead.tidy()
            self._forget_if_unused(pool)

    async def close(self) -> None:
        """End what is idle and start no more; environments in use end as they come back."""
        self._closed = True
        self._relief.close()
        for timer in (self._sweeper, self._telling):
            if timer is not None:
                timer.cancel()
        for pool in tuple(self._pools.values()):
            self._retire(pool)
            while pool.waiting:
                self._fail_one(pool, WorkerError("the service is shutting down"))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_LIMIT)
            for task in late:
                _log.error("still not done after %.0f s, left behind: %r", _CLOSE_LIMIT, task)

    # What a Hold does

    def enter(self, function: FunctionVersion, paced: bool) -> tuple[Pool, Environment | None, bool]:
        """Count one more; with an environment if one is free, and whether that is a provisioned one. Raises
        TooManyRequestsException."""
        if self._closed:
            raise WorkerError("the service is shutting down")
        pool = self._pool(function)
        now = self._clock.monotonic() if paced else None
        ahead = pool.ahead
        try:
            if ahead is not None and ahead.available(now):
                pool.share.admit_ahead(now)
                pool.admitted += 1
                return pool, ahead.take(now), True
            pool.share.admit(now)
        except TooManyRequestsException:
            self._forget_if_unused(pool)
            raise
        pool.admitted += 1
        environment = self._take_idle(pool)
        if environment is None and (refused := self._refusal(pool)) is not None:
            self.leave(pool)
            self._tell_later()
            raise refused
        if ahead is not None and ahead.wanted:
            self._spilled(function, ahead.qualifier)
        return pool, environment, False

    def _pool(self, function: FunctionVersion) -> Pool:
        key = (function.id, function.version, function.generation)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key, function, self._limits.share(function.id))
        return pool

    def _refusal(self, pool: Pool) -> TooManyRequestsException | None:
        """Why no environment may be started for one more invocation, which would then wait for those in use."""
        if pool.finishing > len(pool.waiting):
            return None
        if not pool.share.may_grow(self._clock.monotonic()) or not self._has_room():
            return TooManyRequestsException("ConcurrentInvocationLimitExceeded", retry_after=1)
        return None

    def _take_idle(self, pool: Pool) -> Environment | None:
        while pool.idle:
            environment, _ = pool.idle.pop()
            if environment.alive and not self._too_old(environment):
                return environment
            self._end(environment)
        return None

    async def wait(self, pool: Pool) -> Environment:
        """Until one is free, which may be a new one."""
        loop = asyncio.get_running_loop()
        while True:
            waiter: asyncio.Future[Environment] = loop.create_future()
            pool.waiting.append(waiter)
            self._start_missing(pool)
            if pool.starting < len(pool.waiting):
                least, most = _HESITATE
                loop.call_later(min(max(pool.start_took, least), most), self._start_overdue, pool, waiter)
            try:
                environment = await waiter
            except asyncio.CancelledError:
                if waiter in pool.waiting:
                    pool.waiting.remove(waiter)
                elif not waiter.cancelled() and waiter.exception() is None:  # both at once
                    self._keep(pool, waiter.result())
                raise
            if environment.alive:
                return environment
            self._end(environment)  # it died on the way

    def leave(self, pool: Pool) -> None:
        """An admitted invocation is over without having had an environment."""
        self._release(pool)
        self._forget_if_unused(pool)

    def give_back(self, pool: Pool, environment: Environment, ahead: bool) -> None:
        if environment.busy:
            if not ahead:
                pool.finishing += 1
            environment.when_free(partial(self._finished, pool, environment, ahead))
        else:
            self._over(pool, environment, ahead)

    def _finished(self, pool: Pool, environment: Environment, ahead: bool) -> None:
        if not ahead:
            pool.finishing -= 1
        self._over(pool, environment, ahead)

    def _over(self, pool: Pool, environment: Environment, ahead: bool) -> None:
        self._release(pool, ahead)
        if ahead and pool.ahead is not None:
            pool.ahead.give_back(environment)
            self._forget_if_unused(pool)
        else:
            self._keep(pool, environment)

    def _release(self, pool: Pool, ahead: bool = False) -> None:
        pool.admitted -= 1
        pool.share.release(ahead)

    # Environments that come free

    def _keep(self, pool: Pool, environment: Environment) -> None:
        """Hand it to whoever waits longest, else keep it warm; or end it."""
        if not environment.alive or self._too_old(environment):
            self._end(environment)
            self._start_missing(pool)
        elif not self._hand_over(pool, environment):
            if pool.retired:
                self._end(environment)
            else:
                pool.idle.append((environment, self._clock.monotonic()))
                if self._sweeper is None:
                    self._sweep_later()
                self._relief.watch()
        self._forget_if_unused(pool)

    def _too_old(self, environment: Environment) -> bool:
        return self._clock.monotonic() - environment.born >= self._age_limit

    def _hand_over(self, pool: Pool, environment: Environment) -> bool:
        while pool.waiting:
            waiter = pool.waiting.popleft()
            if not waiter.done():
                waiter.set_result(environment)
                return True
        return False

    def _end(self, environment: Environment) -> None:
        self._own(environment.end())

    # Cold starts

    def _start_missing(self, pool: Pool) -> None:
        """As many as there are invocations without any in sight."""
        self._start_up_to(pool, len(pool.waiting) - pool.finishing)

    def _start_overdue(self, pool: Pool, waiter: asyncio.Future[Environment]) -> None:
        """For one that has waited in vain for one in sight, and for those before it."""
        if waiter in pool.waiting:
            self._start_up_to(pool, pool.waiting.index(waiter) + 1)

    def _start_up_to(self, pool: Pool, wanted: int) -> None:
        while pool.starting < wanted:
            pool.starting += 1
            self._starting += 1
            pool.share.grow(self._clock.monotonic())
            self._own(self._start(pool))

    async def _start(self, pool: Pool) -> None:
        begun = self._clock.monotonic()
        try:
            environment = await self._workers.start(pool.function)
        except Exception as error:  # whatever it is, it must reach the invocation, which would else wait for ever
            self._started(pool)
            if len(pool.waiting) > pool.starting:
                self._fail_one(pool, error)
            self._forget_if_unused(pool)
        else:
            pool.start_took = self._clock.monotonic() - begun
            self._started(pool)
            self._keep(pool, environment)

    def _started(self, pool: Pool) -> None:
        pool.starting -= 1
        self._starting -= 1

    def _fail_one(self, pool: Pool, error: Exception) -> None:
        while pool.waiting:
            waiter = pool.waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)
                return

    # A lack of memory, or of growth

    def _has_room(self) -> bool:
        """For one more environment, beside those on their way."""
        return self._relief.has_room(self._starting + 1)

    def _end_oldest(self, pool: Pool) -> None:
        self._end(pool.idle.pop(0)[0])
        self._forget_if_unused(pool)

    def _tell_later(self) -> None:
        """Queued events that were throttled, for what no release will end: they may try again in a moment."""
        if self._telling is None and not self._closed:
            self._telling = asyncio.get_running_loop().call_later(_RETRY, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._limits.tell()

    # Housekeeping

    def _retire(self, pool: Pool) -> None:
        pool.retired = True
        if pool.ahead is not None:
            pool.ahead.want(0)
        while pool.idle:
            self._end(pool.idle.pop()[0])
        self._forget_if_unused(pool)

    def _forget_if_unused(self, pool: Pool) -> None:
        if pool.unused:
            self._pools.pop(pool.key, None)

    def _sweep_later(self) -> None:
        delay = min(self._idle_limit / 4, _SWEEP)
        self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep_on_time)

    def _sweep_on_time(self) -> None:
        self._sweeper = None
        self.sweep()
        if self._pools and not self._closed:
            self._sweep_later()

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._disown)

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an environment could not be ended", exc_info=error)


class Hold:
    """One admitted invocation, from its admission until its phase is over: `async with` gives its environment.

    A class, not a generator: this is on the warm path of every invocation."""

    __slots__ = ("_ahead", "_assignment", "_environment", "_function", "_paced", "_pool")

    _pool: Pool
    _environment: Environment
    _ahead: bool

    def __init__(self, assignment: InProcessAssignment, function: FunctionVersion, paced: bool) -> None:
        self._assignment = assignment
        self._function = function
        self._paced = paced

    async def __aenter__(self) -> Environment:
        assignment = self._assignment
        self._pool, environment, self._ahead = assignment.enter(self._function, self._paced)
        if environment is None:
            try:
                environment = await assignment.wait(self._pool)
            except BaseException:
                assignment.leave(self._pool)
                raise
        self._environment = environment
        return environment

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._assignment.give_back(self._pool, self._environment, self._ahead)
