"""Metric math against a second opinion: expressions are made as trees, and worth what these are, point by point."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.metrics.math import Expression
from lamplighter.telemetry.metrics.math_values import MathError, Points, Value

MONDAY: Final = int(datetime(2026, 11, 23, 10, 59, tzinfo=UTC).timestamp())
TIMES: Final = [MONDAY + minute * 60 for minute in range(4)]
KNOWN: Final[dict[str, Points]] = {
    "m1": {TIMES[0]: 1.0, TIMES[1]: 3.0, TIMES[3]: -4.0},
    "m2": {TIMES[0]: 2.0, TIMES[2]: 0.0, TIMES[3]: 8.0},
    "errors_a": {},
}


def worth(text: str) -> Value:
    return Expression(text, KNOWN.get, KNOWN, TIMES, 60).value()


# A tree: a number, the id of a series, or an operator with two of these; and how tightly its text binds.
Tree = Any
BINDS: Final = {"||": 0, "&&": 1, "<": 2, ">=": 2, "==": 2, "!=": 2, "+": 3, "-": 3, "*": 4, "/": 4}
OPERATE: Final[dict[str, Callable[[float, float], float]]] = {
    "||": lambda a, b: float(bool(a) | bool(b)),
    "&&": lambda a, b: float(bool(a) & bool(b)),
    "<": lambda a, b: float(a < b),
    ">=": lambda a, b: float(not a < b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "+": lambda a, b: a + b,
    "-": lambda a, b: a + -b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
}
TREES: Final = st.recursive(
    st.sampled_from(["m1", "m2"]) | st.integers(0, 9).map(float),
    lambda inner: st.tuples(st.sampled_from(sorted(BINDS)), inner, inner),
    max_leaves=7,
)


def at(tree: Tree, time: int) -> float:
    """NaN: nothing."""
    if isinstance(tree, tuple):
        operator, left, right = tree
        one, other = at(left, time), at(right, time)
        return math.nan if math.isnan(one) or math.isnan(other) else OPERATE[operator](one, other)
    return KNOWN[tree].get(time, math.nan) if isinstance(tree, str) else tree


def written(tree: Tree) -> tuple[str, int]:
    if not isinstance(tree, tuple):
        return (tree if isinstance(tree, str) else f"{tree:g}"), 9
    operator, left, right = tree
    binds = BINDS[operator]
    one, tight = written(left)
    other, also = written(right)
    shown = {"&&": "AND", "||": "OR"}.get(operator, operator)
    one = one if tight >= binds else f"({one})"
    other = other if also > binds else f"({other})"
    return f"{one} {shown} {other}", binds


@settings(max_examples=200, deadline=None, database=None)
@given(TREES)
def test_an_expression_is_worth_what_its_tree_is_at_each_time(tree: Tree) -> None:
    told = worth(written(tree)[0])
    expected = {time: value for time in TIMES if not math.isnan(value := at(tree, time))}
    if isinstance(told, int | float):
        assert expected and all(math.isclose(value, told) for value in expected.values())
        return
    assert isinstance(told, dict)
    assume(all(math.isfinite(value) for value in expected.values()))
    assert told.keys() == expected.keys() and all(math.isclose(told[time], expected[time]) for time in told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 - 100 * m1 / MAX([m1, m2])", {TIMES[0]: 50.0, TIMES[1]: 0.0, TIMES[3]: 150.0}),
        ("IF(m1 > 1, m1)", {TIMES[1]: 3.0}),
        ("IF(m1 > 1, m1, 0)", {TIMES[0]: 0.0, TIMES[1]: 3.0, TIMES[3]: 0.0}),
        ("IF(m1 > 1, m2, m1)", {TIMES[0]: 1.0, TIMES[3]: -4.0}),
        ("IF(1, m2)", KNOWN["m2"]),
        ("IF(0, m2)", {}),
        ("IF(FILL(m1, 0) == 0, 1)", {TIMES[2]: 1.0}),
        ("m1 > 0 AND m2 > 0", {TIMES[0]: 1.0, TIMES[3]: 0.0}),
        ("m1 < 0 || m1 == 3", {TIMES[0]: 0.0, TIMES[1]: 1.0, TIMES[3]: 1.0}),
        ("DIFF(m1)", {TIMES[1]: 2.0, TIMES[3]: -7.0}),
        ("DIFF_TIME(m1)", {TIMES[1]: 60.0, TIMES[3]: 120.0}),
        ("RATE(m1)", {TIMES[1]: 2 / 60, TIMES[3]: -7 / 120}),
        ("RUNNING_SUM(m1)", {TIMES[0]: 1.0, TIMES[1]: 4.0, TIMES[3]: 0.0}),
        ("ABS(m1)", {TIMES[0]: 1.0, TIMES[1]: 3.0, TIMES[3]: 4.0}),
        ("LOG10(m1 * 100)", {TIMES[0]: 2.0, TIMES[1]: math.log10(300)}),
        ("CEIL(m1 / 2) + FLOOR(m1 / 2)", {TIMES[0]: 1.0, TIMES[1]: 3.0, TIMES[3]: -4.0}),
        ("HOUR(m1) * 100 + MINUTE(m1)", {TIMES[0]: 1059.0, TIMES[1]: 1100.0, TIMES[3]: 1102.0}),
        ("DAY(m2) + DATE(m2) + MONTH(m2) + YEAR(m2)", dict.fromkeys(KNOWN["m2"], 1 + 23 + 11 + 2026.0)),
        ("EPOCH(m2) - EPOCH(m2)", dict.fromkeys(KNOWN["m2"], 0.0)),
        ("TIME_SERIES(7)", dict.fromkeys(TIMES, 7.0)),
        ("SUM(METRICS('m'))", {TIMES[0]: 3.0, TIMES[1]: 3.0, TIMES[2]: 0.0, TIMES[3]: 4.0}),
        ('METRIC_COUNT(METRICS("errors"))', 1.0),
        ("METRIC_COUNT(REMOVE_EMPTY(METRICS()))", 2.0),
        ("DATAPOINT_COUNT(m1)", 3.0),
        ("SUM(FIRST(METRICS()))", 0.0),
        ("MAX(LAST([m1, m2]))", 8.0),
        ("PERIOD(m1)", 60.0),
        ("SUM(errors_a) / SUM(m1)", {}),
        ("SUM(m2) / SUM(m1)", {}),  # a division by zero
        ("AVG(errors_a)", {}),
        ("FILL(errors_a, 0)", dict.fromkeys(TIMES, 0.0)),
        ("FILL(m1, REPEAT)", {TIMES[0]: 1.0, TIMES[1]: 3.0, TIMES[2]: 3.0, TIMES[3]: -4.0}),
        ("m1 ^ 2", {TIMES[0]: 1.0, TIMES[1]: 9.0, TIMES[3]: 16.0}),
    ],
)
def test_functions_are_those_of_cloudwatch(text: str, expected: Value) -> None:
    assert worth(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["m1 +", "(m1", "m1)", "m1 m2", "[m1", "IF(m1)", "METRICS(m1)", "m1 = 2", "'m1'", "SUM()"]
)
def test_what_is_no_expression_is_refused_in_awss_words(text: str) -> None:
    with pytest.raises(MathError, match=r"^Invalid syntax$"):
        worth(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ANOMALY_DETECTOR(m1)", "Function 'ANOMALY_DETECTOR' not found"),
        ("m3 + 1", "there is no query with the id 'm3'"),
        ("SUM([1])", "a series is needed in place of a number"),
        ("[m1] + [m2]", "two arrays cannot be combined"),
        ("IF(METRICS(), 1)", "IF takes no arrays"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, told: str) -> None:
    with pytest.raises(MathError) as refused:
        worth(text)
    assert str(refused.value) == told
