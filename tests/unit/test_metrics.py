"""Counters, distributions, metric math and embedded metrics, without a service."""

import asyncio
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.api.http import Call, Caller
from lamplighter.api.metrics.data import DataOperation, Evaluation
from lamplighter.invoke.limits import Limits
from lamplighter.model.clock import SystemClock
from lamplighter.model.errors import TooManyRequestsException
from lamplighter.model.usage import Refused
from lamplighter.telemetry.metrics.collector import Collector, dimension_sets
from lamplighter.telemetry.metrics.distribution import Distribution, statistic, unpacked
from lamplighter.telemetry.metrics.embedded import Embedded, values_of
from lamplighter.telemetry.metrics.errors import ValidationError
from lamplighter.telemetry.metrics.math import Expression
from lamplighter.telemetry.metrics.math_values import MathError, Points, Value
from lamplighter.telemetry.metrics.store import MetricStore, Series
from support.usage import NOON, ran, version

STATUSES = ("success", "error", "timeout", "crash", "throttled", "recursive")


def total(store: MetricStore, name: str, function: str) -> float:
    series = Series("000000000000", "us-east-1", "AWS/Lambda", name, (("FunctionName", function),), "Count")
    return sum(found.total for _, _, found in store.read(series, 0, NOON + 1e6, False))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(STATUSES), st.floats(0.0, 200.0), st.booleans()), max_size=60
    )
)
def test_after_any_calls_the_counts_agree_with_what_happened(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, str, float, bool]]
) -> None:
    """Whether written at once or in batches, and read again by another store."""
    path = tmp_path_factory.mktemp("metrics") / "metrics.db"

    async def main() -> None:
        async with Collector(MetricStore(path), SystemClock()) as collector:
            for name, status, after, flushes in calls:
                function = version(name)
                if status in ("throttled", "recursive"):
                    reason: Any = status
                    collector.observe(Refused(function.id, "1", function.id.arn, NOON + after, reason))
                else:
                    collector.observe(ran(function, status=status, began=NOON + after))
                if flushes:
                    await collector.flush()

    asyncio.run(main())
    store = MetricStore(path)
    for name in "ab":
        mine = [status for function, status, _, _ in calls if function == name]
        assert total(store, "Invocations", name) == sum(status in STATUSES[:4] for status in mine)
        assert total(store, "Errors", name) == sum(status in STATUSES[1:4] for status in mine)
        assert total(store, "Throttles", name) == mine.count("throttled")
        assert total(store, "RecursiveInvocationsDropped", name) == mine.count("recursive")
    store.close()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_the_peak_of_concurrency_is_the_most_that_ran_at_once(steps: list[tuple[str, bool]]) -> None:
    limits = Limits(3)
    running: dict[str, int] = {"a": 0, "b": 0}
    most = {"a": 0, "b": 0, None: 0}
    for name, begins in steps:
        share = limits.share(version(name).id)
        if begins:
            try:
                share.admit()
            except TooManyRequestsException:
                continue
            running[name] += 1
        elif running[name]:
            share.release()
            running[name] -= 1
        most[name] = max(most[name], running[name])
        most[None] = max(most[None], sum(running.values()))
    found = {peak.function: peak.value for peak in limits.peaks() if peak.name == "ConcurrentExecutions"}
    assert found == {name: value for name, value in most.items() if value}
    after = {peak.function: peak.value for peak in limits.peaks() if peak.name == "ConcurrentExecutions"}
    assert after.get("a", 0) == running["a"]


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300), st.integers(1, 100))
def test_percentiles_are_within_one_percent_and_the_rest_is_exact(values: list[float], percent: int) -> None:
    one, other = Distribution(), Distribution()
    for number, value in enumerate(values):
        (one if number % 2 else other).add(value)
    one.merge(other)
    found = unpacked(one.count, one.total, one.minimum, one.maximum, one.packed())
    assert (found.count, found.minimum, found.maximum) == (len(values), min(values), max(values))
    assert math.isclose(found.total, math.fsum(values))
    exact = sorted(values)[max(0, math.ceil(len(values) * percent / 100 - 1e-9) - 1)]
    told = statistic(found, f"p{percent}")
    assert told is not None and math.isclose(told, exact, rel_tol=0.0101)


