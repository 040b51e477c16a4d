"""Figures: several values of one thing, what they are compared with, and whether that keeps the promise."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Literal, TypeVar

Number = TypeVar("Number", int, float)


def percentile(values: Sequence[Number], share: float) -> Number:
    """The smallest value that at least this share (0 < share ≤ 1) of all are not above: always one of them."""
    return sorted(values)[max(ceil(share * len(values)), 1) - 1]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what it lies between."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Limit:
    """`of`: the value itself, or its ratio to the base."""

    sense: Literal["≤", "≥"]
    number: float
    of: Literal["value", "ratio"]

    def holds(self, number: float) -> bool:
        return number <= self.number if self.sense == "≤" else number >= self.number


def at_most(number: float) -> Limit:
    return Limit("≤", number, "value")


def at_least(number: float) -> Limit:
    return Limit("≥", number, "value")


def ratio_at_most(number: float) -> Limit:
    return Limit("≤", number, "ratio")


def ratio_at_least(number: float) -> Limit:
    return Limit("≥", number, "ratio")


@dataclass(frozen=True, slots=True)
class Figure:
    """What a row of the table is about. `promise`: what is kept today; `goal`: where we want to be."""

    name: str
    unit: str
    promise: Limit | None = None
    goal: Limit | None = None


@dataclass(frozen=True, slots=True)
class Samples:
    """One value for each round, of ours and of what it is compared with. `missing`: why there is none of ours."""

    ours: tuple[float, ...] = ()
    base: tuple[float, ...] = ()
    missing: str = ""

    @property
    def ratio(self) -> Spread | None:
        """Of the medians; its spread is that of the rounds, each compared with the base in the same round."""
        if not self.ours or not self.base:
            return None
        rounds = Spread.of([ours / base for ours, base in zip(self.ours, self.base, strict=True)])
        return Spread(median(self.ours) / median(self.base), rounds.low, rounds.high)


Verdict = Literal["goal", "promise", "missed", "—"]


def verdict(figure: Figure, samples: Samples) -> Verdict:
    """The best of goal and promise that is kept; a dash if there is neither, or nothing to judge."""
    limits = [(name, limit) for name, limit in (("goal", figure.goal), ("promise", figure.promise)) if limit]
    ratio = samples.ratio
    if not limits or not samples.ours:
        return "—"
    for name, limit in limits:
        number = median(samples.ours) if limit.of == "value" else ratio.median if ratio else None
        if number is not None and limit.holds(number):
            return "goal" if name == "goal" else "promise"
    return "missed"
