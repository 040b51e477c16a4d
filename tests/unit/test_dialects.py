"""The protocols of services beside Lambda: what one side writes the other reads, and rubbish is refused."""

import re
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api import cbor, query, service_model
from lamplighter.api.shapes import Shapes
from lamplighter.model.errors import SerializationException

NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"
MODEL = service_model.load(service_model.read("cloudwatch", "2010-08-01"))
SHAPES = Shapes(MODEL["shapes"])
BOTOCORE = get_session().get_service_model("cloudwatch")

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return [without_nothing(each) for each in value] if isinstance(value, list) else value


@given(values)
def test_what_is_written_as_cbor_is_read_again(value: Any) -> None:
    assert cbor.loads(cbor.dumps(value)) == without_nothing(value)


@given(st.binary(max_size=60))
def test_no_bytes_do_harm_as_cbor(data: bytes) -> None:
    try:
        cbor.loads(data)
    except cbor.CborError:
        pass


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("9f0102ff", [1, 2]),
        ("bf6161f5ff", {"a": True}),
        ("7f61616162ff", "ab"),
        ("5f4161ff", b"a"),
        ("f93c00", 1.0),
        ("fa47c35000", 100000.0),
        ("c11a514b67b0", 1363896240),  # a timestamp, as JSON has it
        ("3903e7", -1000),
    ],
)
def test_cbor_is_that_of_the_standard(data: str, value: object) -> None:
    assert cbor.loads(bytes.fromhex(data)) == value


@pytest.mark.parametrize("data", ["", "9f", "ff", "81ff", "a10102", "1c", "61ff", "0000", "81" * 40 + "00", "bf6161ff"])
def test_what_is_no_cbor_is_refused(data: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.loads(bytes.fromhex(data))


def test_a_length_is_not_believed_before_the_bytes_are_there() -> None:
    for kind in (2, 3, 4, 5):
        with pytest.raises(cbor.CborError):
            cbor.loads(bytes((kind << 5 | 27,)) + struct.pack(">Q", 1 << 40))


NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
INPUT: dict[str, Any] = {
    "Namespace": "a b&c",
    "MetricData": [
        {
            "MetricName": f"m{number}",
            "Value": number + 0.5,
            "Dimensions": [{"Name": "d", "Value": "ü"}],
            "Timestamp": NOW,
        }
        for number in range(12)
    ],
    "StrictEntityValidation": True,
}


@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "query"])
def test_what_sdks_send_is_what_they_meant(protocol: str) -> None:
    operation = BOTOCORE.operation_model("PutMetricData")
    sent = create_serializer(protocol).serialize_to_request(INPUT, operation)
    if protocol == "query":
        fields = {key: str(value) for key, value in sent["body"].items() if key not in ("Action", "Version")}
        document = query.read(SHAPES, "PutMetricDataInput", fields)
    else:
        document = cbor.loads(sent["body"])
    assert SHAPES.reader("PutMetricDataInput")(document) == INPUT


@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "query"])
def test_sdks_read_what_is_answered(protocol: str) -> None:
    point = {"Timestamp": NOW, "Unit": "Count", "Sum": 1.5, "ExtendedStatistics": {"p99": 2.0, "p50": 1.0}}
    output = {"Label": "<&>", "Datapoints": [point, point]}
    shape = BOTOCORE.operation_model("GetMetricStatistics").output_shape
    if protocol == "query":
        body = query.response("GetMetricStatistics", NAMESPACE, SHAPES, "GetMetricStatisticsOutput", output, "id")
    else:
        body = cbor.dumps(output)
    headers = {"smithy-protocol": "rpc-v2-cbor"}
    found = create_parser(protocol).parse({"body": body, "headers": headers, "status_code": 200}, shape)
    del found["ResponseMetadata"]
    assert found == output


@given(st.dictionaries(st.from_regex(r"[A-Za-z.0-9]{0,30}", fullmatch=True), st.text(max_size=5), max_size=6))
def test_no_form_does_harm(fields: dict[str, str]) -> None:
    spelled = {re.sub("^[A-M]", "MetricData.member.1.Dimensions", name): text for name, text in fields.items()}
    try:
        query.read(SHAPES, "PutMetricDataInput", spelled)
    except SerializationException:
        pass