def computed(text: str) -> Value:
    known: dict[str, Value] = {"m1": {0: 1.0, 60: 3.0}, "m2": {0: 2.0, 120: 0.0}}
    metrics: dict[str, Points] = {"m1": {0: 1.0, 60: 3.0}, "m2": {0: 2.0, 120: 0.0}}
    return Expression(text, known.get, metrics, [0, 60, 120], 60).value()


def test_metric_math_is_that_of_cloudwatch() -> None:
    assert computed("m1/m2*100") == {0: 50.0}
    assert computed("-m1 + 2 * (3 - 1)") == {0: 3.0, 60: 1.0}
    assert computed("SUM(METRICS())") == {0: 3.0, 60: 3.0, 120: 0.0}
    assert computed("MAX([m1, m2])") == {0: 2.0, 60: 3.0, 120: 0.0}
    assert computed("AVG(m1)") == 2.0
    assert computed("FILL(m1, 0)") == {0: 1.0, 60: 3.0, 120: 0.0}
    assert computed("FILL(m2, LINEAR)") == {0: 2.0, 60: 1.0, 120: 0.0}
    assert computed("RATE(m1)") == {60: 2.0 / 60}
    assert computed("m1 / m2") == {0: 0.5}  # there is no number for a division by zero, nor for what one of them lacks


@given(st.text("m12+-*/^(),[]. eSUM_FILLé", max_size=60))
def test_no_expression_does_harm(text: str) -> None:
    try:
        computed(text)
    except MathError:
        pass


def test_what_is_nested_too_deep_is_refused() -> None:
    for text in ("(" * 1000, "[" * 1000, "-" * 1000, "ABS(" * 1000):
        with pytest.raises(MathError):
            computed(text)


def test_dimensions_are_those_of_how_it_was_called() -> None:
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    assert dimension_sets("f", arn, None) == [(), (("FunctionName", "f"),)]
    assert dimension_sets("f", f"{arn}:7", None)[2:] == [(("FunctionName", "f"), ("Resource", "f:7"))]
    assert dimension_sets("f", f"{arn}:live", "7")[3:] == [
        (("ExecutedVersion", "7"), ("FunctionName", "f"), ("Resource", "f:live"))
    ]


def test_a_heavy_question_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    store, minutes = MetricStore(tmp_path / "metrics.db"), 20_000
    series, one = Series("1", "r", "own", "m", ()), Distribution()
    one.add(1.5)
    first = (int(SystemClock().now()) // 60 - minutes) * 60
    store.add({(series, first + minute * 60): one for minute in range(minutes)})
    call = Call("id", Caller("AK", "1", "arn"), "r", "http://localhost")
    metric = {"Metric": {"Namespace": "own", "MetricName": "m"}, "Period": 60, "Stat": "p50"}
    members = {
        "MetricDataQueries": [{"Id": f"q{number}", "MetricStat": metric} for number in range(5)]
        + [{"Id": "e", "Expression": "SUM(METRICS()) * 2"}],
        "StartTime": datetime.fromtimestamp(first, UTC),
        "EndTime": datetime.fromtimestamp(first + minutes * 60, UTC),
    }

    async def main() -> None:
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                before = time.monotonic()
                await asyncio.sleep(0)
                longest = max(longest, time.monotonic() - before)

        async with Collector(store, SystemClock()) as collector:
            watching = asyncio.create_task(watch())
            began = time.monotonic()
            found = await DataOperation(collector).get_metric_data(call, members)
            took = time.monotonic() - began
            watching.cancel()
        assert sum(len(each["Values"]) for each in found["MetricDataResults"]) == 100_800
        assert "NextToken" in found
        assert longest < took / 3

    asyncio.run(main())


def test_expressions_that_compute_too_much_are_refused() -> None:
    queries = {f"e{number}": {"Id": f"e{number}", "Expression": "1" + "+1" * 900} for number in range(50)}
    evaluation = Evaluation(queries, 0, 100_000 * 60)
    with pytest.raises(ValidationError, match="compute too much"):
        for id, query in queries.items():
            evaluation.labelled(id, query)


def line(**changes: Any) -> bytes:
    head: dict[str, Any] = {
        "Namespace": "own",
        "Dimensions": [["kind"]],
        "Metrics": [{"Name": "m", "Unit": "Count"}],
    } | changes
    return json.dumps({"_aws": {"CloudWatchMetrics": [head]}, "kind": "k", "m": [1, 2.5]}).encode()


def test_a_line_in_the_embedded_format_is_metrics() -> None:
    (value,) = values_of(b"2026-01-01 prefix " + line(), "1", "r", NOON)
    assert value.series == Series("1", "r", "own", "m", (("kind", "k"),), "Count")
    assert (value.distribution.count, value.distribution.total) == (2, 3.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"Namespace": "AWS/Lambda"},
        {"Namespace": 1},
        {"Dimensions": [["kind", "kind"]]},
        {"Dimensions": [["absent"]]},
        {"Dimensions": [[{}]]},
        {"Dimensions": [["kind"]] * 31},
        {"Metrics": [{"Name": "kind"}]},
        {"Metrics": [{"Name": "m", "Unit": "Parsecs"}]},
        {"Metrics": [{"Name": ["m"]}]},
        {"Metrics": {"Name": "m"}},
    ],
)
def test_what_is_not_as_it_should_be_is_left_a_log_line(changes: dict[str, Any]) -> None:
    assert not values_of(line(**changes), "1", "r", NOON)


