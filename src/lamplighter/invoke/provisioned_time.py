"""How long concurrency is kept ready, as AWS bills it: in whole periods of five minutes, for each version from when it
has any (AWS: spec 10.4). Told at the beginning of a period, and when more is added in the midst of one.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.usage import Observe, Provisioned

PERIOD: Final = 300.0  # seconds


@dataclass(slots=True)
class _Period:
    function: FunctionVersion
    until: float  # seconds since the epoch
    told: int = 0
    kept: int = 0


class ProvisionedTime:
    def __init__(self, clock: Clock, observe: Observe | None) -> None:
        self._clock = clock
        self._observe = observe
        self._periods: dict[tuple[FunctionId, str], _Period] = {}
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, function: FunctionVersion, count: int) -> None:
        """From now on so many are kept ready for this version."""
        if self._observe is None:
            return
        key, now = (function.id, function.version), self._clock.now()
        period = self._periods.get(key)
        if period is None:
            if not count:
                return
            period = self._periods[key] = _Period(function, now + PERIOD)
        period.function, period.kept = function, count
        self._tell(period, now)
        self._wait()

    def turn(self) -> None:
        """Begin the periods that are due. A timer calls it, and tests do."""
        now = self._clock.now()
        for key, period in tuple(self._periods.items()):
            if period.until > now:
                continue
            if not period.kept:
                del self._periods[key]
                continue
            # In step, unless the clock was set, or the machine slept.
            period.until = period.until + PERIOD if period.until + PERIOD > now else now + PERIOD
            period.told = 0
            self._tell(period, period.until - PERIOD)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, period: _Period, now: float) -> None:
        more = period.kept - period.told
        if more > 0 and self._observe is not None:
            period.told = period.kept
            self._observe(Provisioned(period.function, more, now, max(0.0, period.until - now)))

    def _wait(self) -> None:
        if self._timer is None and self._periods:
            due = min(period.until for period in self._periods.values()) - self._clock.now()
            self._timer = asyncio.get_running_loop().call_later(max(0.1, due), self._turn_on_time)

    def _turn_on_time(self) -> None:
        self._timer = None
        self.turn()
        self._wait()
