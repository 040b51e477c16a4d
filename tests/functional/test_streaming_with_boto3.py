"""Streamed answers through the whole service: boto3, real sandboxes, and a function whose runtime client streams."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.functions import package
from support.service import Service
from support.streaming_runtime import __file__ as runtime

# The function's module replaces its process by a runtime client that streams.
SWITCH = """
import os, sys
os.environ["REAL_HANDLER"] = "real.handler"
os.execv(sys.executable, [sys.executable, "/var/task/streaming_runtime.py"])
"""
HANDLER = """
import os, time
def handler(event, out):
    do = event["do"]
    if do == "whole":
        return event
    out.begin(event.get("type"))
    if do == "slowly":
        for number in range(3):
            out.write(str(number).encode())
            time.sleep(1)
    elif do == "much":
        for _ in range(event["megabytes"] * 16):
            out.write(b"x" * 65536)
    elif do == "say":
        print("a line of its own", flush=True)
        out.write("{}".encode())
    else:
        out.write(b"some")
        time.sleep(0.2)
        if do == "raise":
            raise ValueError("boom")
        if do == "exit":
            os._exit(3)
        time.sleep(60)
"""

Deploy = Callable[..., str]


@pytest.fixture
def streams(deploy: Deploy) -> Callable[..., str]:
    def deploy_streaming(**members: Any) -> str:
        files = {"app.py": SWITCH, "real.py": HANDLER, "streaming_runtime.py": Path(runtime or "").read_text()}
        return deploy("", Code={"ZipFile": package(files)}, **members)

    return deploy_streaming


def call(client: Any, name: str, event: Any, **more: Any) -> tuple[Any, bytes, dict[str, str]]:
    """The response, the payload of its events, and what the last one says."""
    response = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)
    payload, complete = b"", None
    for event in response["EventStream"]:
        assert complete is None
        if "PayloadChunk" in event:
            payload += event["PayloadChunk"]["Payload"]
        else:
            complete = event["InvokeComplete"]
    assert complete is not None
    return response, payload, complete


def test_pieces_reach_boto3_as_they_are_written(client: Any, streams: Deploy) -> None:
    response = client.invoke_with_response_stream(FunctionName=streams(Timeout=20), Payload=b'{"do": "slowly"}')
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    arrived = {
        event["PayloadChunk"]["Payload"]: time.monotonic()
        for event in response["EventStream"]
        if "PayloadChunk" in event
    }
    assert list(arrived) == [b"0", b"1", b"2"]
    assert arrived[b"1"] - arrived[b"0"] > 0.5
    assert arrived[b"2"] - arrived[b"1"] > 0.5


def test_the_functions_content_type_comes_beside_the_streams_own(client: Any, streams: Deploy) -> None:
    kind = "application/vnd.awslambda.http-integration-response"
    response, payload, complete = call(client, streams(), {"do": "say", "type": kind}, LogType="Tail")
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-remapped-content-type"] == kind
    assert payload == b"{}"
    lines = base64.b64decode(complete.pop("LogResult")).decode().splitlines()
    assert "a line of its own" in lines
    assert any(line.startswith("REPORT RequestId: ") for line in lines)
    assert complete == {}


def test_ten_megabytes_go_at_the_promised_pace(client: Any, streams: Deploy) -> None:
    name = streams(Timeout=60)
    call(client, name, {"do": "say"})
    began = time.monotonic()
    _, payload, complete = call(client, name, {"do": "much", "megabytes": 10})
    took = time.monotonic() - began
    assert (len(payload), complete) == (10 * 1024 * 1024, {})
    assert 1.8 < took < 10, "six of them at once, the other four at two a second"


def test_how_a_stream_broke_off_is_told(client: Any, streams: Deploy) -> None:
    name = streams()
    _, payload, complete = call(client, name, {"do": "raise"})
    assert (payload, complete["ErrorCode"]) == (b"some", "ValueError")
    assert json.loads(complete["ErrorDetails"]) == {"errorMessage": "boom", "errorType": "ValueError"}
    _, payload, complete = call(client, name, {"do": "exit"})
    assert (payload, complete["ErrorCode"]) == (b"some", "Runtime.TruncatedResponse")
    assert "Runtime exited with error: exit status 3" in json.loads(complete["ErrorDetails"])["errorMessage"]
    response, payload, complete = call(client, name, {"do": "sleep"})
    assert (payload, complete["ErrorCode"]) == (b"some", "Sandbox.Timedout")
    assert json.loads(complete["ErrorDetails"]) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {response['ResponseMetadata']['RequestId']} Error: "
        "Task timed out after 3.00 seconds",
    }


def test_functions_that_do_not_stream_are_called_in_the_same_way(client: Any, deploy: Deploy, streams: Deploy) -> None:
    name = deploy("def handler(event, context):\n    return event or 1 / 0\n")
    assert call(client, name, {"a": 1})[1:] == (b'{"a": 1}', {})
    _, payload, complete = call(client, name, {})
    assert (payload, complete["ErrorCode"]) == (b"", "Unhandled")
    assert json.loads(complete["ErrorDetails"])["errorType"] == "ZeroDivisionError"
    assert call(client, streams(), {"do": "whole"})[1:] == (b'{"do": "whole"}', {})


def test_invoke_takes_a_streamed_answer_whole(client: Any, streams: Deploy) -> None:
    name = streams(Timeout=30)
    response = client.invoke(FunctionName=name, Payload=b'{"do": "much", "megabytes": 5}')
    assert len(response["Payload"].read()) == 5 * 1024 * 1024
    response = client.invoke(FunctionName=name, Payload=b'{"do": "much", "megabytes": 7}')
    assert json.loads(response["Payload"].read())["errorType"] == "Function.ResponseSizeTooLarge"
    response = client.invoke(FunctionName=name, Payload=b'{"do": "raise"}')
    assert (response["FunctionError"], json.loads(response["Payload"].read())["errorMessage"]) == ("Unhandled", "boom")


def test_refusals_are_errors_as_ever(client: Any, streams: Deploy) -> None:
    name = streams()
    assert client.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke_with_response_stream(FunctionName="nobody")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke_with_response_stream(FunctionName=name, Payload=b"not json")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        client.invoke_with_response_stream(FunctionName=name)


def test_callers_who_read_nothing_cost_the_service_nothing(service: Service, client: Any, streams: Deploy) -> None:
    """Eight functions that write 100 MB each, as fast as they may, to callers who take the first event and no more."""
    name = streams(Timeout=30)
    call(client, name, {"do": "say"})
    own = [service.client(max_pool_connections=1) for _ in range(8)]
    before = resident(service.process.pid)
    answers = [
        each.invoke_with_response_stream(FunctionName=name, Payload=b'{"do": "much", "megabytes": 100}') for each in own
    ]
    for answer in answers:
        assert "PayloadChunk" in next(iter(answer["EventStream"]))
    highest = before
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        highest = max(highest, resident(service.process.pid))
        time.sleep(0.05)
    for answer, each in zip(answers, own, strict=True):
        answer["EventStream"].close()
        each.close()
    assert highest - before < 24, "megabytes"
    assert call(client, name, {"do": "say"})[1] == b"{}"


def resident(pid: int) -> float:
    """Megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("it has ended")