def test_each_dimension_set_of_each_directive_gets_each_metric_with_all_its_values() -> None:
    most = [{"Name": f"m{number}"} for number in range(100)]
    names = {each["Name"] for each in most}

    def told(document: dict[str, Any], *directives: dict[str, Any]) -> dict[tuple[str, str, int], tuple[int, float]]:
        text = json.dumps({"_aws": {"Timestamp": int(NOON * 1000), "CloudWatchMetrics": directives}, **document})
        return {
            (value.series.namespace, value.series.name, len(value.series.dimensions)): (
                value.distribution.count,
                value.distribution.total,
            )
            for value in values_of(text.encode(), "1", "r", NOON)
        }

    root = {"kind": "k", "zone": "z", "m": [1, 2], "n": 5, "bad": "text", **dict.fromkeys(names, 1)}
    sets = [["kind"], [], ["zone", "kind"]]
    one = {"Namespace": "one", "Dimensions": sets, "Metrics": [{"Name": "m"}, {"Name": "bad"}, {"Name": "n"}]}
    two = {"Namespace": "two", "Dimensions": [["zone"]], "Metrics": [{"Name": "m", "Unit": "Seconds"}]}
    assert told(root, one, two) == {
        **{("one", "m", size): (2, 3.0) for size in (0, 1, 2)},
        **{("one", "n", size): (1, 5.0) for size in (0, 1, 2)},
        ("two", "m", 1): (2, 3.0),
    }, "what is no number is left out alone"
    assert told(root, {**one, "Metrics": most}).keys() == {("one", name, size) for name in names for size in (0, 1, 2)}
    assert told({**root, "m100": 1}, {**one, "Metrics": [*most, {"Name": "m100"}]}) == {}
    assert told({**root, "m": [1] * 100}, two) == {("two", "m", 1): (100, 100.0)}
    assert told({**root, "m": [1] * 101}, two) == {}
    assert told({**root, "m": []}, two) == {}
    assert told({**root, "m": [1, None]}, two) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Name", "_aws", "m"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, json_values, st.binary(max_size=40))
def test_no_line_does_harm(one: Any, other: Any, raw: bytes) -> None:
    document = {
        "_aws": {"Timestamp": one, "CloudWatchMetrics": [{"Namespace": "n", "Dimensions": other, "Metrics": one}]}
    }
    embedded = Embedded(lambda values: None)
    embedded.lines("1", "r", "g", NOON, json.dumps(document).encode() + b"\n" + raw + b'"_aws"' + raw)


def test_a_log_group_names_so_many_metrics_and_no_more() -> None:
    taken: list[Any] = []
    embedded = Embedded(taken.extend, series=5)
    for number in range(20):
        embedded.lines("1", "r", "g", NOON, line().replace(b'"k"', f'"k{number}"'.encode()))
    assert len(taken) == 5
    embedded.lines("1", "r", "another", NOON, line())
    assert len(taken) == 6


def test_custom_metrics_have_a_bound_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    store = MetricStore(tmp_path / "metrics.db", custom_series=2)
    point = Distribution()
    point.add(1.0)
    batch = {(Series("1", "r", "own", name, ()), 60): point for name in "abc"}
    assert store.add(batch) == 1
    assert len(store.list("1", "r", 0)) == 2
    store.forget(120)
    assert not store.list("1", "r", 0)
    assert store.add(batch) == 1
    store.close()
