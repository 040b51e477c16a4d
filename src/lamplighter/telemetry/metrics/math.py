"""Metric math: expressions over what the other queries of a request found.

Numbers, + - * / ^, comparisons, AND and OR, parentheses, ids, METRICS(), IF, FILL, and the functions of math_values. A
value is a number, a series or an array of series. Parsed and computed in one pass; what is nested too deep is refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Never

from lamplighter.telemetry.metrics.math_values import (
    EACH,
    FOLDS,
    SERIES,
    TIMES,
    MathError,
    Points,
    Value,
    chosen,
    combined,
    each_of,
    filled,
    folded,
    on_series,
    series_of,
    times_of,
)

_TOKEN: Final = re.compile(
    r"""\s*(\d+(\.\d*)?([eE][+-]?\d{1,3})?|[A-Za-z][A-Za-z0-9_]*|[<>=!]=|&&|\|\||[-+*/^(),\[\]<>]|"[^"]*"|'[^']*')""",
    re.ASCII,
)
_DEEPEST: Final = 50


def _refuse() -> Never:
    raise MathError("Invalid syntax")


class Expression:
    """`metrics`: those of MetricStat queries, by id. `find`: the value of an id, or None. `times`: every period's
    begin. `spend`: told of how many points will be gone over at most; may raise MathError."""

    def __init__(
        self,
        text: str,
        find: Callable[[str], Value | None],
        metrics: Mapping[str, Points],
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
        found = self._any()
        return found if self._at == len(self._tokens) else _refuse()

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if not token or (wanted and token not in wanted):
            _refuse()
        self._at += 1
        return token

    def _any(self) -> Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise MathError("nested too deep")
        left = self._all()
        while self._peek() in ("OR", "||"):
            self._take()
            left = combined("||", left, self._all())
        self._depth -= 1
        return left

    def _all(self) -> Value:
        left = self._compared()
        while self._peek() in ("AND", "&&"):
            self._take()
            left = combined("&&", left, self._compared())
        return left

    def _compared(self) -> Value:
        left = self._sum()
        while self._peek() in ("<", "<=", ">", ">=", "==", "!="):
            left = combined(self._take(), left, self._sum())
        return left

    def _sum(self) -> Value:
        left = self._product()
        while self._peek() in ("+", "-"):
            left = combined(self._take(), left, self._product())
        return left

    def _product(self) -> Value:
        left = self._power()
        while self._peek() in ("*", "/"):
            left = combined(self._take(), left, self._power())
        return left

    def _power(self) -> Value:
        left = self._atom()
        while self._peek() == "^":
            left = combined(self._take(), left, self._atom())
        return left

    def _atom(self) -> Value:
        sign = 1.0
        while self._peek() in ("-", "+"):
            sign = -sign if self._take() == "-" else sign
        found = self._unsigned()
        return found if sign > 0 else combined("*", found, -1.0)

    def _unsigned(self) -> Value:
        token = self._take()
        if token == "(":
            found = self._any()
            self._take(")")
            return found
        if token == "[":
            return self._array()
        if token[0].isdigit():
            return float(token)
        if not token[0].isalpha():
            _refuse()
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
            found += series_of(self._any())
            if self._take(",", "]") == "]":
                return found

    def _call(self, name: str) -> Value:
        self._take("(")
        if name == "METRICS":
            return self._named()
        first = self._any()
        if name == "FILL":
            self._take(",")
            return self._fill(first)
        if name == "IF":
            return self._if(first)
        self._take(")")
        if name in FOLDS:
            return folded(FOLDS[name], first)
        if name in EACH:
            return each_of(EACH[name], first)
        if name in SERIES:
            return on_series(SERIES[name], first)
        if name in TIMES:
            return times_of(TIMES[name], first)
        return self._counted(name, first)

    def _counted(self, name: str, given: Value) -> Value:
        if name == "PERIOD":
            return float(self._period)
        if name == "METRIC_COUNT":
            return float(len(series_of(given)))
        if name == "DATAPOINT_COUNT":
            return float(sum(map(len, series_of(given))))
        if name in ("FIRST", "LAST"):
            series = series_of(given)
            return series[0 if name == "FIRST" else -1] if series else {}
        if name == "REMOVE_EMPTY":
            return [each for each in series_of(given) if each]
        if name == "TIME_SERIES" and isinstance(given, int | float):
            self._spend(len(self._tokens) * len(self._times))
            return dict.fromkeys(self._times, given)
        raise MathError(f"Function '{name}' not found")

    def _named(self) -> Value:
        """METRICS(): all of them, or those with a text in their ids."""
        part = "" if self._peek() == ")" else self._take()
        if part and part[0] not in "\"'":
            _refuse()
        self._take(")")
        found = [points for id, points in self._metrics.items() if part[1:-1] in id]
        self._charge(found)
        return found

    def _if(self, condition: Value) -> Value:
        self._take(",")
        then = self._any()
        otherwise: Value = {}
        if self._take(",", ")") == ",":
            otherwise = self._any()
            self._take(")")
        return chosen(condition, then, otherwise)

    def _fill(self, given: Value) -> Value:
        self._spend(len(self._tokens) * len(self._times) * (len(given) if isinstance(given, list) else 1))
        if self._peek() in ("REPEAT", "LINEAR"):
            repeats = self._take() == "REPEAT"
            self._take(")")
            return on_series(lambda points: filled(points, self._times, repeats), given)
        filler = self._any()
        self._take(")")
        if not isinstance(filler, int | float):
            raise MathError("FILL takes a number, REPEAT or LINEAR")
        return on_series(lambda points: {time: points.get(time, filler) for time in self._times}, given)


def _tokens(text: str) -> Sequence[str]:
    found: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse()
        found.append(match[0].strip())
        at = match.end()
    return found
