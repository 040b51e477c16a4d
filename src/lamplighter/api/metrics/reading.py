"""ListMetrics and GetMetricStatistics (AWS: appendix G)."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.metrics.periods import by_period, check_period, is_percentile
from lamplighter.model.clock import Clock
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.distribution import STATISTICS, Distribution, statistic
from lamplighter.telemetry.metrics.errors import (
    InvalidNextToken,
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    MissingRequiredParameterException,
)
from lamplighter.telemetry.metrics.store import KEPT, Dimensions, MetricStore, Series, sorted_dimensions

PAGE: Final = 500
DATAPOINTS: Final = 1440
_RECENT: Final = 3 * 3600


class ReadingOperations:
    def __init__(self, collector: Collector, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock

    def operations(self) -> Mapping[str, Operation]:
        return {"ListMetrics": self.list_metrics, "GetMetricStatistics": self.get_metric_statistics}

    async def list_metrics(self, call: Call, members: dict[str, Any]) -> dict[str, Any]:
        since = self._clock.now() - (_RECENT if "RecentlyActive" in members else KEPT)
        first = offset(members.get("NextToken"))
        namespace, name, filters = members.get("Namespace"), members.get("MetricName"), members.get("Dimensions", [])

        def matching(store: MetricStore) -> Sequence[tuple[str, str, Dimensions]]:
            return [
                each
                for each in store.list(call.account, call.region, since)
                if namespace in (None, each[0]) and name in (None, each[1]) and _matches(each[2], filters)
            ]

        found = await self._collector.ask(matching)
        output: dict[str, Any] = {
            "Metrics": [
                {"Namespace": space, "MetricName": metric, "Dimensions": wire_dimensions(dimensions)}
                for space, metric, dimensions in found[first : first + PAGE]
            ]
        }
        if len(found) > first + PAGE:
            output["NextToken"] = str(first + PAGE)
        return output

    async def get_metric_statistics(self, call: Call, members: dict[str, Any]) -> dict[str, Any]:
        statistics: list[str] = members.get("Statistics", [])
        extended: list[str] = members.get("ExtendedStatistics", [])
        if not statistics and not extended:
            raise MissingRequiredParameterException("Must specify either Statistics or ExtendedStatistics.")
        if statistics and extended:
            raise InvalidParameterCombinationException(
                "Must specify either Statistics or ExtendedStatistics, but not both."
            )
        for name in extended:
            if not is_percentile(name):
                raise InvalidParameterValueException(
                    f"The value {name} for parameter ExtendedStatistics is not supported."
                )
        period: int = members["Period"]
        check_period(period)
        start, end = members["StartTime"].timestamp(), members["EndTime"].timestamp()
        if start >= end:
            raise InvalidParameterValueException("The parameter StartTime must be less than the parameter EndTime.")
        if (end - start) / period > DATAPOINTS:
            raise InvalidParameterCombinationException(
                f"You have requested up to {math.ceil((end - start) / period)} datapoints, which exceeds the limit of "
                f"{DATAPOINTS:,}. You may reduce the datapoints requested by increasing Period, or decreasing the time "
                "range."
            )
        series = series_of(call, members, members.get("Unit"))

        def datapoints(store: MetricStore) -> list[dict[str, Any]]:
            points = store.read(series, start // period * period, end, "Unit" not in members)
            return [
                _datapoint(time, unit, distribution, statistics, extended)
                for (time, unit), distribution in sorted(by_period(points, period).items())
            ]

        return {"Label": members["MetricName"], "Datapoints": await self._collector.ask(datapoints)}


def _datapoint(
    time: int, unit: str, distribution: Distribution, statistics: list[str], extended: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {"Timestamp": datetime.fromtimestamp(time, UTC), "Unit": unit}
    found.update({name: statistic(distribution, name) for name in STATISTICS if name in statistics})
    percentiles = {name: statistic(distribution, name) for name in extended}
    known = {name: value for name, value in percentiles.items() if value is not None}
    return found | ({"ExtendedStatistics": known} if known else {})


def offset(token: str | None) -> int:
    if token is None:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise InvalidNextToken("The service cannot process the request because the next token is invalid.")
    return int(token)


def series_of(call: Call, metric: Mapping[str, Any], unit: str | None) -> Series:
    dimensions = sorted_dimensions((each["Name"], each["Value"]) for each in metric.get("Dimensions", []))
    return Series(call.account, call.region, metric["Namespace"], metric["MetricName"], dimensions, unit or "None")


def wire_dimensions(dimensions: Dimensions) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions]


def _matches(dimensions: Dimensions, filters: list[dict[str, str]]) -> bool:
    have = dict(dimensions)
    return all(each["Name"] in have and each.get("Value") in (None, have[each["Name"]]) for each in filters)
