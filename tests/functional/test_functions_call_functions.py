"""What a function reaches: this service, with credentials of its role, by plain boto3."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lamplighter.model.clock import SystemClock
from support.functions import deploy_with
from support.service import Service

CALLER = """
import json, os
import boto3
from botocore.config import Config
ONCE = Config(retries={"total_max_attempts": 1})
def handler(event, context):
    answers = {}
    if "invoke" in event:
        answer = boto3.client("lambda").invoke(FunctionName=event["invoke"], Payload=json.dumps(event["payload"]))
        answers["invoked"] = json.load(answer["Payload"])
    if "log" in event:
        logs = boto3.client("logs")
        logs.create_log_group(logGroupName=event["log"])
        logs.create_log_stream(logGroupName=event["log"], logStreamName="s")
        logs.put_log_events(logGroupName=event["log"], logStreamName="s",
                            logEvents=[{"timestamp": event["now"], "message": "written from inside"}])
    if "forbidden" in event:
        try:
            boto3.client("lambda", config=ONCE).get_function(FunctionName=event["forbidden"])
        except Exception as error:
            answers["refused"] = str(error)
    if "get" in event:
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", 4566)
        connection.request("GET", event["get"])
        answers["got"] = connection.getresponse().status
    return answers
"""
ROBBED = """
import os
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
def handler(event, context):
    return [os.environ[name] for name in NAMES]
"""
DOUBLE = "def handler(event, context): return event['n'] * 2"
FLOOD = """
import socket
KEPT = []
def handler(event, context):
    for _ in range(200):
        one = socket.create_connection(("127.0.0.1", 4566))
        one.settimeout(5)
        one.sendall(b"POST / HTTP/1.1\\r\\n")
        KEPT.append(one)
    dropped = 0
    for one in KEPT:
        one.settimeout(0.01)
        try:
            dropped += one.recv(1) == b""
        except socket.timeout:
            pass
        except OSError:
            dropped += 1
    return dropped
"""


@pytest.fixture(scope="module")
def caller(client: Any) -> Iterator[str]:
    name = deploy_with(client, CALLER, Timeout=60, MemorySize=512)
    yield name
    client.delete_function(FunctionName=name)


def call(client: Any, name: str, event: Any) -> Any:
    response = client.invoke(FunctionName=name, Payload=json.dumps(event))
    payload = json.loads(response["Payload"].read())
    assert "FunctionError" not in response, payload
    return payload


def as_guest(url: str, keys: list[str]) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=keys[2],
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_plain_boto3_in_a_function_calls_another_and_writes_logs(
    client: Any, service: Service, deploy: Callable[..., str], caller: str
) -> None:
    double, group = deploy(DOUBLE), f"/of/{caller}"
    event = {"invoke": double, "payload": {"n": 21}, "log": group, "now": int(SystemClock().now() * 1000)}
    assert call(client, caller, event) == {"invoked": 42}
    logs = service.client("logs")
    written = logs.get_log_events(logGroupName=group, logStreamName="s")["events"]
    assert [event["message"] for event in written] == ["written from inside"]
    logs.delete_log_group(logGroupName=group)


def test_a_function_may_not_take_over_the_account(client: Any, deploy: Callable[..., str], caller: str) -> None:
    refused = call(client, caller, {"forbidden": deploy(DOUBLE)})["refused"]
    assert "AccessDeniedException" in refused
    assert f":assumed-role/tests/{caller} is not authorized to perform: lambda:GetFunction on resource: arn:" in refused


def test_the_operators_pages_are_not_for_functions(client: Any, caller: str) -> None:
    assert call(client, caller, {"get": "/_lamplighter/health"})["got"] == 403


def test_credentials_stolen_from_an_environment_hold_as_long_as_it_and_no_longer(
    client: Any, service: Service, deploy: Callable[..., str]
) -> None:
    double, robbed = deploy(DOUBLE), deploy_with(client, ROBBED)
    guest = as_guest(service.url, call(client, robbed, {}))
    assert call(guest, double, {"n": 4}) == 8
    with pytest.raises(ClientError) as refused:
        guest.list_functions()
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    client.delete_function(FunctionName=robbed)
    deadline = time.monotonic() + 40  # what is idle is looked at every 15 s
    code = ""
    while code != "ExpiredTokenException":
        assert time.monotonic() < deadline, code
        try:
            call(guest, double, {"n": 4})
        except ClientError as error:
            code = error.response["Error"]["Code"]


def test_an_environments_connections_are_bounded_and_others_are_served(client: Any, deploy: Callable[..., str]) -> None:
    assert call(client, deploy(FLOOD, Timeout=30), {}) >= 200 - 64
    assert call(client, deploy(DOUBLE), {"n": 2}) == 4


def test_the_operator_may_keep_functions_from_all_of_it(data_dir: Path) -> None:
    with Service(data_dir, "--function-api", "off") as service:
        seen = "import os\ndef handler(e, c): return sorted(n for n in os.environ if 'KEY' in n or 'ENDPOINT' in n)"
        client = service.client()
        assert call(client, deploy_with(client, seen), {}) == []


@pytest.mark.parametrize("endpoint", ["none", "http://lambda.example:4566"])
def test_the_operator_says_where_functions_look_for_aws_and_a_function_may_say_otherwise(
    data_dir: Path, endpoint: str
) -> None:
    with Service(data_dir, "--function-endpoint", endpoint) as service:
        client = service.client()
        seen = "import os\ndef handler(e, c): return os.environ.get('AWS_ENDPOINT_URL')"
        assert call(client, deploy_with(client, seen), {}) == (None if endpoint == "none" else endpoint)
        own = {"Variables": {"AWS_ENDPOINT_URL": "http://own.example"}}
        assert call(client, deploy_with(client, seen, Environment=own), {}) == "http://own.example"
