"""What destinations and dead-letter queues are told: the records that AWS sent, member for member, and texts that the
services behind them take."""

import json
import re
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functional.recorded.matching import Matching, Place
from functional.recorded.support import read
from lamplighter.events.destinations import PREFIX, Delivery, follow, message_attributes
from lamplighter.events.destinations import read as read_delivery
from lamplighter.events.records import (
    Ending,
    Refusal,
    Response,
    error_code,
    error_message,
    fit,
    invocation_record,
)
from lamplighter.model.events import Event
from lamplighter.model.functions import FunctionId
from lamplighter.model.targets import Target

PLACE = Place("111111111111", "eu-central-1")
FUNCTION = FunctionId(PLACE.account, PLACE.region, "failing")
REQUEST = "7a1b2c3d-0000-4000-8000-000000000001"
AT = 1_767_312_245.678
QUEUE = "arn:aws:sqs:eu-central-1:111111111111:told"
TOPIC = "arn:aws:sns:eu-central-1:111111111111:told"
OTHER = "arn:aws:lambda:eu-central-1:111111111111:function:other:live"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"


def ended(**members: Any) -> Ending:
    answer = Response(b"null", "$LATEST")
    made = Ending(REQUEST, FUNCTION, "$LATEST", "Success", 1, AT, b'{"n": 1}', answer, trace=TRACE)
    return replace(made, **members)


def failure(message: str, lines: list[str]) -> Response:
    payload = {"errorMessage": message, "errorType": "Exception", "requestId": REQUEST, "stackTrace": lines}
    return Response(orjson.dumps(payload), "$LATEST", "Unhandled")


WORDS = "Test exception (this is intentional)"
INTENTIONAL = failure(WORDS, [f'  File "/var/task/handler.py", line 55, in handler\n    raise Exception("{WORDS}")\n'])
FAILING = failure(
    "intentional failure",
    ['  File "/var/task/handler.py", line 7, in handler\n    raise Exception("intentional failure")\n'],
)


@pytest.mark.parametrize(
    ("recording", "answer", "made"),
    [
        (
            "assess_lambda_destination_invocation[payload1]",
            "receive_message_result",
            ended(condition="RetriesExhausted", payload=b'{"raise_error": 1}', response=INTENTIONAL),
        ),
        (
            "lambda_destination_default_retries",
            "receive_message_result",
            ended(condition="RetriesExhausted", attempts=3, payload=b'{"raise_error": 1}', response=INTENTIONAL),
        ),
        (
            "retries",
            "queue_destination_payload",
            ended(condition="RetriesExhausted", attempts=3, payload=b'{"message":"m1"}', response=FAILING),
        ),
        (
            "maxeventage",
            "no_retry_failure_message",
            ended(condition="EventAgeExceeded", payload=b'{"message":"m1"}', response=FAILING),
        ),
        (
            "maxeventage",
            "single_retry_failure_message",
            ended(condition="EventAgeExceeded", attempts=2, payload=b'{"message":"m1"}', response=FAILING),
        ),
    ],
)
def test_the_record_is_the_one_that_aws_sent(recording: str, answer: str, made: Ending) -> None:
    aws = read(f"TestLambdaDestinationSqs::test_{recording}", PLACE)
    recorded = aws[answer]
    body = recorded.get("Messages", [recorded])[0]["Body"]
    matching = Matching(PLACE, known={"test-msg-id": "m1"})
    assert not matching.differences(body, invocation_record(made).decode())


def test_a_dead_letter_is_the_event_with_the_attributes_that_aws_sent() -> None:
    recorded = read("test_sqs_queue_as_lambda_dead_letter_queue", PLACE)["messages"]["Messages"][0]
    made = ended(condition="RetriesExhausted", payload=b'{"raise_error": 1}', response=INTENTIONAL)
    (letter,) = map(read_delivery, queue_after(made, None, QUEUE))
    sent = {name: attribute.on_the_wire() for name, attribute in message_attributes(letter).items()}
    assert not Matching(PLACE).differences(recorded["Body"], letter.body.decode())
    assert not Matching(PLACE).differences(recorded["MessageAttributes"], sent)


