"""Whether its role lets a function send to its targets, asked when it is given them, and told in AWS's words."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.functions import deploy_with
from support.service import Service, run

SOURCE = "def handler(event, context): return event"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:orders-failed"
OTHER = "arn:aws:sqs:us-east-1:000000000000:other"
TOPIC = "arn:aws:sns:us-east-1:000000000000:orders-failed"
BUCKET = "arn:aws:s3:::orders-failed"
NAMED = "arn:aws:iam::000000000000:role/service/orders"
UNKNOWN = "arn:aws:iam::000000000000:role/nobody-knows"
POLICIES = {
    NAMED: {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["sqs:SendMessage", "s3:Put*"], "Resource": [QUEUE, f"{BUCKET}/*"]},
            {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::forbidden/*"},
        ],
    }
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place = tmp_path_factory.mktemp("roles")
    (place / "roles.json").write_text(json.dumps(POLICIES))
    (place / "settings.toml").write_text('role_policies = "roles.json"\nisolation = "none"\n')
    with Service(place / "data", "--config", str(place / "settings.toml")) as service, closing(service.client()) as it:
        yield it


@pytest.fixture(scope="module")
def function(client: Any) -> str:
    return deploy_with(client, SOURCE, Role=NAMED)


def refused(call: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (
        "InvalidParameterValueException",
        400,
    )
    return error["Error"]["Message"]


@pytest.mark.parametrize("operation", ["put_function_event_invoke_config", "update_function_event_invoke_config"])
def test_a_destination_that_the_role_may_not_send_to_is_refused_in_awss_words(
    client: Any, function: str, operation: str
) -> None:
    call = getattr(client, operation)
    client.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=1)
    for arn, action in ((OTHER, "SendMessage"), (TOPIC, "Publish"), ("arn:aws:s3:::forbidden", "PutObject")):
        said = refused(call, FunctionName=function, DestinationConfig={"OnFailure": {"Destination": arn}})
        assert said == f"The function's execution role does not have permissions to call {action} on {arn}"
    assert client.get_function_event_invoke_config(FunctionName=function)["DestinationConfig"]["OnFailure"] == {}
    for arn in (QUEUE, BUCKET):
        config = call(FunctionName=function, DestinationConfig={"OnFailure": {"Destination": arn}})
        assert config["DestinationConfig"]["OnFailure"] == {"Destination": arn}


def test_it_is_asked_of_versions_and_aliases_too(client: Any, function: str) -> None:
    version = client.publish_version(FunctionName=function)["Version"]
    client.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    for qualifier in (version, "live"):
        for arn, may in ((OTHER, False), (QUEUE, True)):
            given = {"FunctionName": function, "Qualifier": qualifier}
            given |= {"DestinationConfig": {"OnSuccess": {"Destination": arn}}}
            if may:
                assert client.put_function_event_invoke_config(**given)["FunctionArn"].endswith(f":{qualifier}")
            else:
                assert "call SendMessage on" in refused(client.put_function_event_invoke_config, **given)


def test_a_dead_letter_queue_that_the_role_may_not_send_to_is_refused_in_awss_words(client: Any, function: str) -> None:
    for arn, said in ((OTHER, "SendMessage on SQS"), (TOPIC, "Publish on SNS")):
        expected = f"The provided execution role does not have permissions to call {said}"
        config = {"DeadLetterConfig": {"TargetArn": arn}}
        assert refused(deploy_with, client=client, source=SOURCE, Role=NAMED, **config) == expected
        assert refused(client.update_function_configuration, FunctionName=function, **config) == expected
    updated = client.update_function_configuration(FunctionName=function, DeadLetterConfig={"TargetArn": QUEUE})
    assert updated["DeadLetterConfig"] == {"TargetArn": QUEUE}
    deploy_with(client, SOURCE, Role=NAMED, DeadLetterConfig={"TargetArn": QUEUE})


def test_of_a_role_that_nobody_has_stated_nothing_is_refused(client: Any) -> None:
    name = deploy_with(client, SOURCE, Role=UNKNOWN, DeadLetterConfig={"TargetArn": TOPIC})
    config = {"OnFailure": {"Destination": OTHER}}
    answer = client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=config)
    assert answer["DestinationConfig"]["OnFailure"] == {"Destination": OTHER}


def test_policies_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "roles.json"
    arguments = ("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--role-policies", str(path))
    done = run(*arguments)
    assert (done.returncode != 0, "cannot be read: No such file or directory" in done.stderr) == (True, True)
    path.write_text(json.dumps({NAMED: {**POLICIES[NAMED], "Condition": {}}}))
    done = run(*arguments)
    assert done.returncode != 0
    assert f"the policy of {NAMED} has Condition, which cannot be decided here" in done.stderr
