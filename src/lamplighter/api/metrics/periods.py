"""Values of minutes as values of longer periods, counted from the epoch; and what a statistic may be called."""

import re
from collections.abc import Iterable
from typing import Final

from lamplighter.telemetry.metrics.distribution import STATISTICS, Distribution
from lamplighter.telemetry.metrics.errors import InvalidParameterValueException
from lamplighter.telemetry.metrics.store import MINUTE

_PERCENTILE: Final = re.compile(r"p(100|\d{1,2}(\.\d{1,10})?)", re.ASCII)


def check_period(period: int) -> None:
    if period < 1 or (period % MINUTE and period not in (1, 5, 10, 20, 30)):
        raise InvalidParameterValueException(f"The parameter Period must be a multiple of {MINUTE}.")


def check_statistic(name: str) -> None:
    if name not in STATISTICS and not is_percentile(name):
        raise InvalidParameterValueException(f"The value {name} for parameter Stat is not supported.")


def is_percentile(name: str) -> bool:
    return _PERCENTILE.fullmatch(name) is not None


def by_period(points: Iterable[tuple[int, str, Distribution]], period: int) -> dict[tuple[int, str], Distribution]:
    """By the period's begin and the unit."""
    found: dict[tuple[int, str], Distribution] = {}
    for minute, unit, distribution in points:
        found.setdefault((minute // period * period, unit), Distribution()).merge(distribution)
    return found
