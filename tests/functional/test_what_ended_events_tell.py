"""Asynchronous invocations and what is told of them: a real service, real functions, somebody else's queues."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.functions import deploy_with
from support.neighbours import KEYS, Neighbours
from support.service import Service, run

FAIL = """
def handler(event, context):
    if event.get("raise_error"):
        raise Exception("Test exception (this is intentional)")
    return {"done": True}
"""
TELL = """
def handler(event, context):
    return event
"""
DEADLINE = 30.0  # seconds for what happens soon

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def service(neighbours: Neighbours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    variables = {"AWS_ENDPOINT_URL": neighbours.url, "AWS_ACCESS_KEY_ID": KEYS.access_key}
    variables |= {"AWS_SECRET_ACCESS_KEY": KEYS.secret_key}
    with Service(tmp_path_factory.mktemp("destinations") / "data", **variables) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Any]:
    made = service.client()
    yield made
    made.close()


def arn_of(client: Any, name: str) -> str:
    return client.get_function_configuration(FunctionName=name)["FunctionArn"]


def configure(client: Any, name: str, *, success: str | None = None, failure: str | None = None) -> None:
    named = {"OnSuccess": success, "OnFailure": failure}
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={side: {"Destination": arn} for side, arn in named.items() if arn},
    )


def queue_event(client: Any, name: str, payload: object) -> str:
    """The request id."""
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload))
    assert answer["StatusCode"] == 202
    return answer["ResponseMetadata"]["RequestId"]


def test_a_success_is_told_to_a_queue(client: Any, deploy: Deploy, neighbours: Neighbours) -> None:
    name, queue = deploy(FAIL), neighbours.queue("success-queue")
    configure(client, name, success=queue.arn)
    request = queue_event(client, name, {"n": 1})
    record = json.loads(queue.message()["Body"])
    assert record["requestContext"] == {
        "requestId": request,
        "functionArn": arn_of(client, name) + ":$LATEST",
        "condition": "Success",
        "approximateInvokeCount": 1,
    }
    assert record["requestPayload"] == {"n": 1}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"] == {"done": True}


def test_a_failure_is_told_to_a_topic_and_to_the_dead_letter_queue(
    client: Any, deploy: Deploy, neighbours: Neighbours
) -> None:
    (topic, subscriber), letters = neighbours.topic("failure-topic"), neighbours.queue("failure-letters")
    name = deploy(FAIL, DeadLetterConfig={"TargetArn": letters.arn})
    configure(client, name, failure=topic)
    request = queue_event(client, name, {"raise_error": 1})
    record = json.loads(json.loads(subscriber.message()["Body"])["Message"])
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"]["functionError"] == "Unhandled"
    letter = letters.message()
    assert json.loads(letter["Body"]) == {"raise_error": 1}
    assert {key: each["StringValue"] for key, each in letter["MessageAttributes"].items()} == {
        "RequestID": request,
        "ErrorCode": "200",
        "ErrorMessage": "Test exception (this is intentional)",
    }


@pytest.mark.parametrize(("payload", "result"), [({}, "Success"), ({"raise_error": 1}, "Failure")])
def test_a_result_is_told_to_a_bus(
    client: Any, deploy: Deploy, neighbours: Neighbours, payload: object, result: str
) -> None:
    name, (bus, target) = deploy(FAIL), neighbours.bus(f"result-{result}")
    configure(client, name, success=bus, failure=bus)
    request = queue_event(client, name, payload)
    event = json.loads(target.message()["Body"])
    assert event["detail-type"] == f"Lambda Function Invocation Result - {result}"
    assert event["resources"] == [bus, arn_of(client, name) + ":$LATEST"]
    assert event["detail"]["requestContext"]["requestId"] == request


def test_a_failure_is_told_to_a_bucket(client: Any, deploy: Deploy, neighbours: Neighbours) -> None:
    name, bucket = deploy(FAIL), neighbours.bucket("failures")
    configure(client, name, failure=bucket)
    request = queue_event(client, name, {"raise_error": 1})
    found = eventually(lambda: neighbours.objects("failures"))
    ((key, body),) = found.items()
    assert key.startswith(f"aws/lambda/async/{name}/")
    assert json.loads(body)["requestContext"]["requestId"] == request


def test_a_function_is_told_and_tells_the_next_one(client: Any, deploy: Deploy, neighbours: Neighbours) -> None:
    queue = neighbours.queue("end-of-chain")
    first, second, third = deploy(FAIL), deploy(TELL), deploy(TELL)
    configure(client, first, success=arn_of(client, second))
    configure(client, second, success=arn_of(client, third))
    configure(client, third, success=queue.arn)
    request = queue_event(client, first, {"n": 1})
    of_third = json.loads(queue.message()["Body"])
    of_second = of_third["requestPayload"]
    of_first = of_second["requestPayload"]
    assert of_third["requestContext"]["functionArn"] == arn_of(client, third) + ":$LATEST"
    assert of_second["responsePayload"] == of_first
    assert of_first["requestContext"]["requestId"] == request
    assert len({record["requestContext"]["requestId"] for record in (of_first, of_second, of_third)}) == 3


def test_the_alias_decides_where_its_events_are_told(client: Any, deploy: Deploy, neighbours: Neighbours) -> None:
    name, queue = deploy(FAIL, Publish=True), neighbours.queue("alias-queue")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.put_function_event_invoke_config(
        FunctionName=name, Qualifier="live", DestinationConfig={"OnSuccess": {"Destination": queue.arn}}
    )
    client.invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload="{}")
    record = json.loads(queue.message()["Body"])
    assert record["requestContext"]["functionArn"] == arn_of(client, name) + ":live"
    assert record["responseContext"]["executedVersion"] == "1"


def test_with_no_reserved_concurrency_events_are_told_at_once(
    client: Any, deploy: Deploy, neighbours: Neighbours
) -> None:
    name, queue = deploy(FAIL), neighbours.queue("zero-reserved")
    configure(client, name, failure=queue.arn)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    queue_event(client, name, {"n": 1})
    record = json.loads(queue.message()["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not record.keys() & {"responseContext", "responsePayload"}


def test_what_could_not_be_told_before_a_crash_is_told_after_it(neighbours: Neighbours, data_dir: Path) -> None:
    """The target is away; the service is killed; with both back, the record arrives."""
    queue = neighbours.queue("after-a-crash")
    keys = {"AWS_ACCESS_KEY_ID": KEYS.access_key, "AWS_SECRET_ACCESS_KEY": KEYS.secret_key}
    with Service(data_dir, "--sqs-endpoint", "http://127.0.0.1:1", **keys) as before:
        client = before.client()
        name = deploy_with(client, FAIL)
        configure(client, name, success=queue.arn)
        request = queue_event(client, name, {"n": 1})
        client.close()
        (waiting,) = eventually(lambda: [each for each in shown(data_dir) if each["retrying"]])
        assert (waiting["kind"], waiting["arn"]) == ("target", queue.arn)
        before.kill()
    with Service(data_dir, "--sqs-endpoint", neighbours.url, **keys):
        assert json.loads(queue.message()["Body"])["requestContext"]["requestId"] == request
        eventually(lambda: not any(each["waiting"] + each["retrying"] for each in shown(data_dir)))


def shown(data_dir: Path) -> list[dict[str, Any]]:
    done = run("queue", "--data-dir", str(data_dir), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def eventually(look: Callable[[], Any]) -> Any:
    """What there is to see, once there is something."""
    deadline = time.monotonic() + DEADLINE
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing came"
    return found
