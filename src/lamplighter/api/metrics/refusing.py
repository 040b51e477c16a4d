"""What PutMetricData refuses, in CloudWatch's own words: all that is wrong with a request, a line each.

The texts are those that people have met and quoted; the service model's constraints say the same in words that this
operation doesn't use. Where no text is known, ours is made as its neighbours are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lamplighter.api.java_text import double
from lamplighter.telemetry.metrics.embedded import GREATEST
from lamplighter.telemetry.metrics.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    MetricsError,
    MissingRequiredParameterException,
)

METRICS: Final = 1000  # of one request
VALUES: Final = 150  # of one metric
DIMENSIONS: Final = 30
NAME: Final = 255  # characters of names, and of a namespace
VALUE: Final = 1024  # of a dimension
AGE: Final = 14 * 86_400.0  # seconds
AHEAD: Final = 7200.0
UNITS: Final = (
    *("Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits"),
    *("Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Count", "Bytes/Second", "Kilobytes/Second"),
    *("Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second", "Kilobits/Second", "Megabits/Second"),
    *("Gigabits/Second", "Terabits/Second", "Count/Second", "None"),
)

Datum = Mapping[str, Any]


def data_of(members: Mapping[str, Any]) -> list[tuple[str, Datum]]:
    """What there is to write, each with the path by which refusals name it."""
    found = [(f"MetricData.member.{number}", datum) for number, datum in enumerate(members.get("MetricData", []), 1)]
    for entity, each in enumerate(members.get("EntityMetricData", []), 1):
        path = f"EntityMetricData.member.{entity}.MetricData.member"
        found += [(f"{path}.{number}", datum) for number, datum in enumerate(each.get("MetricData", []), 1)]
    return found


def check(members: Mapping[str, Any], given: Sequence[tuple[str, Datum]], now: float) -> None:
    """Raises a MetricsError with all that is wrong, of the gravest kind."""
    wrong: dict[type[MetricsError], list[str]] = {}

    def refuse(text: str, kind: type[MetricsError] = InvalidParameterValueException) -> None:
        wrong.setdefault(kind, []).append(text)

    problems = _Problems(refuse)
    problems.namespace(members.get("Namespace"))
    if not given:
        problems.missing("MetricData")
    elif len(given) > METRICS:
        problems.too_many("MetricData", METRICS)
    else:
        for path, datum in given:
            problems.datum(path, datum, now)
    for kind in (
        MissingRequiredParameterException,
        InvalidParameterValueException,
        InvalidParameterCombinationException,
    ):
        if kind in wrong:
            raise kind("\n".join(wrong[kind]))


class _Problems:
    def __init__(self, refuse: Any) -> None:
        self._refuse = refuse

    def missing(self, path: str) -> None:
        self._refuse(f"The parameter {path} is required.", MissingRequiredParameterException)

    def too_many(self, path: str, most: int) -> None:
        self._refuse(f"The collection {path} must not have a size greater than {most}.")

    def namespace(self, value: str | None) -> None:
        self._text("Namespace", value, NAME)
        if value is not None and value.startswith(("AWS/", ":")):  # kept for services; no beginning
            self._refuse(f"The value {'AWS/' if value[0] == 'A' else value} for parameter Namespace is invalid.")

    def datum(self, path: str, datum: Datum, now: float) -> None:
        self._text(f"{path}.MetricName", datum.get("MetricName"), NAME)
        dimensions: list[dict[str, str]] = datum.get("Dimensions", [])
        if len(dimensions) > DIMENSIONS:
            self.too_many(f"{path}.Dimensions", DIMENSIONS)
        for number, each in enumerate(dimensions, 1):
            self._text(f"{path}.Dimensions.member.{number}.Name", each.get("Name"), NAME)
            self._text(f"{path}.Dimensions.member.{number}.Value", each.get("Value"), VALUE)
        if len({each.get("Name") for each in dimensions}) < len(dimensions):
            self._refuse(f"The parameter {path}.Dimensions names a dimension twice.")
        if "Timestamp" in datum and not now - AGE <= datum["Timestamp"].timestamp() <= now + AHEAD:
            self._refuse(f"The parameter {path}.Timestamp must specify a time within the past two weeks.")
        if datum.get("Unit", "None") not in UNITS:
            self._refuse(f"The parameter {path}.Unit must be a value in the set [ {', '.join(UNITS)} ].")
        if datum.get("StorageResolution", 60) not in (1, 60):
            self._refuse(f"The parameter {path}.StorageResolution must be a value in the set [ 1, 60 ].")
        self._values(path, datum)

    def _text(self, path: str, value: str | None, longest: int) -> None:
        if not value:
            self.missing(path)
            return
        if not value.isascii():
            self._refuse(f"The value for parameter {path} contains non-ASCII characters.")
        if len(value) > longest:
            self._refuse(f"The parameter {path} must be shorter than {longest + 1} characters.")

    def _values(self, path: str, datum: Datum) -> None:
        forms = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
        if not forms:
            self._refuse(
                f"At least one of the parameters {path}.Value, {path}.Values and {path}.StatisticValues must be "
                "specified.",
                InvalidParameterCombinationException,
            )
        elif len(forms) > 1:
            self._refuse(
                f"The parameters {path}.{forms[0]} and {path}.{forms[1]} are mutually exclusive and you have specified "
                "both.",
                InvalidParameterCombinationException,
            )
        elif forms[0] == "Value":
            self._number(f"{path}.Value", datum["Value"])
        elif forms[0] == "Values":
            self._list(path, datum["Values"], datum.get("Counts"))
        else:
            self._set(f"{path}.StatisticValues", datum["StatisticValues"])

    def _list(self, path: str, values: Sequence[float], counts: Sequence[float] | None) -> None:
        if not values:
            self.missing(f"{path}.Values")
        for name, numbers in (("Values", values), ("Counts", counts or ())):
            if len(numbers) > VALUES:
                self.too_many(f"{path}.{name}", VALUES)
                return
        if counts is not None and len(counts) != len(values):
            self._refuse(f"The parameters {path}.Values and {path}.Counts must be of the same size.")
        self._numbers(f"{path}.Values.member", values)
        for number, count in enumerate(counts or (), 1):
            self._number(f"{path}.Counts.member.{number}", count, above=0.0)

    def _numbers(self, path: str, values: Iterable[float]) -> None:
        for number, value in enumerate(values, 1):
            self._number(f"{path}.{number}", value)

    def _set(self, path: str, given: Mapping[str, float]) -> None:
        for name in ("SampleCount", "Sum", "Minimum", "Maximum"):
            if name not in given:
                self.missing(f"{path}.{name}")
            else:
                self._number(f"{path}.{name}", given[name], above=0.0 if name == "SampleCount" else None)
        if given.get("Minimum", 0.0) > given.get("Maximum", math.inf):
            self._refuse(f"The parameter {path}.Maximum must be greater than {path}.Minimum.")

    def _number(self, path: str, value: float, above: float | None = None) -> None:
        if math.isfinite(value) and abs(value) <= GREATEST and (above is None or value > above):
            return
        shown = double(value) if math.isfinite(value) else "NaN" if math.isnan(value) else "-Infinity"[value > 0 :]
        self._refuse(f"The value {shown} for parameter {path} is invalid.")
