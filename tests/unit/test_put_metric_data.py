"""What PutMetricData refuses, in AWS's words; and that whatever passes can be kept."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api.metrics.refusing import check, data_of
from lamplighter.telemetry.metrics import errors

Combination = errors.InvalidParameterCombinationException
Invalid = errors.InvalidParameterValueException
Missing = errors.MissingRequiredParameterException
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE = "MetricData.member.1"
DIMENSION = f"{ONE}.Dimensions.member.1"


def refused(data: list[dict[str, Any]], namespace: str | None = "own", **members: Any) -> errors.MetricsError | None:
    request = {"MetricData": data, **members} | ({} if namespace is None else {"Namespace": namespace})
    try:
        check(request, data_of(request), NOW.timestamp())
    except errors.MetricsError as error:
        return error
    return None


def one(**members: Any) -> list[dict[str, Any]]:
    known: dict[str, Any] = {"MetricName": "m", "Value": 1.0}
    if members.keys() & {"Values", "StatisticValues"} and "Value" not in members:
        del known["Value"]
    return [{name: value for name, value in (known | members).items() if value is not None}]


def dimensions(count: int, **first: str) -> list[dict[str, str]]:
    return [{"Name": f"d{number}", "Value": "v"} | (first if number == 0 else {}) for number in range(count)]


WRONG = [
    (
        one(Timestamp=NOW - timedelta(days=14, seconds=1)),
        f"The parameter {ONE}.Timestamp must specify a time within the past two weeks.",
    ),
    (
        one(Timestamp=NOW + timedelta(hours=2, seconds=1)),
        f"The parameter {ONE}.Timestamp must specify a time within the past two weeks.",
    ),
    (one(Value=math.nan), f"The value NaN for parameter {ONE}.Value is invalid."),
    (one(Value=-math.inf), f"The value -Infinity for parameter {ONE}.Value is invalid."),
    (one(Value=2.0**360 * 1.01), f"The value 2.3720280086015716E108 for parameter {ONE}.Value is invalid."),
    (one(Values=[1.0, math.inf]), f"The value Infinity for parameter {ONE}.Values.member.2 is invalid."),
    (one(Values=[1.0] * 151), f"The collection {ONE}.Values must not have a size greater than 150."),
    (one(Values=[1.0], Counts=[0.0]), f"The value 0.0 for parameter {ONE}.Counts.member.1 is invalid."),
    (one(Values=[1.0], Counts=[1.0, 1.0]), f"The parameters {ONE}.Values and {ONE}.Counts must be of the same size."),
    (one(Dimensions=dimensions(31)), f"The collection {ONE}.Dimensions must not have a size greater than 30."),
    (
        one(Dimensions=dimensions(1, Value="x" * 1025)),
        f"The parameter {DIMENSION}.Value must be shorter than 1025 characters.",
    ),
    (
        one(Dimensions=dimensions(1, Name="x" * 256)),
        f"The parameter {DIMENSION}.Name must be shorter than 256 characters.",
    ),
    (
        one(Dimensions=dimensions(1, Value="é" * 1025)),
        f"The value for parameter {DIMENSION}.Value contains non-ASCII characters.\n"
        f"The parameter {DIMENSION}.Value must be shorter than 1025 characters.",
    ),
    (one(MetricName="m" * 256), f"The parameter {ONE}.MetricName must be shorter than 256 characters."),
    (one() * 1001, "The collection MetricData must not have a size greater than 1000."),
    (
        one(StatisticValues={"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}),
        f"The parameter {ONE}.StatisticValues.Maximum must be greater than {ONE}.StatisticValues.Minimum.",
    ),
    (
        one(Value=math.nan) + one() + one(Value=math.nan),
        f"The value NaN for parameter {ONE}.Value is invalid.\n"
        "The value NaN for parameter MetricData.member.3.Value is invalid.",
    ),
]


@pytest.mark.parametrize(("data", "text"), WRONG, ids=[text[:60] for _, text in WRONG])
def test_what_is_out_of_range_is_refused_in_awss_words(data: list[dict[str, Any]], text: str) -> None:
    error = refused(data)
    assert isinstance(error, Invalid)
    assert error.message == text


def test_what_stands_at_a_limit_passes() -> None:
    for data in (
        one(Timestamp=NOW - timedelta(days=14)) + one(Timestamp=NOW + timedelta(hours=2)),
        one(Value=2.0**360) + one(Value=-(2.0**360)),
        one(Values=[1.0] * 150, Counts=[0.5] * 150),
        one(Dimensions=dimensions(30, Value="x" * 1024, Name="n" * 255), MetricName="m" * 255, StorageResolution=1),
        one() * 1000,
    ):
        assert refused(data, "n" * 255) is None


def test_kinds_of_refusals_have_their_codes() -> None:
    for error, kind, text in (
        (refused([]), Missing, "The parameter MetricData is required."),
        (refused(one(), None), Missing, "The parameter Namespace is required."),
        (refused(one(MetricName=None)), Missing, f"The parameter {ONE}.MetricName is required."),
        (refused(one(), "AWS/Lambda"), Invalid, "The value AWS/ for parameter Namespace is invalid."),
        (refused(one(Unit="Feet")), Invalid, f"The parameter {ONE}.Unit must be a value in the set [ Seconds, "),
        (refused(one(Value=None)), Combination, f"At least one of the parameters {ONE}.Value, "),
        (
            refused(one(Value=1.0, Values=[1.0])),
            Combination,
            f"The parameters {ONE}.Value and {ONE}.Values are mutually exclusive and you have specified both.",
        ),
        (
            refused([], EntityMetricData=[{"MetricData": one(Value=math.nan)}]),
            Invalid,
            "The value NaN for parameter EntityMetricData.member.1.MetricData.member.1.Value is invalid.",
        ),
    ):
        assert type(error) is kind
        assert error.message is not None and error.message.startswith(text)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "MetricName": st.text(max_size=4),
        "Dimensions": st.lists(
            st.fixed_dictionaries({}, optional={"Name": st.text(max_size=2), "Value": st.text(max_size=2)}), max_size=3
        ),
        "Timestamp": st.datetimes(timezones=st.just(UTC)),
        "Value": NUMBERS,
        "Values": st.lists(NUMBERS, max_size=3),
        "Counts": st.lists(NUMBERS, max_size=3),
        "StatisticValues": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("SampleCount", "Sum", "Minimum", "Maximum"), NUMBERS)
        ),
        "Unit": st.sampled_from(["Count", "None", "Feet"]),
        "StorageResolution": st.integers(1, 61),
    },
)


@given(st.lists(DATA, max_size=3))
def test_whatever_is_sent_is_taken_or_refused_with_a_line_for_each_reason(data: list[dict[str, Any]]) -> None:
    error = refused(data)
    if error is not None:
        assert error.message and all(line.endswith(".") for line in error.message.split("\n"))
    else:
        assert all(
            datum["MetricName"] and len(datum.keys() & {"Value", "Values", "StatisticValues"}) == 1 for datum in data
        )
