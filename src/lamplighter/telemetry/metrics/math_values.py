"""What metric math does with values: numbers, series and arrays of series, point by point.

No combination of values fails for what is in them: where there is no number (a division by zero, a logarithm of
nothing, a sum of no values), nothing is shown. Only kinds of values that do not go together are refused.
"""

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, cast

Points = dict[int, float]  # by time, seconds since the epoch
Value = float | Points | list[Points]

_TRUTHS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "&&": lambda left, right: left != 0 and right != 0,
    "||": lambda left, right: left != 0 or right != 0,
}
_OPERATIONS: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "^": math.pow,
    **_TRUTHS,
}
FOLDS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
EACH: Final[Mapping[str, Callable[[float], float]]] = {
    "ABS": abs,
    "CEIL": math.ceil,
    "FLOOR": math.floor,
    "LOG": math.log,
    "LOG10": math.log10,
}
TIMES: Final[Mapping[str, Callable[[datetime], float]]] = {  # of a point, in UTC
    "EPOCH": datetime.timestamp,
    "MINUTE": lambda time: time.minute,
    "HOUR": lambda time: time.hour,
    "DAY": datetime.isoweekday,
    "DATE": lambda time: time.day,
    "MONTH": lambda time: time.month,
    "YEAR": lambda time: time.year,
}


class MathError(Exception):
    """The text says what is wrong with the expression."""


def series_of(value: Value) -> list[Points]:
    if isinstance(value, int | float):
        raise MathError("a series is needed in place of a number")
    return value if isinstance(value, list) else [value]


def on_series(change: Callable[[Points], Points], value: Value) -> Value:
    if isinstance(value, int | float):
        raise MathError("a series is needed in place of a number")
    return [change(each) for each in value] if isinstance(value, list) else change(value)


def _computed(change: Callable[..., float], *given: float) -> float | None:
    """None where there is no such number."""
    try:
        found = float(change(*given))
    except (ArithmeticError, ValueError):
        return None
    return found if math.isfinite(found) else None


def combined(operation: str, left: Value, right: Value) -> Value:
    if isinstance(left, int | float) and isinstance(right, int | float):
        found = _computed(_OPERATIONS[operation], left, right)
        return {} if found is None else found
    if isinstance(left, list) or isinstance(right, list):
        if isinstance(left, list) and isinstance(right, list):
            raise MathError("two arrays cannot be combined")
        if isinstance(left, list):
            return [cast(Points, combined(operation, each, right)) for each in left]
        return [cast(Points, combined(operation, left, each)) for each in cast(list[Points], right)]
    times = left.keys() if isinstance(left, dict) else cast(Points, right).keys()
    if isinstance(left, dict) and isinstance(right, dict):
        times = left.keys() & right.keys()
    pairs = (
        (time, left[time] if isinstance(left, dict) else left, right[time] if isinstance(right, dict) else right)
        for time in times
    )
    operate = _OPERATIONS[operation]
    computed = ((time, _computed(operate, cast(float, a), cast(float, b))) for time, a, b in pairs)
    return {time: found for time, found in computed if found is not None}


def folded(fold: Callable[[Sequence[float]], float], value: Value) -> Value:
    """Of a series: a number; of an array: a series, over what there is at each time."""
    if isinstance(value, list):
        times = sorted({time for each in value for time in each})
        return {time: fold([each[time] for each in value if time in each]) for time in times}
    if isinstance(value, int | float):
        return value
    return float(fold(list(value.values()))) if value else {}


def each_of(change: Callable[[float], float], value: Value) -> Value:
    if isinstance(value, int | float):
        found = _computed(change, value)
        return {} if found is None else found

    def changed(points: Points) -> Points:
        computed = ((time, _computed(change, point)) for time, point in points.items())
        return {time: found for time, found in computed if found is not None}

    return on_series(changed, value)


def times_of(part: Callable[[datetime], float], value: Value) -> Value:
    """Of each point the part of its time."""
    return on_series(lambda points: {time: float(part(datetime.fromtimestamp(time, UTC))) for time in points}, value)


def chosen(condition: Value, then: Value, otherwise: Value) -> Value:
    """IF: at each time at which the condition has a value, what belongs to it, if that has one there."""
    if isinstance(condition, int | float):
        return then if condition != 0 else otherwise
    if isinstance(condition, list) or isinstance(then, list) or isinstance(otherwise, list):
        raise MathError("IF takes no arrays")
    found: Points = {}
    for time, holds in condition.items():
        value = then if holds != 0 else otherwise
        if isinstance(value, int | float):
            found[time] = value
        elif time in value:
            found[time] = value[time]
    return found


def _rate(points: Points) -> Points:
    return {now: (points[now] - points[before]) / (now - before) for before, now in _pairs(points)}


def _difference(points: Points) -> Points:
    return {now: points[now] - points[before] for before, now in _pairs(points)}


def _time_between(points: Points) -> Points:
    return {now: float(now - before) for before, now in _pairs(points)}


def _running_sum(points: Points) -> Points:
    times = sorted(points)
    return dict(zip(times, itertools.accumulate(points[time] for time in times), strict=True))


def _pairs(points: Points) -> "itertools.pairwise[tuple[int, int]]":
    return itertools.pairwise(sorted(points))


SERIES: Final[Mapping[str, Callable[[Points], Points]]] = {
    "RATE": _rate,
    "DIFF": _difference,
    "DIFF_TIME": _time_between,
    "RUNNING_SUM": _running_sum,
}


def filled(points: Points, times: Sequence[int], repeats: bool) -> Points:
    found = dict(points)
    known = sorted(points)
    for before, after in zip(known, [*known[1:], None], strict=True):
        for time in times:
            if time > before and (after is None or time < after):
                if repeats:
                    found[time] = points[before]
                elif after is not None:
                    found[time] = points[before] + (points[after] - points[before]) * (time - before) / (after - before)
    return found
