"""Provisioned concurrency of one version: environments initialised before there is an invocation for them, and replaced
when they are gone, failed or grow old (AWS: spec 4.3).

One that an invocation crashed in is replaced, so that no invocation here waits for an init. What an init can't do is
tried again, after a time that doubles. The environments never serve invocations that wait for one on demand: those are
counted elsewhere.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lamplighter.invoke.limits import REQUESTS
from lamplighter.invoke.rates import Bucket
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Peak
from lamplighter.worker.contract import Environment, WorkerError, Workers

AT_ONCE: Final = 4  # environments started ahead at a time; those that invocations wait for are started beside them
_LONGEST_PAUSE: Final = 300.0  # seconds between attempts
_ROLL: Final = 300.0  # seconds before they are too old in which environments are replaced, a twentieth at a time
_ROLL_SHARE: Final = 20
INIT_FAILED: Final = "FUNCTION_ERROR_INIT_FAILURE"
NOT_STARTED: Final = "INTERNAL_ERROR"  # ours: AWS's word for a lack of room is not known

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far it is. `ready`: environments initialised, in use or not. `failed`: why there can't be more."""

    ready: int = 0
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Means:
    """What all of them need. `own` runs to its end; `changed`: whatever was in use may not be so any more."""

    workers: Workers
    clock: Clock
    age_limit: float  # seconds
    gate: asyncio.Semaphore
    own: Callable[[Coroutine[Any, Any, None]], None]
    has_room: Callable[[], bool]


class Ahead:
    def __init__(self, function: FunctionVersion, means: Means, changed: Callable[[], None]) -> None:
        self._function = function
        self._means = means
        self._changed = changed
        self.wanted = 0
        self.qualifier = ""  # that it is provisioned for
        self.peak = 0  # in use at once, since it was last asked for
        self._idle: list[Environment] = []  # the most recently used last
        self._out = 0  # in use
        self._starting = 0
        self._initializing: set[Environment] = set()  # of these
        self._extra = 0  # that are to replace old ones
        self._requests = Bucket()
        self._failed: str | None = None
        self._failures = 0  # in a row
        self._again: asyncio.TimerHandle | None = None

    @property
    def unused(self) -> bool:
        return not (self.wanted or self._idle or self._out or self._starting)

    def standing(self) -> Standing:
        self.tidy()
        ready = len(self._idle) + self._out
        return Standing(ready, self._failed if ready < self.wanted else None)

    def peaks(self) -> Sequence[Peak]:
        """The most in use at once since the last time this was asked, and their share of what is provisioned."""
        used, self.peak = self.peak, self._out
        if not self.wanted or not self.qualifier:
            return ()
        id = self._function.id
        told = {
            "ProvisionedConcurrentExecutions": used,
            "ProvisionedConcurrencyUtilization": used / self.wanted,
        }
        return [Peak(id.account, id.region, id.name, name, value, self.qualifier) for name, value in told.items()]

    def want(self, count: int, qualifier: str = "") -> None:
        """From now on so many, for this alias or version; what failed is tried again at once."""
        self.qualifier = qualifier
        self.wanted = count
        self._failures = 0
        if self._again is not None:
            self._try_again()
        if not count:
            self._extra = 0
            for environment in self._initializing:
                self._end(environment)
        self._level()

    # What an invocation does

    def available(self, now: float | None) -> bool:
        """Whether one is free. `now`: on the clock's monotonic time, if the rate of requests matters."""
        while self._idle:
            environment = self._idle[-1]
            if environment.warm and not self._too_old(environment):
                rate = REQUESTS * (len(self._idle) + self._out)
                return now is None or self._requests.has(now, rate, rate)
            self._idle.pop()
            self._end(environment)
            self._level()
        return False

    def take(self, now: float | None) -> Environment:
        """The most recently used one, as `available` said."""
        self._out += 1
        if self._out > self.peak:
            self.peak = self._out
        environment = self._idle.pop()
        if now is not None:
            rate = REQUESTS * (len(self._idle) + self._out)
            self._requests.take(now, rate, rate)
        return environment

    def give_back(self, environment: Environment) -> None:
        self._out -= 1
        if environment.warm and not self._too_old(environment):
            self._idle.append(environment)
        else:
            self._end(environment)
        self._level()

    # Housekeeping

    def tidy(self) -> None:
        """Replace what died idle, and begin to replace what will soon be too old."""
        idle, self._idle = self._idle, []
        for environment in idle:
            if environment.warm and not self._too_old(environment):
                self._idle.append(environment)
            else:
                self._end(environment)
        limit = self._means.age_limit
        soon = self._means.clock.monotonic() - limit + min(_ROLL, limit / 4)
        old = sum(environment.born < soon for environment in self._idle)
        if old and not self._extra and self._failed is None:
            self._extra = min(old, max(1, self.wanted // _ROLL_SHARE))
        self._level()

    def _too_old(self, environment: Environment) -> bool:
        return self._means.clock.monotonic() - environment.born >= self._means.age_limit

    def _level(self) -> None:
        """As many as are wanted."""
        most = self.wanted + self._extra
        while self._idle and len(self._idle) + self._out > self.wanted:
            oldest = min(self._idle, key=lambda environment: environment.born)
            self._idle.remove(oldest)
            self._end(oldest)
        if self._again is None:
            while len(self._idle) + self._out + self._starting < most:
                self._starting += 1
                self._means.own(self._start())

    async def _start(self) -> None:
        try:
            failed = await self._make()
        except Exception as error:  # whatever it is: none of it must end the attempts
            _log.error("%s: provisioned concurrency could not be started: %s", self._function.arn, error)
            failed = NOT_STARTED
        self._starting -= 1
        if failed is None:
            self._failures, self._failed = 0, None
        elif self.wanted:
            self._fail(failed)
        self._level()
        self._changed()

    async def _make(self) -> str | None:
        """One more, or why there is none."""
        async with self._means.gate:
            if len(self._idle) + self._out + self._starting > self.wanted + self._extra:
                return None  # no longer needed
            if not self._means.has_room():
                raise WorkerError("the host's memory is short")
            environment = await self._means.workers.start(self._function, "provisioned-concurrency")
        self._initializing.add(environment)
        try:
            went_well = self.wanted > 0 and await environment.initialized()
        finally:
            self._initializing.discard(environment)
        if not went_well:
            self._end(environment)
            return INIT_FAILED
        self._idle.append(environment)
        self._extra = max(0, self._extra - 1)
        return None

    def _fail(self, reason: str) -> None:
        self._failed = reason
        self._extra = 0
        if self._again is None:
            self._failures += 1
            pause = min(_LONGEST_PAUSE, 2.0**self._failures)
            self._again = asyncio.get_running_loop().call_later(pause, self._try_again)

    def _try_again(self) -> None:
        assert self._again is not None
        self._again.cancel()
        self._again = None
        self._level()

    def _end(self, environment: Environment) -> None:
        self._means.own(environment.end())
