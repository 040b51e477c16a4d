"""Botocore speaks, the wire understands, and the other way round, for every operation of the model."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamplighter.api import service_model
from lamplighter.api.http import Request
from lamplighter.api.protocol import Wire
from lamplighter.model.errors import AccessDeniedException, SerializationException, ValidationException
from support import botocore_wire

FUNCTION = "/2015-03-31/functions/hello"
ROLE = "arn:aws:iam::123456789012:role/r"
WIRE = Wire()

# A handful for each of 91 operations, times two.
FEW = settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def parse(request: Request) -> dict[str, Any]:
    route = WIRE.route(request.method, request.path, request.query)
    return WIRE.parse(route, request.query, request.headers, request.body)


def call(method: str, path: str, query: str = "", body: bytes = b"", **headers: str) -> dict[str, Any]:
    return parse(Request(method, path, query, headers, body))


def create(**members: Any) -> dict[str, Any]:
    body = {"FunctionName": "hello", "Role": ROLE, "Code": {}} | members
    return call("POST", "/2015-03-31/functions", body=json.dumps(body).encode())


@pytest.mark.parametrize("operation", botocore_wire.OPERATIONS)
@FEW
@given(data=st.data())
def test_what_botocore_sends_is_understood(operation: str, data: st.DataObject) -> None:
    parameters = data.draw(botocore_wire.inputs(operation))
    request = botocore_wire.request(operation, parameters)
    route = WIRE.route(request.method, request.path, request.query)
    assert route.operation.name == operation
    expected = dict(parameters)
    plan = route.operation.input_plan
    if plan.payload is not None:  # botocore always sends a body
        expected.setdefault(plan.payload, b"" if plan.body is None else {})
    assert WIRE.parse(route, request.query, request.headers, request.body) == expected


@pytest.mark.parametrize("operation", sorted(set(botocore_wire.OPERATIONS) - {"InvokeWithResponseStream"}))
@FEW
@given(data=st.data())
def test_what_is_answered_is_understood_by_botocore(operation: str, data: st.DataObject) -> None:
    output = data.draw(botocore_wire.outputs(operation))
    model = WIRE.operations[operation]
    status = model.output_plan.status
    if status:
        output[status] = 200  # the only one that is sure to have a body
    response = WIRE.serialise(model, output)
    understood = botocore_wire.understood(operation, response)
    if operation == "Invoke":
        understood["Payload"] = understood["Payload"].read()
        output.setdefault("Payload", b"")
    assert understood == output


def test_every_operation_of_the_model_is_there() -> None:
    assert sorted(WIRE.operations) == botocore_wire.OPERATIONS


def test_a_member_of_a_newer_model_needs_no_work() -> None:
    model = json.loads(service_model.read())
    model["shapes"]["CreateFunctionRequest"]["members"]["Colour"] = {"shape": "Colour"}
    model["shapes"]["Colour"] = {"type": "string", "enum": ["red", "blue"]}
    wire = Wire(json.dumps(model).encode())
    route = wire.route("POST", "/2015-03-31/functions", "")
    body = {"FunctionName": "hello", "Role": ROLE, "Code": {}, "Colour": "green"}
    with pytest.raises(ValidationException, match=r"Value 'green' at 'colour' .*: \[red, blue\]$"):
        wire.parse(route, "", {}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("method", "path", "query", "operation", "labels"),
    [
        ("GET", "/2015-03-31/functions/", "", "ListFunctions", {}),
        ("GET", "/2015-03-31/functions", "MaxItems=3", "ListFunctions", {}),
        ("POST", f"{FUNCTION}/invocations", "", "Invoke", {"FunctionName": "hello"}),
        ("POST", f"{FUNCTION}/invocations/", "", "Invoke", {"FunctionName": "hello"}),
        (
            "GET",
            "/2015-03-31/functions/arn:aws:lambda:eu-west-1:123456789012:function:f:1",
            "",
            "GetFunction",
            {"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:function:f:1"},
        ),
        ("GET", "/2015-03-31/functions/f%3A%24LATEST", "", "GetFunction", {"FunctionName": "f:$LATEST"}),
        ("GET", "/2018-10-31/layers", "", "ListLayers", {}),
        ("GET", "/2018-10-31/layers", "Arn=x&find=LayerVersion", "GetLayerVersionByArn", {}),
        ("GET", "/2018-10-31/layers", "find=Other", "ListLayers", {}),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "List=ALL",
            "ListProvisionedConcurrencyConfigs",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency",
            "Qualifier=1",
            "GetProvisionedConcurrencyConfig",
            {"FunctionName": "f"},
        ),
        (
            "POST",
            "/2025-12-01/durable-executions/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af%3A1%2Fdurable-execution%2Fa%2Fb/stop",
            "",
            "StopDurableExecution",
            {"DurableExecutionArn": "arn:aws:lambda:r:1:function:f:1/durable-execution/a/b"},
        ),
        ("GET", "/2015-03-31/functions/functions", "", "GetFunction", {"FunctionName": "functions"}),
        ("GET", "/2015-03-31/functions/a+b", "", "GetFunction", {"FunctionName": "a+b"}),
    ],
)
def test_a_raw_path_finds_its_operation(
    method: str, path: str, query: str, operation: str, labels: dict[str, str]
) -> None:
    route = WIRE.route(method, path, query)
    assert (route.operation.name, route.labels) == (operation, labels)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "*"),
        ("POST", "2015-03-31/functions"),
        ("GET", "/2015-03-31/nothing"),
        ("PATCH", FUNCTION),
        ("GET", "/2015-03-31/functions//configuration"),
        ("GET", "//2015-03-31/functions"),
        ("POST", f"{FUNCTION}/invocations/more"),
        ("GET", "/2015-03-31/functions/durable/a/b"),
    ],
)
def test_what_cannot_be_routed_is_refused_as_aws_does(method: str, path: str) -> None:
    with pytest.raises(AccessDeniedException, match=r"^Unable to determine service/operation name to be authorized$"):
        WIRE.route(method, path, "")


def test_members_come_from_label_query_header_and_body() -> None:
    invocation = {"x-amz-invocation-type": "Event", "x-amz-log-type": "Tail"}
    assert call("POST", f"{FUNCTION}/invocations", "Qualifier=%24LATEST", b'{"a":1}', **invocation) == {
        "FunctionName": "hello",
        "Qualifier": "$LATEST",
        "InvocationType": "Event",
        "LogType": "Tail",
        "Payload": b'{"a":1}',
    }
    tags = call(
        "DELETE",
        "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af",
        "tagKeys=a&tagKeys=b%20c",
    )
    assert tags["TagKeys"] == ["a", "b c"]
    assert call("GET", "/2018-10-31/layers/l/versions/12") == {"LayerName": "l", "VersionNumber": 12}


def test_unknown_members_are_ignored_and_nulls_are_absent() -> None:
    parsed = create(Nonsense={"a": 1}, Description=None, Environment={"Variables": {"KEY": "v"}, "More": 1})
    assert parsed == {
        "FunctionName": "hello",
        "Role": ROLE,
        "Code": {},
        "Environment": {"Variables": {"KEY": "v"}},
    }


def test_a_label_cannot_be_overruled_by_the_body() -> None:
    parsed = call("PUT", f"{FUNCTION}/configuration", body=b'{"FunctionName":"other","Timeout":5}')
    assert parsed == {"FunctionName": "hello", "Timeout": 5}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"Timeout": "3"}, "STRING_VALUE can not be converted to an Integer"),
        ({"Timeout": 3.5}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"Timeout": 2**31}, "NUMBER_VALUE can not be converted to an Integer"),
        ({"Timeout": True}, "TRUE_VALUE can not be converted to an Integer"),
        ({"Handler": 1}, "NUMBER_VALUE can not be converted to a String"),
        ({"Handler": False}, "FALSE_VALUE can not be converted to a String"),
        ({"Handler": {}}, "Start of structure or map found where not expected."),
        ({"Handler": []}, "Start of list found where not expected"),
        ({"Publish": "true"}, "STRING_VALUE can not be converted to a Boolean"),
        ({"Layers": "a"}, "Expected list or null"),
        ({"Tags": 1}, "Expected map or null"),
        ({"Code": "a"}, "Expected structure or null"),
        ({"Code": []}, "Start of list found where not expected"),
        ({"Code": {"ZipFile": "not base64!"}}, "STRING_VALUE can not be converted to a ByteBuffer"),
        ({"Code": {"ZipFile": "YWI"}}, "STRING_VALUE can not be converted to a ByteBuffer"),
        ({"Code": {"ZipFile": "é"}}, "STRING_VALUE can not be converted to a ByteBuffer"),
        ({"Environment": {"Variables": {"KEY": 1}}}, "NUMBER_VALUE can not be converted to a String"),
    ],
)
def test_a_value_of_another_type_cannot_be_serialised(members: dict[str, Any], text: str) -> None:
    with pytest.raises(SerializationException) as refused:
        create(**members)
    assert refused.value.message == text


def test_whole_numbers_may_be_written_as_floats() -> None:
    assert create(Timeout=3.0)["Timeout"] == 3


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"\xff", b'{"a":NaN}', b"[" * 5000])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationException, match="Could not parse request body into json"):
        call("POST", "/2015-03-31/functions", body=body)


@pytest.mark.parametrize(
    "query", ["MaxItems=a", "MaxItems=", "MaxItems=1_0", "MaxItems=%D9%A3", f"MaxItems={'9' * 5000}"]
)
def test_a_query_value_that_is_no_number_is_refused(query: str) -> None:
    with pytest.raises(SerializationException, match="STRING_VALUE can not be converted to an Integer"):
        call("GET", "/2015-03-31/functions", query)


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Code", "Timeout", "Layers", "Environment", "Variables", "ZipFile", "VpcConfig", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_no_json_gets_anything_but_an_input_or_a_refusal(body: Any) -> None:
    try:
        parsed = call("POST", "/2015-03-31/functions", body=json.dumps(body).encode())
    except (SerializationException, ValidationException):
        return
    assert parsed["FunctionName"]


def test_what_is_none_or_unknown_does_not_travel() -> None:
    operation = WIRE.operations["GetFunctionConfiguration"]
    response = WIRE.serialise(operation, {"FunctionName": "f", "Role": None, "Secret": 1, "VpcConfig": {"VpcId": None}})
    assert json.loads(response.body) == {"FunctionName": "f", "VpcConfig": {}}
    assert dict(response.headers) == {"Content-Type": "application/json"}


def test_members_of_an_invocation_become_status_headers_and_body() -> None:
    output = {"StatusCode": 200, "FunctionError": "Unhandled", "ExecutedVersion": "$LATEST", "Payload": b'"x"'}
    response = WIRE.serialise(WIRE.operations["Invoke"], output)
    assert (response.status, response.body) == (200, b'"x"')
    assert dict(response.headers) == {
        "Content-Type": "application/json",
        "X-Amz-Function-Error": "Unhandled",
        "X-Amz-Executed-Version": "$LATEST",
    }


@pytest.mark.parametrize(
    ("operation", "output", "status"),
    [
        ("Invoke", {"StatusCode": 204}, 204),
        ("Invoke", {"StatusCode": 202}, 202),
        ("CreateFunction", {}, 201),
        ("DeleteFunction", {}, 204),
        ("DeleteFunction", {"StatusCode": 202}, 202),
        ("TagResource", {}, 204),
        ("CreateEventSourceMapping", {}, 202),
        ("PutProvisionedConcurrencyConfig", {}, 202),
        ("InvokeAsync", {}, 202),
        ("InvokeAsync", {"Status": 202}, 202),
    ],
)
def test_the_status_is_aws_s(operation: str, output: dict[str, Any], status: int) -> None:
    response = WIRE.serialise(WIRE.operations[operation], output)
    assert response.status == status
    if status == 204:
        assert (response.headers, response.body) == ((), b"")


def test_timestamps_are_epoch_seconds_with_their_fraction() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    for value in (moment, moment.timestamp()):
        response = WIRE.serialise(WIRE.operations["GetEventSourceMapping"], {"LastModified": value})
        assert json.loads(response.body) == {"LastModified": 1767323045.678}


def test_timestamps_are_read_from_queries_and_bodies() -> None:
    path = "/2025-12-01/functions/f/durable-executions"
    parsed = call(
        "GET", path, "StartedAfter=2026-01-02T03%3A04%3A05Z&Statuses=RUNNING&Statuses=FAILED&ReverseOrder=true"
    )
    assert parsed["StartedAfter"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (parsed["Statuses"], parsed["ReverseOrder"]) == (["RUNNING", "FAILED"], True)
    with pytest.raises(SerializationException):
        call("GET", path, "StartedAfter=yesterday")
    with pytest.raises(SerializationException):
        call("POST", "/2015-03-31/event-source-mappings", body=b'{"StartingPositionTimestamp":1e300}')
