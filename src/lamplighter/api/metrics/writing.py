"""PutMetricData: values of anybody's own, in one of three forms (AWS: appendix G)."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.metrics.reading import series_of
from lamplighter.model.clock import Clock
from lamplighter.telemetry.metrics.collector import Collector, Value
from lamplighter.telemetry.metrics.distribution import Distribution
from lamplighter.telemetry.metrics.embedded import GREATEST
from lamplighter.telemetry.metrics.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    MissingRequiredParameterException,
)

METRICS: Final = 1000  # of one request
VALUES: Final = 150  # of one metric
_AGE: Final = 14 * 86_400.0
_AHEAD: Final = 7200.0


class WritingOperation:
    def __init__(self, collector: Collector, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock

    def operations(self) -> Mapping[str, Operation]:
        return {"PutMetricData": self.put_metric_data}

    async def put_metric_data(self, call: Call, members: dict[str, Any]) -> dict[str, Any]:
        namespace: str = members["Namespace"]
        if namespace.startswith("AWS/"):
            raise InvalidParameterValueException(
                "The value AWS/ for parameter Namespace is invalid: it is kept for the service's own metrics."
            )
        given: list[dict[str, Any]] = [
            *members.get("MetricData", []),
            *(datum for entity in members.get("EntityMetricData", []) for datum in entity.get("MetricData", [])),
        ]
        if not given:
            raise MissingRequiredParameterException("The parameter MetricData is required.")
        if len(given) > METRICS:
            raise InvalidParameterValueException(
                f"The collection MetricData must not have a size greater than {METRICS}."
            )
        now = self._clock.now()
        # Up to 150,000 values: not in the event loop.
        self._collector.put(await asyncio.to_thread(self._values, call, namespace, given, now))
        return {}

    def _values(self, call: Call, namespace: str, given: Sequence[dict[str, Any]], now: float) -> list[Value]:
        return [
            self._value(call, namespace, datum, f"MetricData.member.{number}", now)
            for number, datum in enumerate(given, 1)
        ]

    def _value(self, call: Call, namespace: str, datum: dict[str, Any], path: str, now: float) -> Value:
        at: float = datum["Timestamp"].timestamp() if "Timestamp" in datum else now
        if not now - _AGE <= at <= now + _AHEAD:
            raise InvalidParameterValueException(
                f"The parameter {path}.Timestamp must specify a time within the past two weeks, or two hours ahead."
            )
        dimensions = [each["Name"] for each in datum.get("Dimensions", [])]
        if len(set(dimensions)) < len(dimensions):
            raise InvalidParameterValueException(f"The parameter {path}.Dimensions names a dimension twice.")
        series = series_of(call, {"Namespace": namespace, **datum}, datum.get("Unit"))
        return Value(series, at, _distribution(datum, path))


def _distribution(datum: dict[str, Any], path: str) -> Distribution:
    forms = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
    if not forms:
        raise MissingRequiredParameterException(
            f"At least one of the parameters {path}.Value, {path}.Values or {path}.StatisticValues must be specified."
        )
    if len(forms) > 1:
        raise InvalidParameterCombinationException(
            f"The parameters {path}.{forms[0]} and {path}.{forms[1]} are mutually exclusive and you have specified "
            "both."
        )
    found = Distribution()
    if forms[0] == "StatisticValues":
        given = datum["StatisticValues"]
        count, total, minimum, maximum = (
            _checked(given[name], f"{path}.StatisticValues.{name}")
            for name in ("SampleCount", "Sum", "Minimum", "Maximum")
        )
        if count <= 0 or minimum > maximum:
            raise InvalidParameterValueException(f"The parameter {path}.StatisticValues is not one of any values.")
        found.add_set(count, total, minimum, maximum)
        return found
    values = [datum["Value"]] if forms[0] == "Value" else datum["Values"]
    counts = datum.get("Counts", [1.0] * len(values))
    if len(values) > VALUES or len(values) != len(counts) or not values:
        raise InvalidParameterValueException(
            f"The parameters {path}.Values and {path}.Counts must be of the same size, between 1 and {VALUES}."
        )
    for value, count in zip(values, counts, strict=True):
        if not _checked(count, f"{path}.Counts") > 0:
            raise InvalidParameterValueException(f"The parameter {path}.Counts must be greater than 0.")
        found.add(_checked(value, f"{path}.Value"), count)
    return found


def _checked(value: float, path: str) -> float:
    if not math.isfinite(value) or abs(value) > GREATEST:
        raise InvalidParameterValueException(f"The value {value} for parameter {path} is invalid.")
    return value
