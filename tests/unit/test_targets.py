"""What events can be sent on to, and whether a role may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.control.target_permissions import check_dead_letter, check_destination
from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.targets import Target, parse_target

ROLE = "arn:aws:iam::000000000000:role/r"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:some-queue_1"
TOPIC = "arn:aws:sns:eu-central-1:000000000000:topic"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/default"
BUCKET = "arn:aws:s3:::some.bucket-1"
FUNCTION = "arn:aws-us-gov:lambda:us-gov-west-1:000000000000:function:f"


@pytest.mark.parametrize(
    ("arn", "target"),
    [
        (QUEUE, Target(QUEUE, "sqs", "us-east-1", "000000000000", "some-queue_1")),
        (TOPIC, Target(TOPIC, "sns", "eu-central-1", "000000000000", "topic")),
        (BUS, Target(BUS, "events", "us-east-1", "000000000000", "default")),
        (BUCKET, Target(BUCKET, "s3", "", "", "some.bucket-1")),
        (FUNCTION, Target(FUNCTION, "lambda", "us-gov-west-1", "000000000000", "f")),
        (FUNCTION + ":live", Target(FUNCTION + ":live", "lambda", "us-gov-west-1", "000000000000", "f", "live")),
        (
            FUNCTION + ":$LATEST",
            Target(FUNCTION + ":$LATEST", "lambda", "us-gov-west-1", "000000000000", "f", "$LATEST"),
        ),
    ],
)
def test_targets_are_read_from_their_arns(arn: str, target: Target) -> None:
    assert parse_target(arn) == target


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "$",
        QUEUE + ".fifo",
        TOPIC + ".fifo",
        QUEUE + "\n",
        QUEUE + ":more",
        "arn:aws:sqs::000000000000:no-region",
        "arn:aws:sqs:us-east-1::no-account",
        "arn:aws:events:us-east-1:000000000000:rule/r",
        "arn:aws:s3:::bucket/prefix",
        "arn:aws:dynamodb:us-east-1:000000000000:table/t",
        "arn:aws:lambda:us-east-1:000000000000:layer:l",
        "kafka://topic",
        "arn:aws:sqs:us-east-1:000000000000:quèue",
        "arn:aws:sqs:us-east-1:" + "\u0660" * 12 + ":queue",
    ],
)
def test_what_nothing_can_be_sent_to_is_no_target(arn: str) -> None:
    assert parse_target(arn) is None


@given(st.text())
def test_any_text_is_a_target_or_none(text: str) -> None:
    assert parse_target(text) is None or text.startswith("arn:")


def read(arn: str) -> Target:
    target = parse_target(arn)
    assert target is not None
    return target


@pytest.mark.parametrize(
    ("arn", "action", "resource"),
    [
        (QUEUE, "sqs:SendMessage", QUEUE),
        (TOPIC, "sns:Publish", TOPIC),
        (BUS, "events:PutEvents", BUS),
        (FUNCTION, "lambda:InvokeFunction", FUNCTION),
        (BUCKET, "s3:PutObject", BUCKET + "/*"),
    ],
)
def test_a_role_needs_the_one_action_that_sends(arn: str, action: str, resource: str) -> None:
    check_destination(ROLE, read(arn), lambda *asked: asked == (ROLE, action, resource))
    operation = action.partition(":")[2]
    with pytest.raises(InvalidParameterValueException) as refused:
        check_destination(ROLE, read(arn), lambda *_: False)
    assert refused.value.message == (
        f"The function's execution role does not have permissions to call {operation} on {arn}"
    )


@pytest.mark.parametrize(("arn", "said"), [(QUEUE, "SendMessage on SQS"), (TOPIC, "Publish on SNS")])
def test_a_dead_letter_queue_is_refused_in_words_of_its_own(arn: str, said: str) -> None:
    check_dead_letter(ROLE, read(arn), lambda *_: True)
    with pytest.raises(InvalidParameterValueException) as refused:
        check_dead_letter(ROLE, read(arn), lambda *_: False)
    assert refused.value.message == f"The provided execution role does not have permissions to call {said}"
