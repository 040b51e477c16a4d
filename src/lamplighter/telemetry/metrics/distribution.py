"""What is kept of one metric's values in one minute: count, sum, minimum and maximum exactly, the values for
percentiles to within 1 %.

Few different values are kept as they are. More are counted by buckets whose bounds grow by 2 %, each under the one
value in it that no other is further from than 1 %; so a distribution never grows beyond what doubles can differ in.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

EXACT: Final = 64  # different values that are kept as they are
_GROWTH: Final = 1.01 / 0.99
_LOG: Final = math.log(_GROWTH)
_MIDDLE: Final = 2 / (1 + _GROWTH)


def rounded(value: float) -> float:
    """The value that stands for all in its bucket."""
    if value <= 0.0:
        return value if value == 0.0 else -rounded(-value)
    return _value_of(math.ceil(math.log(value) / _LOG - 1e-9))


def _value_of(bucket: int) -> float:
    return math.exp(bucket * _LOG) * _MIDDLE


class Distribution:
    """`whole`: every value is known, so that percentiles can be told; false after a statistic set."""

    __slots__ = ("_rounds", "count", "maximum", "minimum", "total", "values", "whole")

    def __init__(self) -> None:
        self.count = 0.0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = -math.inf
        self.values: dict[float, float] = {}  # how often each
        self.whole = True
        self._rounds = False

    def add(self, value: float, count: float = 1.0) -> None:
        self.count += count
        self.total += value * count
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        self._keep(value, count)

    def add_all(self, values: Sequence[float]) -> None:
        """At least one. Those that fall together are counted together: they are many, of few different values."""
        self.count += len(values)
        self.total += sum(values)
        self.minimum = min(self.minimum, *values)
        self.maximum = max(self.maximum, *values)
        different = Counter(values)
        if len(different) > EXACT and self.minimum > 0.0:
            if not self._rounds:
                self._round()
            logarithm, ceil = math.log, math.ceil
            buckets = Counter([ceil(logarithm(value) / _LOG - 1e-9) for value in values])
            for bucket, count in buckets.items():
                value = _value_of(bucket)
                self.values[value] = self.values.get(value, 0.0) + count
        else:
            for value, count in different.items():
                self._keep(value, float(count))

    def add_set(self, count: float, total: float, minimum: float, maximum: float) -> None:
        """A statistic set: of its values nothing is known, unless they are all the same."""
        if minimum == maximum:
            self._keep(minimum, count)
        else:
            self.whole = False
        self.count += count
        self.total += total
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)

    def merge(self, other: "Distribution") -> None:
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.whole = self.whole and other.whole
        for value, count in other.values.items():
            self._keep(value, count)

    def _keep(self, value: float, count: float) -> None:
        if self._rounds:
            value = rounded(value)
        self.values[value] = self.values.get(value, 0.0) + count
        if not self._rounds and len(self.values) > EXACT:
            self._round()

    def _round(self) -> None:
        self._rounds = True
        before, self.values = self.values, {}
        for value, count in before.items():
            self._keep(value, count)

    def percentile(self, share: float) -> float | None:
        """The value that `share` (0 to 1) of all are not above. None: it can't be told."""
        if not self.whole or not self.values or self.minimum < 0:
            return None
        left = share * sum(self.values.values())
        for value in sorted(self.values):
            left -= self.values[value]
            if left <= 1e-9:
                return min(max(value, self.minimum), self.maximum)
        return self.maximum

    def restore(self, whole: bool, rounds: bool, values: dict[float, float]) -> None:
        self.whole, self._rounds, self.values = whole, rounds, values

    def packed(self) -> str:
        return json.dumps([self.whole, self._rounds, *(part for pair in self.values.items() for part in pair)])


def unpacked(count: float, total: float, minimum: float, maximum: float, packed: str) -> Distribution:
    found = Distribution()
    found.count, found.total, found.minimum, found.maximum = count, total, minimum, maximum
    whole, rounds, *pairs = json.loads(packed)
    found.restore(whole, rounds, dict(zip(pairs[::2], pairs[1::2], strict=True)))
    return found


def merged(distributions: Iterable[Distribution]) -> Distribution:
    found = Distribution()
    for each in distributions:
        found.merge(each)
    return found


def statistic(distribution: Distribution, name: str) -> float | None:
    """`name`: as CloudWatch has them: Sum, Average, Minimum, Maximum, SampleCount, p99.9. None: it can't be told."""
    if name == "Sum":
        return distribution.total
    if name == "SampleCount":
        return distribution.count
    if name == "Minimum":
        return distribution.minimum
    if name == "Maximum":
        return distribution.maximum
    if name == "Average":
        return distribution.total / distribution.count if distribution.count else None
    return distribution.percentile(float(name[1:]) / 100)


STATISTICS: Final[Sequence[str]] = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
