"""Metric math: expressions over what the other queries of a request found.

Numbers, + - * / ^, parentheses, ids, METRICS(), and SUM, AVG, MIN, MAX, FILL, RATE, ABS, CEIL, FLOOR, PERIOD. A value
is a number, a series or an array of series. Parsed and computed in one pass; what is nested too deep is refused.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

Points = dict[int, float]  # by time, seconds since the epoch
Value = float | Points | list[Points]

_TOKEN: Final = re.compile(r"\s*(\d+(\.\d*)?([eE][+-]?\d{1,3})?|[A-Za-z][A-Za-z0-9_]*|[-+*/^(),\[\]])", re.ASCII)
_DEEPEST: Final = 50
_OPERATIONS: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "^": math.pow,
}
_FOLDS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_EACH: Final[Mapping[str, Callable[[float], float]]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}


class MathError(Exception):
    """The text says what is wrong with the expression."""


class Expression:
    """`metrics`: those of MetricStat queries. `find`: the value of an id, or None. `times`: every period's begin.
    `spend`: told of how many points will be gone over at most; may raise MathError."""

    def __init__(
        self,
        text: str,
        find: Callable[[str], Value | None],
        metrics: Sequence[Points],
        times: Sequence[int],
        period: int,
        spend: Callable[[int], None] = lambda points: None,
    ) -> None:
        self._spend = spend
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._find = find
        self._metrics = metrics
        self._times = times
        self._period = period

    def value(self) -> Value:
        """Raises MathError."""
        found = self._sum()
        if self._at < len(self._tokens):
            raise MathError(f"unexpected '{self._tokens[self._at]}'")
        return found

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if not token or (wanted and token not in wanted):
            raise MathError(f"unexpected '{token}'" if token else "unexpected end")
        self._at += 1
        return token

    def _sum(self) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise MathError("nested too deep")
        left = self._product()
        while self._peek() in ("+", "-"):
            left = _combine(self._take(), left, self._product())
        self._depth -= 1
        return left

    def _product(self) -> Value:
        left = self._power()
        while self._peek() in ("*", "/"):
            left = _combine(self._take(), left, self._power())
        return left

    def _power(self) -> Value:
        left = self._atom()
        while self._peek() == "^":
            left = _combine(self._take(), left, self._atom())
        return left

    def _atom(self) -> Value:
        sign = 1.0
        while self._peek() in ("-", "+"):
            sign = -sign if self._take() == "-" else sign
        found = self._unsigned()
        return found if sign > 0 else _combine("*", found, -1.0)

    def _unsigned(self) -> Value:
        token = self._take()
        if token == "(":
            found = self._sum()
            self._take(")")
            return found
        if token == "[":
            return self._array()
        if token[0].isdigit():
            return float(token)
        if not token[0].isalpha():
            raise MathError(f"unexpected '{token}'")
        if self._peek() == "(":
            return self._call(token)
        found = self._find(token)
        if found is None:
            raise MathError(f"there is no query with the id '{token}'")
        self._charge(found)
        return found

    def _charge(self, value: Value) -> None:
        """No operation makes more of it, and there are no more operations than tokens."""
        if not isinstance(value, int | float):
            series = value if isinstance(value, list) else [value]
            self._spend(len(self._tokens) * sum(map(len, series)))

    def _array(self) -> list[Points]:
        found: list[Points] = []
        while True:
            found += _series(self._sum())
            if self._take(",", "]") == "]":
                return found

    def _call(self, name: str) -> Value:
        self._take("(")
        if name == "METRICS":
            self._take(")")
            self._charge(list(self._metrics))
            return list(self._metrics)
        first = self._sum()
        if name == "FILL":
            self._take(",")
            return self._fill(first)
        self._take(")")
        if name in _FOLDS:
            return _folded(_FOLDS[name], first)
        if name in _EACH:
            return _each(_EACH[name], first)
        if name == "RATE":
            return _on_series(_rate, first)
        if name == "PERIOD":
            return float(self._period)
        raise MathError(f"there is no function '{name}'")

    def _fill(self, given: Value) -> Value:
        self._spend(len(self._tokens) * len(self._times) * (len(given) if isinstance(given, list) else 1))
        if self._peek() in ("REPEAT", "LINEAR"):
            repeats = self._take() == "REPEAT"
            self._take(")")
            return _on_series(lambda points: _filled(points, self._times, repeats), given)
        filler = self._sum()
        self._take(")")
        if not isinstance(filler, int | float):
            raise MathError("FILL takes a number, REPEAT or LINEAR")
        return _on_series(lambda points: {time: points.get(time, filler) for time in self._times}, given)


def _tokens(text: str) -> Sequence[str]:
    found: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise MathError(f"unexpected '{text[at]}'")
        found.append(match[0].strip())
        at = match.end()
    return found


def _series(value: Value) -> list[Points]:
    if isinstance(value, int | float):
        raise MathError("a series is needed in place of a number")
    return value if isinstance(value, list) else [value]


def _on_series(change: Callable[[Points], Points], value: Value) -> Value:
    if isinstance(value, int | float):
        raise MathError("a series is needed in place of a number")
    return [change(each) for each in value] if isinstance(value, list) else change(value)


def _computed(operation: str, left: float, right: float) -> float | None:
    """None where there is no such number: nothing is shown then."""
    try:
        found = _OPERATIONS[operation](left, right)
    except (ArithmeticError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _combine(operation: str, left: Value, right: Value) -> Value:
    if isinstance(left, int | float) and isinstance(right, int | float):
        found = _computed(operation, left, right)
        if found is None:
            raise MathError("a division by zero, or a number too large")
        return found
    if isinstance(left, list) or isinstance(right, list):
        if isinstance(left, list) and isinstance(right, list):
            raise MathError("two arrays cannot be combined")
        if isinstance(left, list):
            return [cast(Points, _combine(operation, each, right)) for each in left]
        return [cast(Points, _combine(operation, left, each)) for each in cast(list[Points], right)]
    times = left.keys() if isinstance(left, dict) else cast(Points, right).keys()
    if isinstance(left, dict) and isinstance(right, dict):
        times = left.keys() & right.keys()
    pairs = (
        (time, left[time] if isinstance(left, dict) else left, right[time] if isinstance(right, dict) else right)
        for time in times
    )
    computed = ((time, _computed(operation, cast(float, a), cast(float, b))) for time, a, b in pairs)
    return {time: found for time, found in computed if found is not None}


def _folded(fold: Callable[[Sequence[float]], float], value: Value) -> Value:
    """Of a series: a number; of an array: a series, over what there is at each time."""
    if isinstance(value, list):
        times = sorted({time for each in value for time in each})
        return {time: fold([each[time] for each in value if time in each]) for time in times}
    if isinstance(value, int | float):
        return value
    if not value:
        raise MathError("there are no values")
    return float(fold(list(value.values())))


def _each(change: Callable[[float], float], value: Value) -> Value:
    if isinstance(value, int | float):
        return float(change(value))
    return _on_series(lambda points: {time: float(change(each)) for time, each in points.items()}, value)


def _rate(points: Points) -> Points:
    times = sorted(points)
    pairs = itertools.pairwise(times)
    return {now: (points[now] - points[before]) / (now - before) for before, now in pairs}


def _filled(points: Points, times: Sequence[int], repeats: bool) -> Points:
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
