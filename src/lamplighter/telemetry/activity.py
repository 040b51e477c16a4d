"""What functions do at this time, for whoever watches: counts since the service's start, of which watchers take
differences (`lamplighter top`, Prometheus).

Durations are counted in steps of a quarter of a power of two, which tells a percentile to within a quarter of itself.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from lamplighter.model.functions import FunctionId
from lamplighter.model.usage import Ran, Refused, Runs, Usage

BOUND: Final = 10_000  # functions; the one that came first is forgotten
_FINE: Final = 16  # parts of a millisecond that are told apart
_STEPS: Final = 128


class Counts:
    """Of one function, all versions together."""

    __slots__ = (
        "ages",
        "cold",
        "errors",
        "invocations",
        "measured",
        "memory_peak",
        "memory_size",
        "recursive",
        "seconds_of_age",
        "steps",
        "throttles",
        "time",
    )

    def __init__(self) -> None:
        self.invocations = 0
        self.errors = 0
        self.throttles = 0
        self.recursive = 0  # invocations refused to end a loop
        self.time = 0.0  # milliseconds of all invocations
        self.cold = 0  # invocations whose environment had to be made
        self.memory_peak: int | None = None  # bytes, of the environment that ran last
        self.memory_size: int | None = None  # MB
        self.steps = [0] * _STEPS  # invocations by duration
        self.measured: dict[str, float] = {}  # of events, by the name of the metric
        self.ages: list[int] | None = None  # attempts to run events, by the event's age, as durations are
        self.seconds_of_age = 0.0

    def durations(self) -> Mapping[int, int]:
        """Invocations by step, of those that had any."""
        return {step: count for step, count in enumerate(self.steps) if count}


class Activity:
    """`settle`: has all told that is not told yet."""

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self.settle: Callable[[], object] = tuple
        self._functions: dict[FunctionId, Counts] = {}

    @property
    def functions(self) -> Mapping[FunctionId, Counts]:
        self.settle()
        return self._functions

    def observe(self, usage: Usage) -> None:
        if type(usage) is Ran:
            function = usage.function
            counts = self._functions.get(function.id) or self._begin(function.id)
            counts.invocations += 1
            counts.steps[step_of(usage.duration)] += 1
            counts.time += usage.duration
            counts.memory_peak, counts.memory_size = usage.memory_peak, function.memory_size
            if usage.status != "success":
                counts.errors += 1
            if usage.init is not None or usage.restore is not None:
                counts.cold += 1
        elif type(usage) is Runs:
            function = usage.function
            counts = self._functions.get(function.id) or self._begin(function.id)
            counts.invocations += len(usage.durations)
            for parts, count in Counter([int(duration * _FINE) for duration in usage.durations]).items():
                counts.steps[_step_of(parts)] += count
            counts.time += sum(usage.durations)
            counts.memory_peak, counts.memory_size = usage.memory_peak, function.memory_size
            counts.errors += usage.errors
        elif type(usage) is Refused:
            counts = self._functions.get(usage.function) or self._begin(usage.function)
            if usage.reason == "throttled":
                counts.throttles += 1
            else:
                counts.recursive += 1

    def measure(self, name: str, function: FunctionId, value: float, arn: str) -> None:
        """events.contract.Measure; counted by function alone."""
        counts = self._functions.get(function) or self._begin(function)
        if name == "AsyncEventAge":
            if counts.ages is None:
                counts.ages = [0] * _STEPS
            counts.ages[step_of(value)] += 1
            counts.seconds_of_age += value / 1000
        else:
            counts.measured[name] = counts.measured.get(name, 0.0) + value

    def forget(self, function: FunctionId) -> None:
        """It is deleted."""
        self._functions.pop(function, None)

    def _begin(self, id: FunctionId) -> Counts:
        if len(self._functions) >= self._bound:
            del self._functions[next(iter(self._functions))]
        counts = self._functions[id] = Counts()
        return counts


def step_of(milliseconds: float) -> int:
    return _step_of(int(milliseconds * _FINE))


def _step_of(parts: int) -> int:
    """`parts`: of a millisecond."""
    parts += 4
    bits = parts.bit_length()
    return min(_STEPS - 1, (bits - 3) * 4 + (parts >> (bits - 3)) - 4)


def end_of(step: int) -> float:
    """Milliseconds where a step ends."""
    power, quarter = divmod(step, 4)
    return (((4 + quarter + 1) << power) - 4) / _FINE


def percentile(counts: Iterable[tuple[int, int]], share: float) -> float | None:
    """Milliseconds that this share of the invocations by step stayed below; None: there are none."""
    found = sorted(counts)
    left = share * sum(count for _, count in found)
    for step, count in found:
        left -= count
        if count and left <= 0:
            return end_of(step)
    return None
