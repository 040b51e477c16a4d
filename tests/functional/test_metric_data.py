"""GetMetricData as boto3 asks for it: what was put comes back by any period, order, page and statistic, within bounds
that are told by plain arithmetic on what was put.
"""

import math
import random
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from support.service import Service


class Put:
    """Values of one metric at known times of the last two hours."""

    def __init__(self, metrics: Any) -> None:
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")  # shown if it fails
        chance = random.Random(seed)
        self.metrics, self.namespace = metrics, f"n{uuid4().hex}"
        self.end = int(time.time()) // 3600 * 3600  # noqa: TID251
        self.values = [
            (self.end - chance.randrange(1, 7200), round(chance.lognormvariate(3, 2), 3)) for _ in range(900)
        ]
        for batch in range(0, len(self.values), 300):
            data = [
                {"MetricName": "m", "Value": value, "Timestamp": datetime.fromtimestamp(at, UTC), "Unit": "Count"}
                for at, value in self.values[batch : batch + 300]
            ]
            metrics.put_metric_data(Namespace=self.namespace, MetricData=data)

    def query(self, id: str, stat: str, period: int = 60, **more: Any) -> dict[str, Any]:
        metric = {"Namespace": self.namespace, "MetricName": "m"}
        return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}

    def ask(self, *queries: dict[str, Any], first: int = 0, **more: Any) -> dict[str, Any]:
        """`first`: seconds after the first possible value."""
        start, end = (datetime.fromtimestamp(at, UTC) for at in (self.end - 7200 + first, self.end))
        return self.metrics.get_metric_data(MetricDataQueries=list(queries), StartTime=start, EndTime=end, **more)

    def grouped(self, period: int) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for at, value in sorted(self.values):
            found.setdefault(at - at % period, []).append(value)
        return found


@pytest.fixture(scope="module")
def put(service: Service) -> Iterator[Put]:
    with closing(service.client("cloudwatch")) as metrics:
        yield Put(metrics)


def points(result: dict[str, Any]) -> dict[int, float]:
    return {int(at.timestamp()): value for at, value in zip(result["Timestamps"], result["Values"], strict=True)}


@pytest.mark.parametrize("period", [60, 300, 900, 3600, 7200])
def test_statistics_of_any_period_are_those_of_the_values(put: Put, period: int) -> None:
    shares = ("0", "0.1", "25", "50", "90", "99.9", "100")
    names = ["Sum", "SampleCount", "Minimum", "Maximum", "Average", *(f"p{share}" for share in shares)]
    found = put.ask(*(put.query(f"q{number}", name, period) for number, name in enumerate(names)))
    told = {name: points(result) for name, result in zip(names, found["MetricDataResults"], strict=True)}
    for at, values in put.grouped(period).items():
        values.sort()
        assert math.isclose(told["Sum"][at], math.fsum(values)) and told["SampleCount"][at] == len(values)
        assert (told["Minimum"][at], told["Maximum"][at]) == (values[0], values[-1])
        assert math.isclose(told["Average"][at], math.fsum(values) / len(values))
        for share in shares:
            rank = max(1, math.ceil(len(values) * float(share) / 100 - 1e-9))
            assert math.isclose(told[f"p{share}"][at], values[rank - 1], rel_tol=0.0101), (share, len(values))
    assert all(series.keys() == put.grouped(period).keys() for series in told.values())


def test_a_start_within_a_minute_or_a_period_takes_in_all_of_it(put: Put) -> None:
    (whole,) = put.ask(put.query("a", "SampleCount", 3600))["MetricDataResults"]
    (within,) = put.ask(put.query("a", "SampleCount", 3600), first=59)["MetricDataResults"]
    assert points(whole) == points(within) and sum(whole["Values"]) == len(put.values)
    (later,) = put.ask(put.query("a", "SampleCount", 60), first=90)["MetricDataResults"]
    assert points(later) == {at: len(values) for at, values in put.grouped(60).items() if at >= put.end - 7200 + 60}


def test_pages_come_in_the_order_asked_for_and_miss_nothing(put: Put) -> None:
    expected = {at: math.fsum(values) for at, values in put.grouped(60).items()}
    for order in ("TimestampAscending", "TimestampDescending", None):
        more: dict[str, Any] = {"MaxDatapoints": 70} | ({} if order is None else {"ScanBy": order})
        found: dict[str, list[tuple[int, float]]] = {"a": [], "b": []}
        while True:
            page = put.ask(put.query("a", "Sum"), {"Id": "b", "Expression": "a * 2"}, **more)
            assert sum(len(result["Values"]) for result in page["MetricDataResults"]) <= 70
            for result in page["MetricDataResults"]:
                found[result["Id"]] += points(result).items()
                assert result["StatusCode"] == ("PartialData" if "NextToken" in page else "Complete")
            if "NextToken" not in page:
                break
            more["NextToken"] = page["NextToken"]
        times = [at for at, _ in found["a"]]
        assert times == sorted(times, reverse=order != "TimestampAscending")
        assert dict(found["a"]) == pytest.approx(expected) and len(found["a"]) == len(expected)
        assert dict(found["b"]) == pytest.approx({at: value * 2 for at, value in expected.items()})


def test_labels_are_given_or_those_of_the_metric_or_the_id(put: Put) -> None:
    found = put.ask(
        put.query("a", "Sum", 3600),
        put.query("b", "Sum", 3600, Label="mine"),
        put.query("hidden", "Sum", 3600, ReturnData=False),
        {"Id": "c", "Expression": "a + hidden"},
        {"Id": "d", "Expression": "IF(a > 0, 100 - 100 * a / (a + hidden))", "Label": "share"},
    )
    told = {result["Id"]: (result["Label"], set(result["Values"])) for result in found["MetricDataResults"]}
    assert [told[id][0] for id in told] == ["m", "mine", "c", "share"]
    assert list(told["d"][1]) == pytest.approx([50.0] * len(told["d"][1])) and list(told) == ["a", "b", "c", "d"]


def test_a_metric_without_values_is_nothing_and_no_error(put: Put) -> None:
    """As of a function that nobody called: its error rate is unknown, and may be filled."""
    nothing = put.query("a", "Sum")
    nothing["MetricStat"]["Metric"]["MetricName"] = "never"
    found = put.ask(nothing, {"Id": "b", "Expression": "SUM(a) / MAX(a)"}, {"Id": "c", "Expression": "FILL(a, 0)"})
    values = [result["Values"] for result in found["MetricDataResults"]]
    assert values == [[], [], [0.0] * 120]
    assert {result["StatusCode"] for result in found["MetricDataResults"]} == {"Complete"}


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"Expression": "a +"}, "Error in expression 'e': Invalid syntax"),
        ({"Expression": "NO_SUCH(a)"}, "Error in expression 'e': Function 'NO_SUCH' not found"),
        ({"Expression": "e"}, "Error in expression 'e': "),
        ({}, "Exactly one of"),
    ],
)
def test_what_is_wrong_with_a_query_is_told(put: Put, query: dict[str, Any], told: str) -> None:
    with pytest.raises(ClientError) as refused:
        put.ask(put.query("a", "Sum"), {"Id": "e", **query})
    error = refused.value.response["Error"]
    assert error["Code"] == "ValidationError" and error["Message"].startswith(told), error
