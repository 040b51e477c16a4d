"""Records and dead letters on their way to queues, topics, buses and buckets of somebody else's servers."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from lamplighter.events.contract import Again, Done, Verdict
from lamplighter.events.deliveries import LONGEST, Deliveries
from lamplighter.events.destinations import Targets, follow
from lamplighter.events.records import Ending, Refusal, Response, invocation_record
from lamplighter.model.clock import Clock, SystemClock
from lamplighter.model.events import Event
from lamplighter.model.functions import FunctionId
from lamplighter.neighbours.eventbridge import EventBridge
from lamplighter.neighbours.s3 import S3
from lamplighter.neighbours.sns import Sns
from lamplighter.neighbours.sqs import Sqs
from lamplighter.neighbours.wire import Endpoint
from support.control import ManualClock
from support.neighbours import KEYS, REGION, Neighbours, relay

FUNCTION = FunctionId("000000000000", REGION, "told-of")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a87bd80c:1"
FAILURE = Ending(
    "7a1b2c3d-0000-4000-8000-000000000001",
    FUNCTION,
    "$LATEST",
    "RetriesExhausted",
    3,
    1_767_312_245.678,
    '{"text": "ä & <b> \\u0007 \uffff"}'.encode(),
    Response(b'{"errorMessage": "no\\u0007 luck", "errorType": "Exception"}', "$LATEST", "Unhandled"),
    None,
    TRACE,
)
SUCCESS = replace(FAILURE, condition="Success", attempts=1, response=Response(b'"done"', "$LATEST"))


def targets(url: str) -> Targets:
    def endpoint(service: str) -> Endpoint:
        return Endpoint(service, service, url, KEYS, SystemClock())

    s3 = S3(url, KEYS, SystemClock())
    return Targets(Sqs(endpoint("sqs")), Sns(endpoint("sns")), EventBridge(endpoint("events")), s3)


def never(*_: object) -> Event:
    raise AssertionError("no function is among the targets")


class Sender:
    """What takes deliveries from their queues, with what it counts."""

    def __init__(self, where: Targets, clock: Clock) -> None:
        self.counted: list[tuple[str, str, float]] = []
        self._work = Deliveries(where, clock, lambda name, id, value, arn: self.counted.append((name, id.name, value)))

    async def send(self, ended: Ending, destination: str | None, dead_letter: str | None = None) -> list[Verdict]:
        queued = follow(ended, destination, dead_letter, never, ended.at)
        return [await self._work.run(event) for event in queued]

    async def again(self, verdict: Verdict) -> Verdict:
        assert isinstance(verdict, Again)
        return await self._work.run(verdict.event)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())


def send(url: str, ended: Ending, destination: str | None, dead_letter: str | None = None) -> None:
    async def main() -> None:
        sender = Sender(targets(url), ManualClock(ended.at))
        for verdict in await sender.send(ended, destination, dead_letter):
            assert verdict == Done()
        assert sender.counted == []

    run(main())


def record_of(ended: Ending) -> Any:
    return json.loads(invocation_record(ended))


@pytest.mark.parametrize("ended", [SUCCESS, FAILURE], ids=["success", "failure"])
def test_a_queue_gets_the_record_as_its_message(neighbours: Neighbours, ended: Ending) -> None:
    queue = neighbours.queue(f"record-{ended.condition}")
    send(neighbours.url, ended, queue.arn)
    message = queue.message()
    assert json.loads(message["Body"]) == record_of(ended)
    assert "MessageAttributes" not in message
    assert message["Attributes"]["AWSTraceHeader"] == TRACE


@pytest.mark.parametrize("ended", [SUCCESS, FAILURE], ids=["success", "failure"])
def test_a_topic_gets_the_record_as_its_message(neighbours: Neighbours, ended: Ending) -> None:
    topic, subscriber = neighbours.topic(f"record-{ended.condition}")
    send(neighbours.url, ended, topic)
    assert json.loads(json.loads(subscriber.message()["Body"])["Message"]) == record_of(ended)


@pytest.mark.parametrize(("ended", "result"), [(SUCCESS, "Success"), (FAILURE, "Failure")])
def test_a_bus_gets_the_record_as_the_detail_of_an_event(neighbours: Neighbours, ended: Ending, result: str) -> None:
    bus, target = neighbours.bus(f"record-{ended.condition}")
    send(neighbours.url, ended, bus)
    event = json.loads(target.message()["Body"])
    assert event["detail"] == record_of(ended)
    assert event["source"] == "lambda"
    assert event["detail-type"] == f"Lambda Function Invocation Result - {result}"
    assert event["resources"] == [bus, f"{FUNCTION.arn}:$LATEST"]


def test_a_bucket_gets_the_record_as_one_object_however_often_it_is_sent(neighbours: Neighbours) -> None:
    bucket = neighbours.bucket("records")
    for _ in range(2):
        send(neighbours.url, FAILURE, bucket)
    ((key, body),) = neighbours.objects("records").items()
    assert body == invocation_record(FAILURE)
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert re.fullmatch(rf"aws/lambda/async/told-of/2026/01/02/2026-01-02T00\.04\.05-{uuid}", key)


ATTRIBUTES = {"RequestID": FAILURE.request_id, "ErrorCode": "200", "ErrorMessage": "no? luck"}


def test_a_dead_letter_queue_gets_the_event_with_three_attributes(neighbours: Neighbours) -> None:
    queue = neighbours.queue("dead-letters")
    send(neighbours.url, FAILURE, None, queue.arn)
    message = queue.message()
    assert json.loads(message["Body"]) == json.loads(FAILURE.payload)
    found = message["MessageAttributes"]
    assert {name: each["StringValue"] for name, each in found.items()} == ATTRIBUTES
    assert {name: each["DataType"] for name, each in found.items()} == {
        "RequestID": "String",
        "ErrorCode": "Number",
        "ErrorMessage": "String",
    }


def test_a_topic_for_dead_letters_gets_the_event_with_three_attributes(neighbours: Neighbours) -> None:
    topic, subscriber = neighbours.topic("dead-letters")
    throttled = replace(FAILURE, condition="EventAgeExceeded", response=None, refusal=Refusal(429, "Rate Exceeded."))
    send(neighbours.url, throttled, None, topic)
    notice = json.loads(subscriber.message()["Body"])
    assert json.loads(notice["Message"]) == json.loads(FAILURE.payload)
    assert notice["MessageAttributes"] == {
        "RequestID": {"Type": "String", "Value": FAILURE.request_id},
        "ErrorCode": {"Type": "Number", "Value": "429"},
        "ErrorMessage": {"Type": "String", "Value": "Rate Exceeded."},
    }


def test_the_destination_and_the_dead_letter_queue_both_hear_of_a_failure(neighbours: Neighbours) -> None:
    one, other = neighbours.queue("both-destination"), neighbours.queue("both-dead-letters")
    send(neighbours.url, FAILURE, one.arn, other.arn)
    assert json.loads(one.message()["Body"]) == record_of(FAILURE)
    assert json.loads(other.message()["Body"]) == json.loads(FAILURE.payload)


# When the target does not take it


@pytest.mark.parametrize("kind", ["queue", "topic", "bus", "bucket"])
def test_a_target_that_is_away_gets_it_once_it_is_back(neighbours: Neighbours, kind: str) -> None:
    arn, arrived = made(neighbours, kind, f"away-{kind}")

    async def main() -> None:
        async with relay(neighbours.url) as way:
            await way.open()
            await way.cut()
            clock = ManualClock(FAILURE.at)
            sender = Sender(targets(way.url), clock)
            (verdict,) = await sender.send(FAILURE, arn)
            for seconds in (1.0, 2.0, 4.0):
                assert isinstance(verdict, Again)
                assert verdict.pause
                assert verdict.event.due == clock.now() + seconds
                clock.time = verdict.event.due
                if seconds == 4.0:
                    await way.open()
                verdict = await sender.again(verdict)
            assert verdict == Done()
            assert sender.counted == []

    run(main())
    assert arrived()


def made(neighbours: Neighbours, kind: str, name: str) -> tuple[str, Callable[[], object]]:
    """The ARN of a target, and what waits until something has come there."""
    match kind:
        case "queue":
            queue = neighbours.queue(name)
            return queue.arn, queue.message
        case "topic":
            arn, subscriber = neighbours.topic(name)
            return arn, subscriber.message
        case "bus":
            arn, target = neighbours.bus(name)
            return arn, target.message
        case _:
            return neighbours.bucket(name), lambda: neighbours.objects(name)


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sqs:{REGION}:000000000000:nobody-made-it",
        f"arn:aws:sns:{REGION}:000000000000:nobody-made-it",
        "arn:aws:s3:::nobody-made-it",
    ],
)
def test_a_target_that_does_not_exist_is_given_up_and_counted(neighbours: Neighbours, arn: str) -> None:
    async def main() -> None:
        sender = Sender(targets(neighbours.url), ManualClock(FAILURE.at))
        dead_letter = None if ":s3:" in arn else arn
        counted = [("DestinationDeliveryFailures", "told-of", 1.0)]
        counted += [("DeadLetterErrors", "told-of", 1.0)] if dead_letter else []
        verdicts = await sender.send(FAILURE, arn, dead_letter)
        assert verdicts == [Done(died=name) for name, _, _ in counted]
        assert sender.counted == counted

    run(main())


def test_a_target_without_an_endpoint_is_tried_until_there_is_no_hope() -> None:
    async def main() -> None:
        clock = ManualClock(FAILURE.at)
        sender = Sender(Targets(None, None, None, None), clock)
        (verdict,) = await sender.send(FAILURE, f"arn:aws:sqs:{REGION}:000000000000:queue")
        attempts = 1
        while isinstance(verdict, Again):
            clock.time = verdict.event.due
            verdict = await sender.again(verdict)
            attempts += 1
        assert verdict == Done(died="DestinationDeliveryFailures")
        assert sender.counted == [("DestinationDeliveryFailures", "told-of", 1.0)]
        assert LONGEST / 300 < attempts < LONGEST / 300 + 10
        assert clock.now() - FAILURE.at < LONGEST

    run(main())


@pytest.mark.parametrize("arn", ["nonsense", "arn:aws:dynamodb:us-east-1:000000000000:table/t"])
def test_what_is_no_target_is_given_up_at_once(arn: str) -> None:
    async def main() -> None:
        sender = Sender(Targets(None, None, None, None), ManualClock(FAILURE.at))
        (verdict,) = await sender.send(FAILURE, None, arn)
        assert verdict == Done(died="DeadLetterErrors")

    run(main())
