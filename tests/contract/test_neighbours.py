"""Our clients of other services against somebody else's servers: what we send is what they understand."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from lamplighter.model.clock import SystemClock
from lamplighter.neighbours.eventbridge import EventBridge
from lamplighter.neighbours.s3 import S3
from lamplighter.neighbours.sns import Sns
from lamplighter.neighbours.sqs import Attribute, Sqs
from lamplighter.neighbours.wire import Endpoint, NeighbourError
from support.neighbours import KEYS, REGION, Neighbours, relay

TEXT = '{"text": "ä & <b> = 100 % + ½ \\u0007"}'
ATTRIBUTES = {"RequestID": Attribute("String", "r-1"), "ErrorCode": Attribute("Number", "200")}
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"


def endpoint(service: str, url: str, deadline: float = 10.0) -> Endpoint:
    return Endpoint(service, service.upper(), url, KEYS, SystemClock(), deadline)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())


def parts(arn: str) -> tuple[str, str, str]:
    _, _, _, region, account, name = arn.split(":")
    return region, account, name


def test_a_message_reaches_the_queue_with_its_attributes_and_its_trace(neighbours: Neighbours) -> None:
    queue = neighbours.queue("sqs-whole")
    run(Sqs(endpoint("sqs", neighbours.url)).send(parts(queue.arn), TEXT, ATTRIBUTES, TRACE))
    message = queue.message()
    assert message["Body"] == TEXT
    assert message["Attributes"]["AWSTraceHeader"] == TRACE
    assert message["MessageAttributes"] == {
        "RequestID": {"StringValue": "r-1", "DataType": "String"},
        "ErrorCode": {"StringValue": "200", "DataType": "Number"},
    }


def test_a_queue_that_is_not_there_is_told_and_found_once_it_is(neighbours: Neighbours) -> None:
    async def main() -> None:
        sqs = Sqs(endpoint("sqs", neighbours.url))
        with pytest.raises(NeighbourError) as refused:
            await sqs.send((REGION, "000000000000", "sqs-later"), "{}")
        assert refused.value.code in ("QueueDoesNotExist", "NonExistentQueue")
        assert not refused.value.again
        queue = await asyncio.to_thread(neighbours.queue, "sqs-later")
        await sqs.send(parts(queue.arn), "{}")
        assert (await asyncio.to_thread(queue.message))["Body"] == "{}"

    run(main())


def test_a_message_reaches_the_subscribers_of_a_topic_with_its_attributes(neighbours: Neighbours) -> None:
    arn, subscriber = neighbours.topic("sns-whole")
    run(Sns(endpoint("sns", neighbours.url)).publish(REGION, arn, TEXT, ATTRIBUTES, TRACE))
    message = json.loads(subscriber.message()["Body"])
    assert message["Message"] == TEXT
    assert message["MessageAttributes"] == {
        "RequestID": {"Type": "String", "Value": "r-1"},
        "ErrorCode": {"Type": "Number", "Value": "200"},
    }


def test_a_topic_that_is_not_there_is_told_in_the_words_of_sns(neighbours: Neighbours) -> None:
    arn = f"arn:aws:sns:{REGION}:000000000000:none"
    with pytest.raises(NeighbourError) as refused:
        run(Sns(endpoint("sns", neighbours.url)).publish(REGION, arn, "{}"))
    assert refused.value.code == "NotFound"
    assert not refused.value.again


def test_an_event_reaches_the_bus_as_it_was_put(neighbours: Neighbours) -> None:
    arn, target = neighbours.bus("bus-whole")
    bus = EventBridge(endpoint("events", neighbours.url))
    run(bus.put(REGION, arn, "lambda", "Something Happened", ["arn:one", "arn:two"], TEXT, 1_750_000_000.5, TRACE))
    event = json.loads(target.message()["Body"])
    assert event["detail"] == json.loads(TEXT)
    assert (event["source"], event["detail-type"]) == ("lambda", "Something Happened")
    assert event["resources"] == ["arn:one", "arn:two"]
    assert event["time"].startswith("2025-06-15T15:06:40")


def test_an_event_that_the_bus_refuses_is_told_although_the_answer_is_200(neighbours: Neighbours) -> None:
    arn, _ = neighbours.bus("bus-refusing")
    with pytest.raises(NeighbourError) as refused:
        run(EventBridge(endpoint("events", neighbours.url)).put(REGION, arn, "lambda", "Type", [], "no JSON", 0.0))
    assert (refused.value.code, refused.value.again) == ("MalformedDetail", False)


def test_an_object_is_in_the_bucket_under_its_key_however_often_it_is_put(neighbours: Neighbours) -> None:
    neighbours.bucket("s3-whole")
    s3 = S3(neighbours.url, KEYS, SystemClock())

    async def main() -> None:
        for _ in range(2):
            await s3.put("s3-whole", "a b/ü+c.json", TEXT.encode(), "application/json", REGION)

    run(main())
    assert neighbours.objects("s3-whole") == {"a b/ü+c.json": TEXT.encode()}


def test_a_bucket_that_is_not_there_is_told(neighbours: Neighbours) -> None:
    with pytest.raises(NeighbourError) as refused:
        run(S3(neighbours.url, KEYS, SystemClock()).put("s3-none", "key", b"", "application/json", REGION))
    assert (refused.value.code, refused.value.again) == ("NoSuchBucket", False)


def test_who_is_away_may_be_asked_again(neighbours: Neighbours) -> None:
    queue = neighbours.queue("sqs-away")

    async def main() -> None:
        async with relay(neighbours.url) as way:
            await way.open()
            await way.cut()
            sqs = Sqs(endpoint("sqs", way.url))
            with pytest.raises(NeighbourError, match="cannot be reached") as refused:
                await sqs.send(parts(queue.arn), "{}")
            assert refused.value.again
            await way.open()
            await sqs.send(parts(queue.arn), "{}")

    run(main())
    assert queue.message()["Body"] == "{}"


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@pytest.mark.parametrize(
    ("given", "code", "again"),
    [
        (answer("400 Bad", b'{"__type":"com.amazonaws.sqs#Broken:http"}'), "Broken", False),
        (answer("400 Bad", b""), "400", False),
        (answer("400 Bad", b'{"__type":"x#RequestThrottled"}'), "RequestThrottled", True),
        (answer("403 No", b'{"__type":"AccessDenied"}'), "AccessDenied", True),
        (answer("503 Busy", b"busy"), "503", True),
        (answer("200 OK", b"<ok>"), "200", True),
        (answer("200 OK", b" " * 2_000_000), "ServiceUnavailable", True),
        (b"nonsense", "ServiceUnavailable", True),
        (b"", "ServiceUnavailable", True),
    ],
    ids=["refused", "empty", "throttled", "denied", "busy", "no JSON", "too large", "no HTTP", "nothing"],
)
def test_refusals_are_told_apart_by_whether_patience_could_help(given: bytes, code: str, again: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
        writer.write(given)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            with pytest.raises(NeighbourError) as refused:
                await EventBridge(endpoint("events", url)).put(REGION, "bus", "lambda", "Type", [], "{}", 0.0)
            assert (refused.value.code, refused.value.again) == (code, again)

    run(main())


def test_nobody_is_waited_for_longer_than_the_deadline() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            with pytest.raises(NeighbourError, match="did not answer"):
                await Sns(endpoint("sns", url, deadline=0.1)).publish(REGION, "arn", "{}")

    run(main())
