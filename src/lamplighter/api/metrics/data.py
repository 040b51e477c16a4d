"""GetMetricData: metrics and metric math, by pages (AWS: appendix G).

All of it is computed in the collector's thread, and no request may ask for more than some seconds of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.metrics.periods import by_period, check_period, check_statistic
from lamplighter.api.metrics.reading import offset, series_of
from lamplighter.telemetry.metrics.collector import Collector
from lamplighter.telemetry.metrics.distribution import statistic
from lamplighter.telemetry.metrics.errors import ValidationError
from lamplighter.telemetry.metrics.math import Expression
from lamplighter.telemetry.metrics.math_values import MathError, Points, Value
from lamplighter.telemetry.metrics.store import MetricStore

DATAPOINTS: Final = 100_800  # of one answer
QUERIES: Final = 500
READ: Final = 500_000  # minutes that one request may have read
WORK: Final = 4_000_000  # points that its expressions may go over, with what is computed of them


class DataOperation:
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def operations(self) -> Mapping[str, Operation]:
        return {"GetMetricData": self.get_metric_data}

    async def get_metric_data(self, call: Call, members: dict[str, Any]) -> dict[str, Any]:
        queries: dict[str, dict[str, Any]] = {}
        for query in members["MetricDataQueries"]:
            if query["Id"] in queries:
                raise ValidationError(f"The values for parameter id in MetricDataQueries are not unique: {query['Id']}")
            queries[query["Id"]] = query
        start, end = members["StartTime"].timestamp(), members["EndTime"].timestamp()
        _check(queries, start, end)
        evaluation, left = Evaluation(queries, start, end), READ
        for id, query in queries.items():
            if "MetricStat" in query:
                # One at a time, so that what is counted is written in between.
                evaluation.found[id], read = await self._points(call, query["MetricStat"], start, end)
                left -= read
                if left < 0:
                    raise ValidationError(f"A request may read {READ} minutes at most; ask for less at a time.")
        return await self._collector.ask(lambda store: _results(evaluation, queries, members))

    async def _points(self, call: Call, stat: dict[str, Any], start: float, end: float) -> tuple[Points, int]:
        """And how many minutes were read for them."""
        period: int = stat["Period"]
        series = series_of(call, stat["Metric"], stat.get("Unit"))

        def points(store: MetricStore) -> tuple[Points, int]:
            read = store.read(series, start // period * period, end, "Unit" not in stat)
            # What was put under several units and asked for without one is one series.
            grouped = by_period(((minute, "", each) for minute, _, each in read), period)
            values = ((time, statistic(each, stat["Stat"])) for (time, _), each in grouped.items())
            return {time: value for time, value in values if value is not None}, len(read)

        return await self._collector.ask(points)


def _results(
    evaluation: "Evaluation", queries: Mapping[str, dict[str, Any]], members: Mapping[str, Any]
) -> dict[str, Any]:
    ascending = members.get("ScanBy") == "TimestampAscending"
    first = offset(members.get("NextToken"))
    series = [
        (id, label, points)
        for id, query in queries.items()
        if query.get("ReturnData", True)
        for label, points in evaluation.labelled(id, query)
    ]
    # A page has as much of each.
    room = max(1, min(DATAPOINTS, members.get("MaxDatapoints", DATAPOINTS)) // max(1, len(series)))
    results: list[dict[str, Any]] = []
    more = False
    for id, label, points in series:
        times = sorted(points, reverse=not ascending)
        shown = times[first : first + room]
        partial = len(times) > first + room
        more = more or partial
        results.append(
            {
                "Id": id,
                "Label": label,
                "Timestamps": [datetime.fromtimestamp(time, UTC) for time in shown],
                "Values": [points[time] for time in shown],
                "StatusCode": "PartialData" if partial else "Complete",
            }
        )
    return {"MetricDataResults": results, "Messages": []} | ({"NextToken": str(first + room)} if more else {})


class Evaluation:
    """What queries are worth; `found` at first has the metrics, and expressions come when they are asked for."""

    def __init__(self, queries: Mapping[str, dict[str, Any]], start: float, end: float) -> None:
        self._queries = queries
        self._start = start
        self._end = end
        self.found: dict[str, Value] = {}
        self._under_way: set[str] = set()
        self._left = WORK

    def labelled(self, id: str, query: dict[str, Any]) -> list[tuple[str, Points]]:
        value = self._value(id)
        label: str = query.get("Label") or _default_label(query)
        if isinstance(value, int | float):
            try:
                self._spend(len(self._times(query)))
            except MathError as error:
                raise ValidationError(f"Error in expression '{id}': {error}") from None
            return [(label, dict.fromkeys(self._times(query), value))]
        if isinstance(value, list):
            return [(f"{label} {number}", each) for number, each in enumerate(value)]
        return [(label, value)]

    def _value(self, id: str) -> Value:
        if id in self.found:
            return self.found[id]
        query = self._queries[id]
        if id in self._under_way:
            raise ValidationError(f"Error in expression '{id}': it refers to itself")
        self._under_way.add(id)
        metrics = {
            key: each
            for key, each in self.found.items()
            if isinstance(each, dict) and "MetricStat" in self._queries[key]
        }
        find = self._find
        try:
            times, period = self._times(query), self._period(query)
            expression = Expression(query["Expression"], find, metrics, times, period, self._spend)
            self.found[id] = expression.value()
        except MathError as error:
            raise ValidationError(f"Error in expression '{id}': {error}") from None
        return self.found[id]

    def _spend(self, points: int) -> None:
        self._left -= points
        if self._left < 0:
            raise MathError("the expressions of this request compute too much; ask for less at a time")

    def _find(self, id: str) -> Value | None:
        return self._value(id) if id in self._queries else None

    def _period(self, query: dict[str, Any]) -> int:
        periods = [each["MetricStat"]["Period"] for each in self._queries.values() if "MetricStat" in each]
        return query.get("Period") or max(periods, default=60)

    def _times(self, query: dict[str, Any]) -> list[int]:
        period = self._period(query)
        first = int(self._start // period * period)
        return list(range(first, int(self._end), period))


def _default_label(query: dict[str, Any]) -> str:
    return query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"]


def _check(queries: Mapping[str, dict[str, Any]], start: float, end: float) -> None:
    if start >= end:
        raise ValidationError("The parameter StartTime must be less than the parameter EndTime.")
    if len(queries) > QUERIES:
        raise ValidationError(f"The collection MetricDataQueries must not have a size greater than {QUERIES}.")
    for query in queries.values():
        if ("MetricStat" in query) == ("Expression" in query):
            raise ValidationError(
                "Exactly one of the parameters MetricStat and Expression must be given for each of MetricDataQueries."
            )
        if "MetricStat" in query:
            stat = query["MetricStat"]
            if "Namespace" not in stat["Metric"] or "MetricName" not in stat["Metric"]:
                raise ValidationError("The parameters Namespace and MetricName of a metric are required.")
            check_period(stat["Period"])
            check_statistic(stat["Stat"])
        elif "Period" in query:
            check_period(query["Period"])
    shortest = min((each.get("Period") or 60 for each in queries.values() if "Expression" in each), default=60)
    if any("Expression" in each for each in queries.values()) and (end - start) / max(shortest, 60) > DATAPOINTS:
        raise ValidationError(f"An expression may be asked for {DATAPOINTS} periods at most.")
