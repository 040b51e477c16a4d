"""The intake: cheap to write to, bounded, and honest about what it had to drop."""

import re
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from lamplighter.telemetry.logs import intake as intakes
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.intake import Intake
from lamplighter.telemetry.logs.reading import Event, Key, Query
from lamplighter.telemetry.logs.segment import Events
from support.environments import HeldClock, version
from support.sandbox_server import story, until


@contextmanager
def held(archive: Archive) -> Generator[None]:
    """The disk is slow: nothing is written in the block."""
    over = threading.Event()
    archive.writing.submit(over.wait)
    try:
        yield
    finally:
        over.set()


STREAM = "2026/01/02/[$LATEST]0"


@asynccontextmanager
async def taking(path: Path) -> AsyncGenerator[tuple[Archive, Intake]]:
    archive = Archive(path, HeldClock(), 0)
    await archive.open()
    intake = Intake(archive)
    try:
        yield archive, intake
    finally:
        await intake.close()
        await archive.close()


async def found(archive: Archive, name: str) -> list[Event]:
    events: list[Event] = []
    after: Key | None = None
    while True:
        id = GroupId("000000000000", "us-east-1", f"/aws/lambda/{name}")
        page = await archive.page(id, Query(0, 1 << 42, after=after))
        events += page.events
        after = page.next
        if after is None:
            return events


async def messages(archive: Archive, name: str) -> list[str]:
    return [event.message.decode() for event in await found(archive, name)]


@story
async def test_what_is_written_is_found_after_a_flush_in_its_order(tmp_path: Path) -> None:
    async with taking(tmp_path) as (archive, intake):
        log = intake.open(version("f"), STREAM)
        log.lines(1.0, b"START 1\n")
        log.lines(1.25, b"one\ntwo\n")
        log.message(1.5, b"of\nthree\nlines\n")
        log.lines(1.75, b"END\nREPORT")
        await intake.flush()
        assert await messages(archive, "f") == [
            "START 1\n",
            "one\n",
            "two\n",
            "of\nthree\nlines\n",
            "END\n",
            "REPORT\n",
        ]
        assert {(event.stream, event.key.time) for event in await found(archive, "f")} == {
            (STREAM, time) for time in (1000, 1250, 1500, 1750)
        }


@story
async def test_it_is_written_without_being_asked(tmp_path: Path) -> None:
    async with taking(tmp_path) as (archive, intake):
        log = intake.open(version("f"), STREAM)
        log.lines(1.0, b"by itself\n")
        (directory,) = [tmp_path]
        await until(lambda: list(directory.glob("*/*.log")), "the log is on disk")
        assert await messages(archive, "f") == ["by itself\n"]


@story
async def test_lines_of_an_environment_that_is_gone_are_kept(tmp_path: Path) -> None:
    async with taking(tmp_path) as (archive, intake):
        intake.open(version("f"), STREAM).lines(1.0, b"last words\n")
        await intake.flush()
        assert await messages(archive, "f") == ["last words\n"]


@story
async def test_a_flood_costs_the_flooder_its_oldest_lines_and_nobody_else_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "BOUND", 200_000)
    monkeypatch.setattr(intakes, "SMALLEST", 10_000)
    async with taking(tmp_path) as (archive, intake):
        quiet = intake.open(version("quiet"), STREAM)
        flooder = intake.open(version("flooder"), STREAM)
        with held(archive):
            quiet.lines(1.0, b"first\n")
            for number in range(50_000):
                flooder.lines(1.0 + number / 1000, b"line %d\n" % number)
            quiet.lines(60.0, b"second\n")
        await intake.flush()
        assert await messages(archive, "quiet") == ["first\n", "second\n"]
        kept = await messages(archive, "flooder")
        dropped = [int(match[1]) for line in kept if (match := re.match(r"LOGS_DROPPED\tLines: (\d+)\t", line))]
        lines = [line for line in kept if line.startswith("line ")]
        assert sum(dropped) + len(lines) == 50_000
        assert lines[-1] == "line 49999\n"
        assert 5_000 < len(lines) < 25_000, "as much as the bound allows, and what had been taken before"


@story
async def test_json_functions_are_told_of_dropped_lines_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "BOUND", 1000)
    monkeypatch.setattr(intakes, "SMALLEST", 100)
    async with taking(tmp_path) as (archive, intake):
        log = intake.open(version("f", log_format="JSON"), STREAM)
        with held(archive):
            for number in range(100):
                log.lines(1.0, b"%090d\n" % number)
        await intake.flush()
        assert any('"type":"platform.logsDropped"' in line for line in await messages(archive, "f"))


@story
async def test_memory_stays_bounded_while_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "FLUSH", 0.01)
    monkeypatch.setattr(intakes, "BOUND", 100_000)
    monkeypatch.setattr(intakes, "SMALLEST", 10_000)
    async with taking(tmp_path) as (archive, intake):
        log = intake.open(version("f"), STREAM)
        queue = log._queue  # pyright: ignore[reportPrivateUsage]
        with held(archive):
            log.lines(1.0, b"a batch is on its way\n")
            intake.hurry()
            for _ in range(20):
                for _ in range(1000):
                    log.lines(1.0, b"")
                queue.seal_all()
                kept = sum(len(found.payload) for _, found in queue.blocks if isinstance(found, Events))
                assert 0 < kept <= intakes.BOUND
        assert kept > 50_000, "it came to the bound"


@story
async def test_a_custom_group_is_shared(tmp_path: Path) -> None:
    async with taking(tmp_path) as (archive, intake):
        for name in ("f", "g"):
            intake.open(version(name, log_group="/aws/lambda/shared"), f"{STREAM}{name}").lines(
                1.0, b"%b\n" % name.encode()
            )
        await intake.flush()
        assert sorted(await messages(archive, "shared")) == ["f\n", "g\n"]
