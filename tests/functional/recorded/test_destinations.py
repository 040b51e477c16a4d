"""What AWS sent to queues about events that ended. The recordings whose events are tried for minutes are held against
the records themselves, where time is given (tests/unit/test_invocation_records.py)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from functional.recorded.support import (
    USUAL,
    Answer,
    Client,
    CreateFunction,
    Recording,
    active,
    package,
    replays,
)
from support.functions import PYTHON
from support.neighbours import KEYS, Neighbours
from support.service import Service

# What fails does so in the line that was recorded.
SOURCE = (
    "\n" * 53
    + """def handler(event, context):
    raise Exception("Test exception (this is intentional)")
"""
)
FAILING: dict[str, Any] = {**USUAL, "Runtime": PYTHON, "Code": {"ZipFile": package(SOURCE)}}


@pytest.fixture(scope="module")
def service(neighbours: Neighbours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    keys = {"AWS_ACCESS_KEY_ID": KEYS.access_key, "AWS_SECRET_ACCESS_KEY": KEYS.secret_key}
    data_dir = tmp_path_factory.mktemp("recorded-destinations") / "data"
    with Service(data_dir, AWS_ENDPOINT_URL_SQS=neighbours.url, **keys) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    made = service.client(parameter_validation=False)
    yield made
    made.close()


def received(neighbours: Neighbours, queue: str) -> Answer:
    with neighbours.client("sqs") as sqs:
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"])


@replays("TestLambdaDestinationSqs::test_assess_lambda_destination_invocation[payload1]")
def test_a_destination_is_told_of_a_failure(
    aws: Recording, client: Client, function: CreateFunction, name: str, neighbours: Neighbours
) -> None:
    queue = neighbours.queue(f"{name}-queue")
    function(name, **FAILING)
    active(client, name)
    put = client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": queue.arn}, "OnFailure": {"Destination": queue.arn}},
    )
    aws.check_without({"LastModified"}, "put_function_event_invoke_config", put)  # of a type of its own in the SDK
    client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"raise_error": 1}))
    aws.check("receive_message_result", received(neighbours, f"{name}-queue"))


@replays("test_sqs_queue_as_lambda_dead_letter_queue")
def test_a_dead_letter_queue_gets_the_event(
    aws: Recording, client: Client, function: CreateFunction, name: str, neighbours: Neighbours
) -> None:
    queue = neighbours.queue(f"{name}-letters")
    created = function(name, **FAILING, DeadLetterConfig={"TargetArn": queue.arn})
    aws.check("lambda-response-dlq-config", created["DeadLetterConfig"])
    active(client, name)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"raise_error": 1}))
    aws.check("messages", received(neighbours, f"{name}-letters"))
