"""Who watches what is written: live tails and subscriptions, and what a flood costs them."""

import asyncio
import base64
import gzip
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.logs import watching
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.group import About
from lamplighter.telemetry.logs.pattern import parse_pattern
from lamplighter.telemetry.logs.reading import Event, Key
from lamplighter.telemetry.logs.segment import LINES, Events, record
from lamplighter.telemetry.logs.watching import KEPT, PER_SECOND, LiveTail, Subscriptions
from support.environments import HeldClock
from support.sandbox_server import story

ID = GroupId("000000000000", "us-east-1", "/aws/lambda/f")
ARN = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f"
TARGET = "arn:aws:lambda:us-east-1:000000000000:function:target"


async def write(archive: Archive, lines: bytes, stream: str = "a") -> None:
    batch = Events(stream, 5, 5, 1, record(LINES, 5, lines))
    assert await asyncio.get_running_loop().run_in_executor(archive.writing, archive.write, ID, [batch])


@story
async def test_of_a_flood_a_live_tail_gets_a_part_and_is_told_so(tmp_path: Path) -> None:
    archive = Archive(tmp_path, HeldClock(), 0)
    await archive.open()
    with LiveTail(archive, [ARN], lambda name: name != "b", parse_pattern("-not")) as tail:
        await write(archive, b"".join(b"%d\n" % number for number in range(3 * KEPT)))
        found, sampled = tail.take()
        assert sampled
        numbers = [int(event.message) for _, event in found]
        assert len(numbers) == PER_SECOND
        assert numbers == sorted(set(numbers))
        assert numbers[-1] > KEPT * 0.9, "from all of what is kept, not only from its begin"
        await write(archive, b"one\nnot this\ntwo\n")
        await write(archive, b"other stream\n", "b")
        found, sampled = tail.take()
        assert ([event.message for _, event in found], sampled) == ([b"one\n", b"two\n"], False)
    await write(archive, b"after the session\n")
    assert tail.take() == ([], False)
    await archive.close()


@story
async def test_a_live_tail_keeps_so_many_bytes_and_tells_that_there_were_more(tmp_path: Path) -> None:
    archive = Archive(tmp_path, HeldClock(), 0)
    await archive.open()
    about = About(*ID, 0)
    await archive.create(about)
    with LiveTail(archive, [about.arn], lambda name: True, parse_pattern("")) as tail:
        for _ in range(8):
            await write(archive, b"x" * 1_000_000 + b"\n")
        found, sampled = tail.take()
        assert 2 <= len(found) <= watching.KEPT_BYTES // 1_000_000
        assert sampled
        await write(archive, b"y\n")
        found, sampled = tail.take()
        assert [event.message for _, event in found] == [b"y\n"]
        assert not sampled
    await archive.close()


@story
async def test_a_flood_comes_to_a_subscription_in_deliveries_of_bounded_size(tmp_path: Path) -> None:
    archive = Archive(tmp_path, HeldClock(), 0)
    await archive.open()
    subscription = {"filterPattern": "", "destinationArn": TARGET}
    await archive.create(About(*ID, 0, subscriptions={"all": subscription}))
    delivered: list[bytes] = []
    source_arn = About(*ID, 0).arn

    async def deliver(target: str, source: str, payload: bytes) -> None:
        assert (target, source) == (TARGET, source_arn)
        delivered.append(payload)

    lines = [b"%d\n" % number for number in range(20_000)]
    async with Subscriptions(archive, deliver):
        await write(archive, b"".join(lines))
    await archive.close()
    assert len(delivered) > 5
    found: list[str] = []
    for payload in delivered:
        text = gzip.decompress(base64.b64decode(json.loads(payload)["awslogs"]["data"]))
        assert len(text) < watching.PAYLOAD + 1000
        message: dict[str, Any] = json.loads(text)
        assert (message["messageType"], message["owner"]) == ("DATA_MESSAGE", ID.account)
        found += [each["message"] for each in message["logEvents"]]
    assert found == [line.decode() for line in lines]


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(st.integers(0, 2 * watching.PAYLOAD), max_size=12))
def test_deliveries_have_every_event_once_and_none_is_empty(sizes: list[int]) -> None:
    events = [Event(Key(0, 0, 0, 0, number), "s", 0, bytes(size)) for number, size in enumerate(sizes)]
    parts = list(watching._parts(events))  # pyright: ignore[reportPrivateUsage]
    assert [event for part in parts for event in part] == events
    assert all(parts)
    assert all(
        len(part) == 1 or sum(len(event.message) + watching.AROUND for event in part) <= watching.PAYLOAD
        for part in parts
    )
