"""Queued events in SQLite: many changes, one transaction.

Whatever is asked for while a commit runs becomes the next transaction, so that 32 clients don't pay 32 syncs, nor 32
times the statements: each kind of change is one statement for all. What nobody waits for (that an event is done with,
or is to be tried again) may wait a little for more of its kind, so that accepting finds the disk free.

Who has claimed what is kept in memory. Only one process has the data directory, so a claim ends when that process does,
and claiming costs no write. (PostgreSQL will need a lease in the row.)
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lamplighter.model.events import Event
from lamplighter.store.contract import QueueCounts
from lamplighter.store.database import Database, Transaction
from lamplighter.store.sql import events as sql

_GROUP = 256  # changes of one transaction at most: bounds how long the first of them waits for the last
_GROUP_BYTES = 8 << 20  # of the payloads in it
PATIENCE = 0.02  # seconds that what is not urgent waits; as much is done again after a crash
_ROWS = 32  # of one insert: more saves nothing, and each number of rows is a statement of its own


@dataclass(slots=True)
class _Change:
    answer: asyncio.Future[None]
    enqueued: tuple[Event, ...] = ()
    settled: Event | None = None
    then: tuple[Event, ...] = ()
    died: str | None = None
    retried: Event | None = None
    position: int | None = None  # of the event that is settled or retried, if it is claimed

    @property
    def urgent(self) -> bool:
        return bool(self.enqueued or self.then)

    @property
    def size(self) -> int:
        return sum(len(event.payload) for event in (*self.enqueued, *self.then))


class SqliteEventQueue:
    """Implements the EventQueue contract. `patience`: seconds."""

    def __init__(self, database: Database, patience: float = PATIENCE) -> None:
        self._database = database
        self._patience = patience
        self._listeners: list[Callable[[str, float], None]] = []
        self._waiting: deque[_Change] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # set while nothing urgent waits
        self._closing = False
        self._failed = False  # the last transaction: a full disk may still take one that makes room
        self._claimed: dict[str, set[int]] = {}  # positions, by queue
        self._positions: dict[tuple[float, str], int] = {}  # of claimed events, by acceptance and id

    async def close(self) -> None:
        """What was asked for is still written."""
        self._closing = True
        self._write_now()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    def listen(self, callback: Callable[[str, float], None]) -> None:
        self._listeners.append(callback)

    # Changes

    async def enqueue(self, *events: Event) -> None:
        await self._write(_Change(self._answer(), enqueued=events))

    async def settle(self, event: Event, then: Sequence[Event] = (), died: str | None = None) -> None:
        await self._write(
            _Change(self._answer(), settled=event, then=tuple(then), died=died, position=self._claim_of(event))
        )

    async def retry(self, event: Event) -> None:
        await self._write(_Change(self._answer(), retried=event, position=self._claim_of(event)))

    def release(self, events: Iterable[Event]) -> None:
        for event in events:
            self._unclaim(event)

    def _claim_of(self, event: Event) -> int | None:
        return self._positions.get((event.accepted, event.id))

    def _answer(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def _write(self, change: _Change) -> asyncio.Future[None]:
        self._waiting.append(change)
        if change.urgent or len(self._waiting) >= _GROUP:
            self._write_now()
        else:
            self._write_soon()
        return change.answer

    def _write_soon(self) -> None:
        if self._writing is None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._write_now)

    def _write_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None and self._waiting:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        more = True
        while more:
            group = self._next_group()
            try:
                await self._database.write(lambda transaction, group=group: _apply(transaction, group))
            except Exception as error:  # whatever it is, it is for those who wait for this group
                self._failed = True
                for change in group:
                    if not change.answer.done():
                        change.answer.set_exception(error)
            else:
                self._failed = False
                self._committed(group)
            waiting = self._waiting
            more = (
                len(waiting) >= _GROUP or any(change.urgent for change in waiting) or (self._closing and bool(waiting))
            )
        self._writing = None
        if self._waiting:
            self._write_soon()

    def _next_group(self) -> list[_Change]:
        waiting = self._waiting
        if self._failed and (freeing := [change for change in waiting if not change.enqueued]):
            self._failed = False  # what is enqueued comes after it, and may fail alone
            self._waiting = deque(change for change in waiting if change.enqueued)
            return freeing
        group, size = [waiting.popleft()], 0
        while waiting and len(group) < _GROUP and (size := size + group[-1].size) < _GROUP_BYTES:
            group.append(waiting.popleft())
        return group

    def _committed(self, group: list[_Change]) -> None:
        for change in group:
            for event in (change.settled, change.retried):
                if event is not None:
                    self._unclaim(event)
        for change in group:
            if not change.answer.done():
                change.answer.set_result(None)
            for event in (*change.enqueued, *change.then):
                self._tell(event)
            if change.retried is not None:
                self._tell(change.retried)

    def _tell(self, event: Event) -> None:
        for callback in self._listeners:
            callback(event.queue, event.due)

    def _unclaim(self, event: Event) -> None:
        position = self._positions.pop((event.accepted, event.id), None)
        if position is not None:
            claimed = self._claimed[event.queue]
            claimed.remove(position)
            if not claimed:
                del self._claimed[event.queue]

    # Looks

    async def queues(self) -> Mapping[str, float]:
        return dict(self._database.rows(sql.QUEUES))

    async def claim(self, queue: str, limit: int, now: float, largest: int) -> tuple[Sequence[Event], float]:
        claimed = self._claimed.get(queue, frozenset[int]())
        found: dict[int, None] = {}
        room, following = largest, math.inf
        # The claimed ones are among the first, and as few as run at once.
        for position, due, size in self._database.rows(sql.FIRST, (queue, limit + len(claimed) + 1)):
            if position in claimed:
                continue
            if due > now or len(found) == limit or (found and size > room):
                following = due
                break
            found[position] = None
            room -= size
        if not found:
            return (), following
        rows = self._database.rows(sql.READ, (_keys(found),))
        events = _events(rows)
        for (position, *_), event in zip(rows, events, strict=True):
            self._claimed.setdefault(queue, set()).add(position)
            self._positions[event.accepted, event.id] = position
        return events, following

    async def counts(self) -> Sequence[QueueCounts]:
        return read_counts(self._database.rows)

    async def peek(self, queue: str, limit: int) -> Sequence[Event]:
        return _events(self._database.rows(sql.PEEK, (queue, limit)))


def read_counts(rows: Callable[[str], list[Any]]) -> Sequence[QueueCounts]:
    """`rows`: what a statement finds. For those, too, who only look at the database."""
    died: dict[str, dict[str, int]] = {}
    for queue, reason, count in rows(sql.DEATHS):
        died.setdefault(queue, {})[reason] = count
    found = {
        queue: QueueCounts(queue, count - tried, tried, size, oldest, died.get(queue, {}))
        for queue, count, tried, size, oldest in rows(sql.COUNTS)
    }
    for queue in died.keys() - found.keys():
        found[queue] = QueueCounts(queue, 0, 0, 0, None, died[queue])
    return [found[queue] for queue in sorted(found)]


def _apply(transaction: Transaction, group: Sequence[_Change]) -> None:
    """In the writer thread: all of a group's changes."""
    settled: dict[int, _Change] = {}  # by position
    for change in group:
        if change.settled is not None and (position := _position(transaction, change, change.settled)) is not None:
            settled.setdefault(position, change)
    following = {position for position, change in settled.items() if change.then or change.died}
    if following:  # what is not there any more has no consequences again
        following = {position for (position,) in transaction.execute(sql.PRESENT, (_keys(following),))}
    inserted = [event for change in group for event in change.enqueued]
    for position in following:
        change = settled[position]
        inserted.extend(change.then)
        if change.died is not None and change.settled is not None:
            transaction.execute(sql.DIED, (change.settled.queue, change.died))
    for start in range(0, len(inserted), _ROWS):
        rows = inserted[start : start + _ROWS]
        transaction.execute(sql.insert(len(rows)), [value for event in rows for value in _row(event)])
    if settled:
        transaction.execute(sql.DELETE, (_keys(settled),))
    for change in group:
        if (event := change.retried) is not None:
            position = _position(transaction, change, event)
            transaction.execute(sql.RETRY, (event.due, event.attempts, event.state, position))


def _position(transaction: Transaction, change: _Change, event: Event) -> int | None:
    if change.position is not None:
        return change.position
    found = transaction.execute(sql.POSITION, (event.accepted, event.id)).fetchone()
    return None if found is None else found[0]


def _keys(keys: Iterable[int]) -> str:
    return orjson.dumps(list(keys)).decode()


def _row(event: Event) -> tuple[Any, ...]:
    return (
        *(event.id, event.queue, event.due, event.attempts, event.accepted),
        *(len(event.payload), event.head, event.state, event.payload),
    )


def _events(rows: Sequence[Any]) -> list[Event]:
    return [Event(*row[1:]) for row in rows]
