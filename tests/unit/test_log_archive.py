"""The archive: rules of groups and streams, and that every event is found once, in order, whatever the pages."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.logs import group as groups
from lamplighter.telemetry.logs import reading
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.errors import (
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
    ServiceUnavailableException,
)
from lamplighter.telemetry.logs.group import DAY, About
from lamplighter.telemetry.logs.pattern import parse_pattern
from lamplighter.telemetry.logs.reading import Event, Key, Query
from lamplighter.telemetry.logs.segment import LINES, MESSAGE, Events, record
from support.environments import HeldClock
from support.sandbox_server import story

ID = GroupId("000000000000", "us-east-1", "/aws/lambda/f")
ALL = 1 << 42  # ms
MANY = settings(max_examples=25, deadline=None, database=None)


@asynccontextmanager
async def opened(path: Path, clock: HeldClock, reserve: int = 0) -> AsyncGenerator[Archive]:
    archive = Archive(path, clock, reserve)
    await archive.open()
    try:
        yield archive
    finally:
        await archive.close()


def about(clock: HeldClock, **members: object) -> About:
    return About(*ID, int(clock.time * 1000), **members)  # pyright: ignore[reportArgumentType]  # a test's own business


def events(stream: str, *pairs: tuple[int, bytes]) -> Events:
    times = [time for time, _ in pairs]
    payload = b"".join(record(MESSAGE, time, text) for time, text in pairs)
    return Events(stream, min(times), max(times), len(pairs), payload)


async def write(archive: Archive, *batches: Events) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(archive.writing, archive.write, ID, batches)


async def everything(archive: Archive, **query: object) -> list[Event]:
    found: list[Event] = []
    after: Key | None = None
    while True:
        page = await archive.page(ID, Query(0, ALL, after=after, **query))  # pyright: ignore[reportArgumentType]
        found += page.events
        after = page.next
        if after is None:
            return found


def files(directory: Path, pattern: str) -> list[Path]:
    return list(directory.glob(pattern))


def texts(found: Sequence[Event]) -> list[bytes]:
    return [event.message for event in found]


@story
async def test_groups_are_made_found_changed_and_deleted(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock) as archive:
        with pytest.raises(ResourceNotFoundException):
            await archive.streams(ID)
        await archive.create(about(clock, tags={"a": "1"}))
        with pytest.raises(ResourceAlreadyExistsException):
            await archive.create(about(clock))

        def change(about: About) -> None:
            about.retention = 3
            about.tags["b"] = "2"

        await archive.change(ID, change)

        def refuse(about: About) -> None:
            about.tags.clear()
            raise ResourceNotFoundException

        with pytest.raises(ResourceNotFoundException):
            await archive.change(ID, refuse)
    async with opened(tmp_path, clock) as archive:
        ((found, size),) = await archive.all(ID.account, ID.region)
        assert (found.name, found.retention, found.tags, size) == (ID.name, 3, {"a": "1", "b": "2"}, 0)
        assert not await archive.all(ID.account, "eu-west-1")
        await archive.delete(ID)
        with pytest.raises(ResourceNotFoundException):
            await archive.delete(ID)
        assert not files(tmp_path, "*")


@story
async def test_streams_are_made_and_deleted_with_their_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "SEGMENT_SIZE", 200)  # so that deleting reaches over several segments
    clock = HeldClock()
    now = int(clock.time * 1000)
    async with opened(tmp_path, clock) as archive:
        await archive.create(about(clock))
        await archive.create_stream(ID, "a")
        with pytest.raises(ResourceAlreadyExistsException):
            await archive.create_stream(ID, "a")
        for number in range(20):
            await write(archive, events("a", (now + number, b"old")), events("b", (now + number, b"b")))
        await archive.delete_stream(ID, "a")
        with pytest.raises(ResourceNotFoundException):
            await archive.put(ID, events("a", (now, b"x")))
        assert set(texts(await everything(archive))) == {b"b"}
        await archive.create_stream(ID, "a")
        await archive.put(ID, events("a", (now, b"new")))
        assert texts(await everything(archive, wanted="a".__eq__)) == [b"new"]
        with pytest.raises(ResourceNotFoundException):
            await archive.page(ID, Query(0, ALL), "c")
    async with opened(tmp_path, clock) as archive:
        streams = await archive.streams(ID)
        assert {name: (stream.first, stream.last) for name, stream in streams.items()} == {
            "a": (now, now),
            "b": (now, now + 19),
        }
        assert texts(await everything(archive, wanted="a".__eq__)) == [b"new"]
        assert len(await everything(archive)) == 21


@story
async def test_what_is_older_than_the_retention_is_not_found_and_then_removed(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock) as archive:
        await archive.create(about(clock, retention=1))
        for _ in range(3):
            now = int(clock.time * 1000)
            await write(archive, events("a", (now, b"%d" % now)))
            clock.move(0.9 * DAY / 1000)
        newest = int(clock.time * 1000 - 0.9 * DAY)
        assert texts(await everything(archive)) == [b"%d" % newest]
        await asyncio.get_running_loop().run_in_executor(archive.writing, archive.expire)
        before = files(tmp_path, "*/*.log")
        clock.move(2 * DAY / 1000)
        await asyncio.get_running_loop().run_in_executor(archive.writing, archive.expire)
        assert before
        assert not files(tmp_path, "*/*.log")
        await write(archive, events("a", (int(clock.time * 1000), b"again")))
        assert texts(await everything(archive)) == [b"again"]


@story
async def test_a_full_disk_refuses_logs_and_keeps_what_is_there(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock) as archive:
        await archive.create(about(clock))
        await write(archive, events("a", (5, b"kept")))
    async with opened(tmp_path, clock, reserve=1 << 60) as archive:
        with pytest.raises(ServiceUnavailableException):
            await archive.put(ID, events("a", (6, b"x")))
        loop = asyncio.get_running_loop()
        assert not await loop.run_in_executor(archive.writing, archive.write, ID, [events("a", (6, b"x"))])
        assert texts(await everything(archive)) == [b"kept"]


WRITES = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 30), min_size=1, max_size=5)), min_size=1, max_size=3
    ),
    min_size=1,
    max_size=12,
)


@MANY
@given(WRITES, st.integers(1, 7), st.booleans(), st.booleans(), st.integers(0, 30), st.integers(0, 30))
def test_pages_of_any_size_and_direction_give_every_event_once_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[list[tuple[str, list[int]]]],
    limit: int,
    backwards: bool,
    restart: bool,
    first: int,
    last: int,
) -> None:
    path, clock = tmp_path_factory.mktemp("archive"), HeldClock()

    async def read(archive: Archive) -> list[Event]:
        found: list[Event] = []
        after: Key | None = None
        while True:
            page = await archive.page(ID, Query(first, last, after=after, backwards=backwards, limit=limit))
            assert len(page.events) <= limit
            found += page.events
            after = page.next
            if after is None:
                return found

    async def run() -> None:
        number = 0
        expected: list[tuple[int, int]] = []
        async with opened(path, clock) as archive:
            for batches in writes:
                made: list[Events] = []
                for stream, times in batches:
                    pairs: list[tuple[int, bytes]] = []
                    for time in times:
                        pairs.append((time, b"%d" % number))
                        if first <= time <= last:
                            expected.append((time, number))
                        number += 1
                    made.append(events(stream, *pairs))
                await write(archive, *made)
                clock.move(0.001)
            found = await read(archive) if not restart else []
        if restart:
            async with opened(path, clock) as archive:
                found = await read(archive)
        if backwards:
            found.reverse()
        assert [(event.key.time, int(event.message)) for event in found] == sorted(expected)
        assert all(Key.of(event.key.id) == event.key for event in found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "SEGMENT_SIZE", 400)
        patch.setattr(reading, "SPARE", 0)
        asyncio.run(run())


@story
async def test_a_page_ends_when_it_has_taken_long_enough_and_the_next_goes_on(tmp_path: Path) -> None:
    class Slow(HeldClock):
        def monotonic(self) -> float:
            self.time += 0.3  # at every look
            return self.time

    clock = Slow()
    async with opened(tmp_path, clock) as archive:
        for number in range(50):
            await write(archive, events("a", (number, b"needle" if number % 10 == 0 else b"hay")))
        for backwards in (False, True):
            found: list[bytes] = []
            pages, after = 0, None
            while pages == 0 or after is not None:
                query = Query(0, ALL, pattern=parse_pattern("needle"), after=after, backwards=backwards)
                page = await archive.page(ID, query)
                found += texts(page.events)
                pages, after = pages + 1, page.next
            assert len(found) == 5
            assert pages > 5


@story
async def test_lines_of_one_record_are_events_of_their_own(tmp_path: Path) -> None:
    clock = HeldClock()
    async with opened(tmp_path, clock) as archive:
        await write(archive, Events("a", 5, 5, 1, record(LINES, 5, b"one\n\ntwo\nthree")))
        assert texts(await everything(archive)) == [b"one\n", b"\n", b"two\n", b"three\n"]
        assert texts(await everything(archive, pattern=parse_pattern("t"))) == [b"two\n", b"three\n"]
        assert texts(await everything(archive, limit=1)) == [b"one\n", b"\n", b"two\n", b"three\n"]
