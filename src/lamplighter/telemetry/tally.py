"""Counts plain invocations as they end, and tells who observes of many at once: bills and metrics are sums.

An invocation that nothing sets apart from the one before costs a number in an array; kept one by one until the next
write, tuples of some twenty members, they would cost several times what it takes to make them, in memory that is no
longer in the processor's caches. Whoever writes or shows what was counted calls `settle` first.
"""

from collections.abc import Sequence
from typing import Final

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.metering import FIRST_CHUNK
from lamplighter.model.usage import Observe, Ran, Runs, Usage

AT_ONCE: Final = 256  # invocations that are told of together
BOUND: Final = 1024  # kinds of them that wait
MINUTE: Final = 60  # seconds


class Tally:
    """`observe` and `count` take note; `observers` are told of everything, of plain invocations as Runs."""

    def __init__(self, *observers: Observe) -> None:
        self._observers = observers
        self._open: dict[tuple[int, str, str], Runs] = {}  # by identity of the version, name and initialization

    def observe(self, usage: Usage) -> None:
        if not (type(usage) is Ran and _plain(usage) and self._counted(usage)):
            self._tell(usage)

    def _counted(self, ran: Ran) -> bool:
        arn, ended = ran.invoked_arn, ran.began + ran.duration / 1000
        errors = int(ran.status != "success")
        durations = (ran.duration,)
        return self.count(ran.function, arn, ran.initialization, ran.began, ended, durations, ran.memory_peak, errors)

    def count(
        self,
        function: FunctionVersion,
        invoked_arn: str,
        initialization: str,
        began: float,
        ended: float,
        durations: Sequence[float],
        memory_peak: int | None,
        errors: int,
    ) -> bool:
        """As model.usage.Count."""
        key = id(function), invoked_arn, initialization
        runs = self._open.get(key)
        if runs is None or not runs.began <= began <= ended < runs.began + MINUTE:
            minute = began // MINUTE * MINUTE
            if not began <= ended < minute + MINUTE:
                return False
            runs = self._begin(key, function, minute)
        runs.durations.extend(durations)
        runs.memory_peak = memory_peak
        runs.errors += errors
        if len(runs.durations) >= AT_ONCE:
            del self._open[key]
            self._tell(runs)
        return True

    def settle(self) -> None:
        """Whatever has ended is told now."""
        waiting, self._open = self._open, {}
        for runs in waiting.values():
            self._tell(runs)

    def _begin(self, key: tuple[int, str, str], function: FunctionVersion, minute: float) -> Runs:
        # A version is held as long as its runs are: no longer than to the next minute of anything that runs.
        if len(self._open) >= BOUND or any(runs.began != minute for runs in self._open.values()):
            self.settle()
        _, invoked_arn, initialization = key
        runs = self._open[key] = Runs(function, invoked_arn, initialization, minute)
        return runs

    def _tell(self, usage: Usage) -> None:
        for observe in self._observers:
            observe(usage)


def _plain(usage: Ran) -> bool:
    """Whether its name, its duration and how it ended are all that anybody counts of it."""
    return (
        usage.init is None
        and usage.restore is None
        and usage.above is None
        and not usage.extensions
        and not usage.streamed
        and (usage.source == "sync" or usage.payload <= FIRST_CHUNK)
    )
