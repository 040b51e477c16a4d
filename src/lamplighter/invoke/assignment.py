"""Assignment within one process: counts concurrency exactly and hands out environments, most recently used first.

An invocation counts from its admission until the phase it caused is over, which may be after its answer (AWS: spec
4.1). Where no environment is free a new one is started, but whichever is free first is taken: a cold start belongs to
the assignment, not to the invocation that caused it, so it is neither waited for in vain nor lost when a caller leaves.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from lamplighter.invoke.limits import Limits, Share
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.worker.contract import Environment, WorkerError, Workers

IDLE_LIMIT = 600.0  # seconds that an environment is kept without an invocation (AWS: 5 to 15 minutes)
AGE_LIMIT = 7200.0  # seconds after which an environment takes no more invocations (AWS: some two hours)
_HESITATE = 0.005  # seconds to wait for an environment that has answered and is about to be free, before starting one
_SWEEP = 15.0  # seconds between looks at idle environments
_CLOSE_LIMIT = 30.0  # seconds

_log = logging.getLogger(__name__)

_Key = tuple[FunctionId, str, int]  # function, version, generation


class Pool:
    """The environments of one version in one generation."""

    __slots__ = ("admitted", "finishing", "function", "idle", "key", "retired", "share", "starting", "waiting")

    def __init__(self, key: _Key, function: FunctionVersion, share: Share) -> None:
        self.key = key
        self.function = function
        self.share = share
        self.admitted = 0  # invocations not yet released
        self.finishing = 0  # of these: answered, but their phase is not over
        self.waiting: deque[asyncio.Future[Environment]] = deque()  # of these: without an environment; oldest first
        self.starting = 0  # environments on their way
        self.idle: list[tuple[Environment, float]] = []  # with the time since when; the most recently used last
        self.retired = False  # no longer current: nothing is kept


class InProcessAssignment:
    """Implements `invoke.contract.Assignment` with this node's `workers`."""

    def __init__(
        self,
        workers: Workers,
        clock: Clock,
        limits: Limits,
        idle_limit: float = IDLE_LIMIT,
        age_limit: float = AGE_LIMIT,
    ) -> None:
        self._workers = workers
        self._clock = clock
        self._limits = limits
        self._idle_limit = idle_limit
        self._age_limit = age_limit
        self._pools: dict[_Key, Pool] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # cold starts and endings
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def environment(self, function: FunctionVersion) -> "Hold":
        return Hold(self, function)

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
            self._forget_if_unused(pool)

    async def close(self) -> None:
        """End what is idle and start no more; environments in use end as they come back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for pool in tuple(self._pools.values()):
            self._retire(pool)
            while pool.waiting:
                self._fail_one(pool, WorkerError("the service is shutting down"))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_LIMIT)
            for task in late:
                _log.error("still not done after %.0f s, left behind: %r", _CLOSE_LIMIT, task)

    # What a Hold does

    def admit(self, function: FunctionVersion) -> Pool:
        """Count one more. Raises TooManyRequestsException."""
        if self._closed:
            raise WorkerError("the service is shutting down")
        key = (function.id, function.version, function.generation)
        pool = self._pools.get(key)
        if pool is not None:
            pool.share.admit()
        else:
            share = self._limits.share(function.id)
            share.admit()
            pool = self._pools[key] = Pool(key, function, share)
        pool.admitted += 1
        return pool

    def take_idle(self, pool: Pool) -> Environment | None:
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
            if pool.finishing >= len(pool.waiting):
                loop.call_later(_HESITATE, self._start_missing, pool)
            else:
                self._start_missing(pool)
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

    def give_back(self, pool: Pool, environment: Environment) -> None:
        if environment.busy:
            pool.finishing += 1
            environment.when_free(partial(self._finished, pool, environment))
        else:
            self._release(pool)
            self._keep(pool, environment)

    def _finished(self, pool: Pool, environment: Environment) -> None:
        pool.finishing -= 1
        self._release(pool)
        self._keep(pool, environment)

    def _release(self, pool: Pool) -> None:
        pool.admitted -= 1
        pool.share.release()

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
        while pool.starting < len(pool.waiting):
            pool.starting += 1
            self._own(self._start(pool))

    async def _start(self, pool: Pool) -> None:
        try:
            environment = await self._workers.start(pool.function)
        except Exception as error:  # whatever it is, it must reach the invocation, which would else wait for ever
            pool.starting -= 1
            if len(pool.waiting) > pool.starting:
                self._fail_one(pool, error)
            self._forget_if_unused(pool)
        else:
            pool.starting -= 1
            self._keep(pool, environment)

    def _fail_one(self, pool: Pool, error: Exception) -> None:
        while pool.waiting:
            waiter = pool.waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)
                return

    # Housekeeping

    def _retire(self, pool: Pool) -> None:
        pool.retired = True
        while pool.idle:
            self._end(pool.idle.pop()[0])
        self._forget_if_unused(pool)

    def _forget_if_unused(self, pool: Pool) -> None:
        if not (pool.admitted or pool.idle or pool.starting):
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

    __slots__ = ("_assignment", "_environment", "_function", "_pool")

    _pool: Pool
    _environment: Environment

    def __init__(self, assignment: InProcessAssignment, function: FunctionVersion) -> None:
        self._assignment = assignment
        self._function = function

    async def __aenter__(self) -> Environment:
        assignment = self._assignment
        pool = self._pool = assignment.admit(self._function)
        environment = assignment.take_idle(pool)
        if environment is None:
            try:
                environment = await assignment.wait(pool)
            except BaseException:
                assignment.leave(pool)
                raise
        self._environment = environment
        return environment

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._assignment.give_back(self._pool, self._environment)
