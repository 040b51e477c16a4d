"""What Prometheus is shown can be read, whatever it is about."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api.prometheus.figures import OTHERS, Figures
from lamplighter.invoke.limits import Limits
from lamplighter.model.clock import SystemClock
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import QueueCounts
from lamplighter.telemetry.activity import Activity
from lamplighter.telemetry.exposition import Family, Histogram, exposed
from lamplighter.telemetry.loop_lag import LoopLag
from support.exposition import read
from support.usage import ran, version


@given(st.text(), st.text(), st.floats(allow_nan=False))
def test_any_label_and_any_number_arrive_as_they_are(help: str, label: str, value: float) -> None:
    text = exposed([Family("a_name", "gauge", help, [({"of": label, "b": ""}, value)])])
    (family,) = read(_one_line_breaks(text)).values()
    assert family.samples == {("", (("b", ""), ("of", _one_line_breaks(label)))): value}


def _one_line_breaks(text: str) -> str:
    """`read` splits at all that Python takes for the end of a line, the format at line feeds alone."""
    for other in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        text = text.replace(other, " ")
    return text


def test_a_family_without_samples_is_not_there() -> None:
    assert exposed([Family("a", "gauge", "h", []), Family("b", "histogram", "h", [({}, Histogram((), 0.0, 0))])]) == (
        '# HELP b h\n# TYPE b histogram\nb_bucket{le="+Inf"} 0\nb_sum 0.0\nb_count 0\n'
    )


MOST = 20


class NoEnvironments:
    environments = ()


def shown(activity: Activity, limits: Limits, *queues: QueueCounts) -> dict[str, Any]:
    async def text() -> str:
        lag = LoopLag()
        worker: Any = NoEnvironments()
        try:
            return await Figures(activity, worker, limits, 1000, {}, lag, lambda: queues, SystemClock(), MOST).text()
        finally:
            lag.close()

    return read(asyncio.run(text()))


@pytest.mark.parametrize("milliseconds", [0.0, 0.2, 0.25, 1.0, 12.5, 3000.0, 900_000.0])
def test_a_duration_is_in_the_buckets_that_it_belongs_to(milliseconds: float) -> None:
    activity = Activity()
    activity.observe(ran(version(), duration=milliseconds))
    samples = shown(activity, Limits())["lamplighter_duration_seconds"].samples
    for (suffix, labels), value in samples.items():
        bound = float(dict(labels).get("le", "nan").replace("Inf", "inf"))
        if suffix == "_bucket" and bound * 1000 != milliseconds:
            assert value == (milliseconds / 1000 < bound)
    assert {suffix: value for (suffix, _), value in samples.items() if suffix != "_bucket"} == {
        "_sum": milliseconds / 1000,
        "_count": 1,
    }


def test_however_many_functions_there_are_a_scrape_is_bounded_and_loses_nothing() -> None:
    activity, limits = Activity(), Limits()
    for number in range(MOST + 50):
        id = FunctionId("000000000000", "us-east-1", f"f{number}")
        activity.measure("AsyncEventsReceived", id, 1.0, id.arn)
        activity.measure("AsyncEventAge", id, 2000.0, id.arn)
        limits.share(id).admit()
    counts = [QueueCounts(f"invoke:arn:aws:lambda:r:a:function:q{n}", 2, 1, 0, 1.0, {}) for n in range(MOST + 5)]
    found = shown(activity, limits, *counts, QueueCounts("deliver:q", 4, 0, 0, None, {}))
    received = found["lamplighter_async_events_received_total"].samples
    assert len(received) == MOST + 1
    assert received["", (("function", OTHERS),)] == 50
    ages = found["lamplighter_async_event_age_seconds"].samples
    assert ages["_sum", (("function", OTHERS),)] == 100
    waiting = found["lamplighter_async_events_waiting"].samples
    assert len(waiting) == MOST + 1
    assert sum(waiting.values()) == 3 * (MOST + 5)
    assert found["lamplighter_deliveries_waiting"].samples == {("", ()): 4}
    assert sum(found["lamplighter_concurrent_executions"].samples.values()) == MOST + 50
