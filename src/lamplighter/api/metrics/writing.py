"""PutMetricData: values of anybody's own, in one of three forms (AWS: appendix G)."""

import asyncio
from collections.abc import Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.api.metrics.reading import series_of
from lamplighter.api.metrics.refusing import Datum, check, data_of
from lamplighter.model.clock import Clock
from lamplighter.telemetry.metrics.collector import Collector, Value
from lamplighter.telemetry.metrics.distribution import Distribution


class WritingOperation:
    def __init__(self, collector: Collector, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock

    def operations(self) -> Mapping[str, Operation]:
        return {"PutMetricData": self.put_metric_data}

    async def put_metric_data(self, call: Call, members: dict[str, Any]) -> dict[str, Any]:
        # Up to 150,000 values: not in the event loop.
        self._collector.put(await asyncio.to_thread(self._values, call, members, self._clock.now()))
        return {}

    def _values(self, call: Call, members: Mapping[str, Any], now: float) -> list[Value]:
        given = data_of(members)
        check(members, given, now)
        return [self._value(call, members["Namespace"], datum, now) for _, datum in given]

    def _value(self, call: Call, namespace: str, datum: Datum, now: float) -> Value:
        at: float = datum["Timestamp"].timestamp() if "Timestamp" in datum else now
        series = series_of(call, {"Namespace": namespace, **datum}, datum.get("Unit"))
        return Value(series, at, _distribution(datum))


def _distribution(datum: Datum) -> Distribution:
    """Of what was checked."""
    found = Distribution()
    if "StatisticValues" in datum:
        given = datum["StatisticValues"]
        found.add_set(given["SampleCount"], given["Sum"], given["Minimum"], given["Maximum"])
        return found
    values = [datum["Value"]] if "Value" in datum else datum["Values"]
    for value, count in zip(values, datum.get("Counts", [1.0] * len(values)), strict=True):
        found.add(value, count)
    return found
