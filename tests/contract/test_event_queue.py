"""What every EventQueue promises. SQLite is the one implementation yet; PostgreSQL joins `QUEUES`."""

import asyncio
import math
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lamplighter.model.events import Event
from lamplighter.store.contract import EventQueue, StoreFailed
from lamplighter.store.database import Database, Transaction
from lamplighter.store.events import SqliteEventQueue
from lamplighter.store.sql import events as sql
from support.control import run

NOW = 1_750_000_000.25
PLENTY = 1 << 30  # bytes

Open = Callable[[], AbstractAsyncContextManager[EventQueue]]


@asynccontextmanager
async def sqlite(path: Path) -> AsyncGenerator[SqliteEventQueue]:
    database = Database(path / "test.db")
    try:
        queue = SqliteEventQueue(database)
        yield queue
        await queue.close()
    finally:
        await database.close()


QUEUES = [sqlite]


@pytest.fixture(params=QUEUES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the queue, every time the same one."""
    return lambda: request.param(tmp_path)


def event(id: str, queue: str = "q:1", due: float = NOW, payload: bytes = b"{}") -> Event:
    return Event(id, queue, payload, b"head of " + id.encode(), due, due)


async def ids(queue: EventQueue, name: str = "q:1", limit: int = 100, now: float = NOW) -> list[str]:
    return [claimed.id for claimed in (await queue.claim(name, limit, now, PLENTY))[0]]


def test_an_event_comes_out_as_it_went_in_and_only_once(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            went_in = Event("a", "q:1", bytes(range(256)), b"\xffhead", NOW - 5, NOW, 2, b"\x00state")
            await queue.enqueue(went_in)
            assert await queue.claim("q:1", 10, NOW, PLENTY) == ([went_in], math.inf)
            assert await ids(queue) == []

    run(main)


def test_what_was_enqueued_is_there_after_a_new_start_and_claims_are_not(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(event("a"), event("b"), event("c", "q:2", NOW + 9))
            assert await ids(queue, limit=1) == ["a"]
        async with opened() as queue:
            assert await queue.queues() == {"q:1": NOW, "q:2": NOW + 9}
            assert await ids(queue) == ["a", "b"]

    run(main)


def test_enqueueing_twice_is_enqueueing_once(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await asyncio.gather(*(queue.enqueue(event("a", payload=b"%d" % number)) for number in range(5)))
            await queue.enqueue(replace(event("a"), due=NOW - 60))
            claimed, _ = await queue.claim("q:1", 10, NOW, PLENTY)
            assert [(each.id, each.payload, each.due) for each in claimed] == [("a", b"0", NOW)]
            await queue.settle(claimed[0])
            assert await queue.queues() == {}

    run(main)


def test_events_come_by_the_time_they_are_due_and_not_before(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(event("late", due=NOW + 2), event("b", due=NOW), event("a", due=NOW - 1))
            claimed, following = await queue.claim("q:1", 10, NOW, PLENTY)
            assert ([each.id for each in claimed], following) == (["a", "b"], NOW + 2)
            assert await queue.claim("q:1", 10, NOW + 1.99, PLENTY) == ((), NOW + 2)
            assert await ids(queue, now=NOW + 2) == ["late"]

    run(main)


def test_a_claim_says_when_the_next_one_is_due_if_that_is_now(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(*(event(str(number), due=NOW + number) for number in range(3)))
            _, following = await queue.claim("q:1", 2, NOW + 9, PLENTY)
            assert following == NOW + 2

    run(main)


def test_a_claim_is_bounded_in_bytes_but_gets_somewhere(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(*(event(str(number), due=NOW + number / 10, payload=b"x" * 600) for number in range(3)))
            for expected in ("0", "1", "2"):
                claimed, _ = await queue.claim("q:1", 9, NOW + 1, 1000)
                assert [each.id for each in claimed] == [expected]
            await queue.enqueue(event("huge", payload=b"x" * 5000))
            claimed, _ = await queue.claim("q:1", 9, NOW + 1, 1000)
            assert [each.id for each in claimed] == ["huge"]

    run(main)


def test_a_retried_event_has_what_its_attempt_left(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(event("a", payload=b"x" * 10_000))
            (claimed,), _ = await queue.claim("q:1", 1, NOW, PLENTY)
            again = replace(claimed, due=NOW + 60, attempts=1, state=b"it failed")
            await queue.retry(again)
            assert await ids(queue, now=NOW + 59) == []
        async with opened() as queue:
            assert await queue.claim("q:1", 1, NOW + 60, PLENTY) == ([again], math.inf)

    run(main)


def test_a_released_event_is_as_it_was(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(event("a"), event("b"))
            claimed, _ = await queue.claim("q:1", 9, NOW, PLENTY)
            queue.release(claimed[:1])
            assert await ids(queue) == ["a"]

    run(main)


def test_what_follows_comes_with_the_settling_once(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(event("a"))
            (claimed,), _ = await queue.claim("q:1", 1, NOW, PLENTY)
            following = [event("record", "deliver:x"), event("letter", "deliver:y")]
            await asyncio.gather(*(queue.settle(claimed, following, died="RetriesExhausted") for _ in range(2)))
            assert await queue.queues() == {"deliver:x": NOW, "deliver:y": NOW}
            for each in (*(await queue.claim("deliver:x", 1, NOW, PLENTY))[0], *await queue.peek("deliver:y", 1)):
                await queue.settle(each)
            await queue.settle(claimed, following, died="RetriesExhausted")
            assert await queue.queues() == {}
            assert [(counts.queue, counts.died) for counts in await queue.counts()] == [
                ("q:1", {"RetriesExhausted": 1})
            ]

    run(main)


def test_listeners_hear_of_events_once_they_can_be_claimed(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            heard: list[tuple[str, float]] = []
            queue.listen(lambda name, due: heard.append((name, due)))
            await queue.enqueue(event("a"))
            (claimed,), _ = await queue.claim("q:1", 1, NOW, PLENTY)
            await queue.retry(replace(claimed, due=NOW + 1))
            (claimed,), _ = await queue.claim("q:1", 1, NOW + 1, PLENTY)
            await queue.settle(claimed, [event("b", "q:2", NOW + 5)])
            await asyncio.sleep(0)
            assert heard == [("q:1", NOW), ("q:1", NOW + 1), ("q:2", NOW + 5)]

    run(main)


def test_counts_tell_what_waits_is_retried_and_died(opened: Open):
    async def main() -> None:
        async with opened() as queue:
            await queue.enqueue(*(event(str(number), due=NOW + number, payload=b"12345") for number in range(4)))
            first, second = (await queue.claim("q:1", 2, NOW + 9, PLENTY))[0]
            await queue.settle(first, died="EventAgeExceeded")
            await queue.retry(replace(second, attempts=1))
            await queue.enqueue(event("other", "q:2", NOW + 7))
            one, two = await queue.counts()
            assert one == ("q:1", 2, 1, 15, NOW + 1, {"EventAgeExceeded": 1})
            assert two == ("q:2", 1, 0, 2, NOW + 7, {})
            assert [each.id for each in await queue.peek("q:1", 2)] == ["1", "2"]

    run(main)


def test_a_full_disk_keeps_nothing_of_the_write_lets_others_settle_and_recovers(tmp_path: Path):
    async def main() -> None:
        database = Database(tmp_path / "test.db")
        queue = SqliteEventQueue(database)
        await queue.enqueue(*(event(str(number), payload=b"x" * 50_000) for number in range(4)))

        async def limit(pages: int) -> None:
            await database.write(lambda transaction: _limit(transaction, pages))

        await limit(database.rows("PRAGMA page_count")[0][0] + 5)
        claimed, _ = await queue.claim("q:1", 2, NOW, PLENTY)
        results = await asyncio.gather(
            *(queue.enqueue(event(f"large {number}", payload=b"x" * 1_000_000)) for number in range(3)),
            queue.settle(claimed[0]),
            return_exceptions=True,
        )
        for failure in results:
            assert isinstance(failure, StoreFailed)
            assert failure.status == 500
        with pytest.raises(StoreFailed):  # clients keep coming
            await asyncio.gather(queue.enqueue(event("large", payload=b"x" * 1_000_000)), queue.settle(claimed[0]))
        queue.release(claimed[1:])
        assert await ids(queue) == ["1", "2", "3"]  # and no phantom
        await limit(1_000_000)
        await queue.enqueue(event("large", payload=b"x" * 1_000_000))
        assert await ids(queue) == ["large"]
        await queue.close()
        await database.close()

    run(main)


def _limit(transaction: Transaction, pages: int) -> None:
    transaction.execute(f"PRAGMA max_page_count = {pages}")


def test_32_clients_do_not_pay_32_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def main() -> None:
        database = Database(tmp_path / "test.db")
        queue = SqliteEventQueue(database)
        commits = 0
        write = database.write

        async def counted(run: Callable[[Transaction], Any]) -> Any:
            nonlocal commits
            commits += 1
            return await write(run)

        monkeypatch.setattr(database, "write", counted)
        await asyncio.gather(*(queue.enqueue(event(str(number))) for number in range(320)))
        assert commits <= 4
        await queue.close()
        await database.close()

    run(main)


def test_neither_claims_nor_a_new_start_take_longer_with_a_great_backlog(tmp_path: Path):
    """Of what a backlog could cost, the steps SQLite takes: times would tell of the machine."""

    async def main() -> None:
        steps: dict[int, int] = {}
        for backlog in (300, 30_000):
            path = tmp_path / f"{backlog}.db"
            database = Database(path)
            queue = SqliteEventQueue(database)
            for start in range(0, backlog, 5000):
                numbers = range(start, min(start + 5000, backlog))
                await queue.enqueue(*(event(str(number), f"q:{number % 3}", NOW + number) for number in numbers))
            await queue.close()
            await database.close()
            steps[backlog] = _steps(path)
        assert steps[30_000] < steps[300] * 1.5

    run(main)


def _steps(path: Path) -> int:
    """Of SQLite's machine, for the reads of a start and of a claim."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(step, 1)
        connection.execute(sql.QUEUES).fetchall()
        positions = [position for position, *_ in connection.execute(sql.FIRST, ("q:1", 17))]
        connection.execute(sql.READ, (str(positions),)).fetchall()
    return taken


class Reference(RuleBasedStateMachine):
    """Any sequence of calls, beside a dictionary that says what has to come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.events: dict[str, Event] = {}
        self.claimed: dict[str, Event] = {}
        self.died = 0
        self.now = NOW
        self.numbers = 0
        self._open()

    def _open(self) -> None:
        self.opened = sqlite(Path(self.directory.name))
        self.queue = self._run(self.opened.__aenter__())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 10))

    def teardown(self) -> None:
        self._run(self.opened.__aexit__(None, None, None))
        self.loop.close()
        self.directory.cleanup()

    @rule(count=st.integers(1, 40), queue=st.sampled_from(["q:1", "q:2"]), delay=st.integers(-5, 5))
    def enqueue(self, count: int, queue: str, delay: int) -> None:
        ids = [f"{self.numbers + number}" for number in range(count)]
        new = [replace(event(id, queue, self.now + delay), accepted=NOW) for id in ids]
        self.numbers += count // 2 + 1  # the next one repeats some
        for each in new:
            if each.id not in self.events:
                self.events[each.id] = each
        self._run(self.queue.enqueue(*new))

    @rule(queue=st.sampled_from(["q:1", "q:2"]), limit=st.integers(1, 20))
    def claim(self, queue: str, limit: int) -> None:
        free = [each for id, each in self.events.items() if each.queue == queue and id not in self.claimed]
        due = sorted(each.due for each in free if each.due <= self.now)[:limit]
        claimed, following = self._run(self.queue.claim(queue, limit, self.now, PLENTY))
        assert [each.due for each in claimed] == due
        left = [each.due for each in free if each not in claimed]
        assert following == min(left, default=math.inf)
        for each in claimed:
            assert self.events[each.id] == each
            assert each.id not in self.claimed
            self.claimed[each.id] = each

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), died=st.booleans(), follows=st.booleans())
    def settle(self, data: st.DataObject, died: bool, follows: bool) -> None:
        each = self.claimed.pop(data.draw(st.sampled_from(sorted(self.claimed))))
        then = [replace(event(f"after {each.id}", "q:2", self.now), accepted=NOW)] if follows else []
        self._run(self.queue.settle(each, then, "why" if died else None))
        self.died += died
        del self.events[each.id]
        self.events.update((following.id, following) for following in then if following.id not in self.events)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), delay=st.integers(0, 5))
    def retry(self, data: st.DataObject, delay: int) -> None:
        each = self.claimed.pop(data.draw(st.sampled_from(sorted(self.claimed))))
        again = replace(each, due=self.now + delay, attempts=each.attempts + 1, state=b"%d" % delay)
        self.events[each.id] = again
        self._run(self.queue.retry(again))

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.queue.release([self.claimed.pop(data.draw(st.sampled_from(sorted(self.claimed))))])

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def start_anew(self) -> None:
        self._run(self.opened.__aexit__(None, None, None))
        self.claimed.clear()
        self._open()

    @invariant()
    def the_counts_are_right(self) -> None:
        counts = self._run(self.queue.counts())
        assert sum(each.waiting + each.retrying for each in counts) == len(self.events)
        assert sum(each.retrying for each in counts) == sum(each.attempts > 0 for each in self.events.values())
        assert sum(sum(each.died.values()) for each in counts) == self.died
        firsts: dict[str, float] = {}
        for each in self.events.values():
            firsts[each.queue] = min(each.due, firsts.get(each.queue, math.inf))
        assert self._run(self.queue.queues()) == firsts


TestReference = Reference.TestCase
TestReference.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
