"""`lamplighter queue`: what waits, is retried or died, whether or not somebody serves the data directory, and from
another machine."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamplighter.cli.queue import _bytes, _duration  # pyright: ignore[reportPrivateUsage]
from lamplighter.model.clock import SystemClock
from lamplighter.model.events import Event
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.events import SqliteEventQueue
from support.functions import deploy_with
from support.service import Service, run

HELLO = "invoke:arn:aws:lambda:us-east-1:000000000000:function:hello"
FAILING = "invoke:arn:aws:lambda:us-east-1:000000000000:function:failing"
TARGET = "deliver:arn:aws:sqs:us-east-1:000000000000:told"


def event(id: str, queue: str, age: float = 0.0) -> Event:
    accepted = SystemClock().now() - age
    return Event(id, queue, b'{"n": 1}', b"{}", accepted, accepted)


@asynccontextmanager
async def event_queue(path: Path) -> AsyncIterator[SqliteEventQueue]:
    with DataDirectory(path) as directory:
        database = Database(directory.events)
        try:
            yield SqliteEventQueue(database)
        finally:
            await database.close()


def shown(path: Path) -> list[dict[str, Any]]:
    done = run("queue", "--data-dir", str(path), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


async def fill(queue: SqliteEventQueue) -> None:
    tried = event("3", FAILING, age=90)
    died = event("4", FAILING)
    await queue.enqueue(event("1", HELLO, age=7200), event("2", HELLO, age=10), tried, died, event("5", TARGET))
    await queue.retry(replace(tried, due=SystemClock().now() + 3600, attempts=1))
    await queue.settle(died, died="RetriesExhausted")


def test_it_shows_what_waits_retries_and_died_while_the_directory_is_in_use(tmp_path: Path) -> None:
    async def main() -> None:
        async with event_queue(tmp_path / "data") as queue:
            await fill(queue)
            check(await asyncio.to_thread(shown, tmp_path / "data"))

    asyncio.run(main())
    check(shown(tmp_path / "data"))  # and when nobody has it open


def check(found: list[dict[str, Any]]) -> None:
    target, failing, hello = found
    assert (hello["kind"], hello["arn"]) == ("function", HELLO.removeprefix("invoke:"))
    assert (hello["waiting"], hello["retrying"], hello["bytes"], hello["died"]) == (2, 0, 16, {})
    assert 7200 <= hello["oldest_seconds"] < 7300
    assert hello["next_seconds"] == 0
    assert (failing["waiting"], failing["retrying"], failing["died"]) == (0, 1, {"RetriesExhausted": 1})
    assert 3500 < failing["next_seconds"] <= 3600
    assert (target["kind"], target["arn"], target["waiting"]) == ("target", TARGET.removeprefix("deliver:"), 1)


def test_it_is_read_by_people_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with event_queue(tmp_path / "data") as queue:
            await fill(queue)

    asyncio.run(main())
    done = run("queue", "--data-dir", str(tmp_path / "data"), COLUMNS="120")
    assert done.returncode == 0
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[0] == "for waiting retrying size oldest next died"
    expected = (
        r"sqs told 1 0 8 B \d+ s now",
        r"function failing 0 1 8 B 1 min \d+ s in (1 h|59 min \d+ s) 1 RetriesExhausted",
        r"function hello 2 0 16 B 2 h now",
    )
    for pattern, row in zip(expected, rows[1:], strict=True):
        assert re.fullmatch(pattern, row)


def test_nothing_that_waits_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with event_queue(tmp_path / "data"):
            pass

    asyncio.run(main())
    done = run("queue", "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (0, "No event waits, and none has died.\n")
    assert shown(tmp_path / "data") == []


def test_a_directory_that_was_never_served_is_told(tmp_path: Path) -> None:
    done = run("queue", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"lamplighter: There is no database in {tmp_path} yet; ")


@pytest.mark.parametrize("revision", ["0001", "9999"])
def test_a_database_of_another_release_is_left_alone(tmp_path: Path, revision: str) -> None:
    with DataDirectory(tmp_path / "data") as directory, closing(sqlite3.connect(directory.events)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        connection.commit()
    done = run("queue", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert f"is of another release (revision {revision}," in done.stderr


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"nonsense" * 1000)
    done = run("queue", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be read: file is not a database" in done.stderr


def test_another_machine_is_told_the_same(service: Service, client: Any) -> None:
    name = deploy_with(client, "def handler(event, context):\n    raise ValueError('asked for')")
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    for _ in range(3):  # they fail, and are tried again after a minute
        client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')

    def rows(*options: str, **variables: str) -> list[dict[str, Any]]:
        done = run("queue", "--json", *options, **variables)
        assert (done.returncode, done.stderr) == (0, "")
        return [each for each in json.loads(done.stdout) if each["arn"] == arn]

    elsewhere = {"HOME": "/nonexistent", **service.environment()}  # the data directory is not at hand
    deadline = SystemClock().monotonic() + 30
    while (here := rows("--data-dir", str(service.data_dir)))[0]["retrying"] < 3:
        assert SystemClock().monotonic() < deadline
    there = rows("--endpoint-url", service.url, **elsewhere)
    for row in (*here, *there):
        assert 0 < row.pop("next_seconds") <= 61
        assert 0 <= row.pop("oldest_seconds") < 61
    assert there == here
    assert (there[0]["waiting"], there[0]["retrying"], there[0]["bytes"]) == (0, 3, 24)
    table = run("queue", **elsewhere)
    assert f"function {name}" in table.stdout
    client.delete_function(FunctionName=name)


def test_ages_and_sizes_are_short() -> None:
    ages = {0.4: "0 s", 59.0: "59 s", 60.0: "1 min", 125.0: "2 min 5 s", 21_599.0: "5 h 59 min", 273_600.0: "3 d 4 h"}
    assert {seconds: _duration(seconds) for seconds in ages} == ages
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KB", 1_572_864: "1.5 MB", 1 << 32: "4.0 GB"}
    assert {size: _bytes(size) for size in sizes} == sizes
