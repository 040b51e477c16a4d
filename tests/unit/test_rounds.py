"""Queues are served fairly, with bounded memory, and nobody looks for nothing."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lamplighter.events.contract import Again, Done, Hold, Verdict
from lamplighter.events.rounds import HELD, Rounds
from lamplighter.model.events import Event
from lamplighter.store.database import Database
from lamplighter.store.events import SqliteEventQueue
from support.control import ManualClock, run
from support.events import settled, until


@dataclass
class Served:
    queue: SqliteEventQueue
    clock: ManualClock
    rounds: Rounds
    begun: list[str]
    claims: Counter[str]
    held: int = 0
    most_held: int = 0

    async def put(self, name: str, count: int, payload: bytes = b"{}", delay: float = 0.0) -> None:
        now = self.clock.time
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            await self.queue.enqueue(
                *(Event(f"{name} {number}", f"w:{name}", payload, b"", now, now + delay) for number in numbers)
            )

    async def look(self, seconds: float) -> None:
        self.clock.time += seconds
        self.rounds.look()
        await settled()

    async def empty(self) -> None:
        async with asyncio.timeout(60):
            while await self.queue.queues():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(0.005)


class RunningClock(ManualClock):
    """For tests in which it matters how long work takes."""

    def monotonic(self) -> float:
        return time.monotonic()


class Working:
    def __init__(self, run: Callable[[Event], Awaitable[Verdict]]) -> None:
        self.run: Any = run


@asynccontextmanager
async def served(
    path: Path,
    work: Callable[[Event], Awaitable[Verdict]],
    slots: int = 1000,
    entered: bool = True,
    clock: ManualClock | None = None,
) -> AsyncGenerator[Served]:
    """Queues `w:NAME`, of which each event is given to `work`."""
    database = Database(path / "test.db")
    queue, clock = SqliteEventQueue(database, patience=0.0), clock or ManualClock()

    async def noted(event: Event) -> Verdict:
        s.begun.append(event.queue[2:])
        return await work(event)

    rounds = Rounds(queue, {"w:": Working(noted)}, clock, slots)
    s = Served(queue, clock, rounds, [], Counter())
    _watch(s, queue)
    try:
        if entered:
            await rounds.__aenter__()
        yield s
    finally:
        await rounds.drain(0.2)
        await queue.close()
        await database.close()


def _watch(s: Served, queue: SqliteEventQueue) -> None:
    """Count the claims, and the bytes that they hold until they are given back."""
    claim, settle, release = queue.claim, queue.settle, queue.release

    async def watched_claim(name: str, limit: int, now: float, largest: int) -> tuple[Sequence[Event], float]:
        s.claims[name[2:]] += 1
        events, following = await claim(name, limit, now, largest)
        s.held += sum(len(event.payload) for event in events)
        s.most_held = max(s.most_held, s.held)
        return events, following

    async def watched_settle(event: Event, then: Sequence[Event] = (), died: str | None = None) -> None:
        await settle(event, then, died)
        s.held -= len(event.payload)

    def watched_release(events: Sequence[Event]) -> None:
        s.held -= sum(len(event.payload) for event in events)
        release(events)

    queue.claim, queue.settle, queue.release = watched_claim, watched_settle, watched_release  # type: ignore[method-assign]


async def done(event: Event) -> Verdict:
    return Done()


async def hang(event: Event) -> Verdict:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody ends it")


def test_whatever_is_enqueued_is_done_once(tmp_path: Path):
    async def main() -> None:
        async with served(tmp_path, done) as s:
            await asyncio.gather(*(s.put(name, 300) for name in "abcdefgh"))
            await s.empty()
            assert Counter(s.begun) == dict.fromkeys("abcdefgh", 300)

    run(main)


def test_a_backlog_of_one_function_does_not_keep_another_waiting(tmp_path: Path):
    async def main() -> None:
        async def some_time(event: Event) -> Verdict:
            await asyncio.sleep(0)
            return Done()

        async with served(tmp_path, some_time, clock=RunningClock()) as s:
            await s.put("hog", 20_000)
            for number in range(40):
                await s.put(f"other {number}", 1)
                accepted = len(s.begun)
                await until(lambda name=f"other {number}": name in s.begun)
                assert s.begun.index(f"other {number}") <= accepted + 3 * 32  # a few rounds
            assert s.begun.count("hog") < 20_000, "too fast to tell"

    run(main)


@pytest.mark.parametrize("hogs", [1, 3, 9])
def test_functions_that_hang_leave_room_for_others(tmp_path: Path, hogs: int):
    async def main() -> None:
        async def hang_or_not(event: Event) -> Verdict:
            return await (hang(event) if "hog" in event.queue else done(event))

        async with served(tmp_path, hang_or_not, slots=100) as s:
            for number in range(hogs):
                await s.put(f"hog {number}", 300)
            for _ in range(20):
                await s.look(1.0)
            running = Counter(s.begun)
            assert max(running.values()) <= 50
            assert min(running.values()) >= 8
            assert 100 - running.total() >= 6
            await s.put("other", 50)
            await until(lambda: s.begun.count("other") == 50)

    run(main)


def test_a_function_that_always_fails_is_not_tried_before_it_is_due(tmp_path: Path):
    async def main() -> None:
        async def fail(event: Event) -> Verdict:
            again = replace(event, due=s.clock.time + 60, attempts=event.attempts + 1)
            return Done() if event.attempts == 2 else Again(again)

        async with served(tmp_path, fail) as s:
            await s.put("f", 500)
            for attempts in (500, 1000):
                await until(lambda attempts=attempts: len(s.begun) == attempts)
                await s.look(59)
                assert len(s.begun) == attempts
                await s.look(1)
            await s.empty()
            assert len(s.begun) == 1500

    run(main)


def test_large_payloads_are_not_all_in_memory(tmp_path: Path):
    async def main() -> None:
        async def hang_or_not(event: Event) -> Verdict:
            return await (hang(event) if "hog" in event.queue else done(event))

        async with served(tmp_path, hang_or_not) as s:
            await s.put("hog", 90, b"x" * 1_000_000)
            for _ in range(20):
                await s.look(1.0)
            assert s.held < HELD // 2 + 2_000_000
            await s.put("other", 20, b"x" * 1_000_000)
            await until(lambda: s.begun.count("other") == 20)
            assert s.most_held < HELD

    run(main)


def test_a_slow_function_gets_more_at_once_and_a_fast_one_needs_few(tmp_path: Path):
    async def main() -> None:
        running: Counter[str] = Counter()
        most: Counter[str] = Counter()

        async def work(event: Event) -> Verdict:
            name = event.queue
            running[name] += 1
            most[name] = max(most[name], running[name])
            if "slow" in name:
                ends.append(ended := asyncio.get_running_loop().create_future())
                await ended
            running[name] -= 1
            return Done()

        ends: list[asyncio.Future[None]] = []
        async with served(tmp_path, work) as s:
            await s.put("fast", 1000)
            await s.empty()
            await s.put("slow", 400)
            for _ in range(10):
                await settled()
                s.clock.time += 1.0  # each takes a second
                for ended in ends:
                    if not ended.done():
                        ended.set_result(None)
            await settled()
            assert most["w:fast"] <= 16
            assert most["w:slow"] > 50
            for ended in ends:
                if not ended.done():
                    ended.set_result(None)

    run(main)


def test_a_queue_that_is_held_wakes_when_it_is_told_or_after_a_while(tmp_path: Path):
    async def main() -> None:
        wakers: list[Callable[[], None]] = []
        free = False

        async def work(event: Event) -> Verdict:
            return Done() if free else Hold(wakers.append)

        async with served(tmp_path, work) as s:
            await s.put("f", 30)
            await settled()
            tried = len(s.begun)
            assert 1 <= tried <= 8
            await settled()
            assert len(s.begun) == tried
            await s.look(1.0)
            assert tried < len(s.begun) <= tried + 2
            free = True
            wakers[-1]()
            await s.empty()
            assert s.clock.time == ManualClock().time + 1.0

    run(main)


def test_nobody_looks_while_nothing_happens(tmp_path: Path):
    async def main() -> None:
        async with served(tmp_path, hang) as s:
            await s.put("later", 5, delay=100)
            await s.put("now", 300)
            await settled()
            claims = s.claims.total()
            await s.put("later", 5, delay=100)
            for _ in range(20):
                await settled()
            assert s.claims.total() - claims <= 1

    run(main)


def test_a_bug_in_the_work_loses_nothing_and_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        broken = True

        async def work(event: Event) -> Verdict:
            if broken:
                raise KeyError("a bug")
            return Done()

        async with served(tmp_path, work) as s:
            await s.put("f", 3)
            await settled()
            assert len(s.begun) == 3
            broken = False
            await s.look(60)
            await s.empty()

    run(main)
    assert "a bug" in caplog.text


def test_events_that_waited_before_the_start_are_served(tmp_path: Path):
    async def main() -> None:
        async with served(tmp_path, done, entered=False) as s:
            for name in "abc":
                await s.put(name, 20)
            await s.rounds.__aenter__()
            await s.empty()
            assert Counter(s.begun) == dict.fromkeys("abc", 20)

    run(main)


def test_any_mixture_of_ends_comes_to_its_end(tmp_path: Path):
    async def main() -> None:
        chance = random.Random(1)
        wakers: list[Callable[[], None]] = []

        async def work(event: Event) -> Verdict:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            kind = chance.random()
            if kind < 0.6:
                return Done()
            if kind < 0.7:
                return Hold(wakers.append)
            again = replace(event, due=s.clock.time + chance.choice((0, 0.5, 60)), attempts=event.attempts + 1)
            return Again(again, pause=kind < 0.8)

        async with served(tmp_path, work, slots=20) as s:
            for name in range(10):
                await s.put(str(name), 40)
            async with asyncio.timeout(50):
                while await s.queue.queues():
                    s.clock.time += 7
                    s.rounds.look()
                    if wakers and chance.random() < 0.5:
                        wakers.pop(chance.randrange(len(wakers)))()
                    await asyncio.sleep(0.002)
            assert len(s.begun) >= 400

    run(main)