def test_the_record_of_a_success_has_no_error_and_says_which_version_ran() -> None:
    record = json.loads(invocation_record(ended(qualifier="live", response=Response(b'"done"', "3"))))
    assert list(record) == [
        "version",
        "timestamp",
        "requestContext",
        "requestPayload",
        "responseContext",
        "responsePayload",
    ]
    assert record["timestamp"] == "2026-01-02T00:04:05.678Z"
    assert record["requestContext"]["functionArn"] == f"{FUNCTION.arn}:live"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "3"}
    assert record["responsePayload"] == "done"


@pytest.mark.parametrize("condition", ["EventAgeExceeded", "ZeroReservedConcurrency"])
def test_the_record_of_what_never_ran_says_nothing_of_a_response(condition: Any) -> None:
    made = ended(condition=condition, attempts=0, response=None, refusal=Refusal(429, "Rate Exceeded."))
    record = json.loads(invocation_record(made))
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not record.keys() & {"responseContext", "responsePayload"}
    assert (error_code(made), error_message(made)) == (429, "Rate Exceeded.")


@given(st.binary(max_size=200))
def test_whatever_a_function_answers_the_record_is_json_and_keeps_it(payload: bytes) -> None:
    made = json.loads(invocation_record(ended(response=Response(payload, "1"))))["responsePayload"]
    try:
        assert made == orjson.loads(payload)
    except orjson.JSONDecodeError:
        assert made == (payload.decode(errors="replace") if payload else None)


def test_payloads_stand_in_the_record_to_the_byte() -> None:
    payload = b'{"a": 1.0, "big": 123456789012345678901234567890, "a": "\\u00e4 \\ud800"}'
    assert payload in invocation_record(ended(payload=payload))


@given(st.text(max_size=3000))
def test_an_error_message_is_never_empty_too_long_or_what_sqs_refuses(text: str) -> None:
    payload = json.dumps({"errorMessage": text}).encode()
    said = error_message(ended(condition="RetriesExhausted", response=Response(payload, "1", "Unhandled")))
    assert 0 < len(said.encode()) <= 1024
    assert fit(said.encode()) == said


@given(st.binary(max_size=200))
def test_an_error_message_is_found_in_any_answer(payload: bytes) -> None:
    assert error_message(ended(condition="RetriesExhausted", response=Response(payload, "1", "Unhandled")))


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_a_message_fit_for_sqs_means_the_same(value: object) -> None:
    text = fit(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)
    assert json.loads(text) == json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


# Who is told


def queue_after(made: Ending, destination: str | None = QUEUE, dead_letter: str | None = None) -> list[Event]:
    def invoke(target: Target, payload: bytes, request_id: str, trace: str, now: float) -> Event:
        return Event(request_id, f"invoke:{target.arn}", payload, trace.encode(), now, now)

    return list(follow(made, destination, dead_letter, invoke, AT + 1))


def test_both_the_destination_and_the_dead_letter_queue_hear_of_a_failure() -> None:
    made = ended(condition="RetriesExhausted", response=FAILING)
    record, letter = queue_after(made, TOPIC, QUEUE)
    assert (record.queue, letter.queue) == (PREFIX + TOPIC, PREFIX + QUEUE)
    about = (f"{FUNCTION.arn}:$LATEST", REQUEST, False, AT, TRACE)
    assert read_delivery(record) == Delivery("destination", TOPIC, invocation_record(made), *about)
    error = (200, "intentional failure")
    assert read_delivery(letter) == Delivery("dead_letter", QUEUE, made.payload, *about, error)


def test_a_dead_letter_queue_does_not_hear_of_a_success() -> None:
    assert [event.queue for event in queue_after(ended(), TOPIC, QUEUE)] == [PREFIX + TOPIC]
    assert queue_after(ended(), None, QUEUE) == []


def test_a_function_as_destination_gets_the_record_as_its_event() -> None:
    made = ended()
    (event,) = queue_after(made, OTHER)
    assert event.queue == f"invoke:{OTHER}"
    assert event.payload == invocation_record(made)
    assert event.head == TRACE.encode()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event.id)
    assert event.id != REQUEST


def test_the_same_end_leads_to_the_same_events_so_that_none_is_queued_twice() -> None:
    made = ended(condition="RetriesExhausted", response=FAILING)
    assert queue_after(made, OTHER, QUEUE) == queue_after(made, OTHER, QUEUE)
    ids = [event.id for event in (*queue_after(made, QUEUE, QUEUE), *queue_after(made, OTHER))]
    assert len(set(ids)) == 3
