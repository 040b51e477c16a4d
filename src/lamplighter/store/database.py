"""SQLite as we use it: one writer thread that commits in groups, and reads in the event loop.

A write is a callable that is given a Transaction. The thread runs all that wait inside one SQLite transaction, each in
a savepoint of its own, and commits them with one fsync; only then does anybody hear of success. A read is tens of
microseconds on a second connection, less than a trip to a thread would cost.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from lamplighter.model.functions import FunctionId
from lamplighter.store import schema
from lamplighter.store.contract import StoreFailed
from lamplighter.store.sql import changes as sql

T = TypeVar("T")
Parameters = Sequence[Any] | dict[str, Any]

LARGEST_GROUP = 256  # writes of one commit: bounds how long the first of them waits for the last
WRITE_DEADLINE = 30.0  # seconds; a disk that takes longer is a broken one
BUSY = 5.0  # seconds to wait for another process that looks into the database

log = logging.getLogger(__name__)


class Transaction:
    """One write, in its savepoint. Whatever it raises undoes it, and it alone."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[FunctionId] = []

    def execute(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    def changed(self, id: FunctionId) -> None:
        """Listeners hear of it after the commit."""
        self.execute(sql.BUMP, (id.account, id.region, id.name))
        self.changes.append(id)


@dataclass(slots=True)
class _Write(Generic[T]):
    run: Callable[[Transaction], T]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None
    changes: list[FunctionId] = field(default_factory=list[FunctionId])
    abandoned: bool = False  # nobody waits any more: not to be begun


class Database:
    """Implements the Changes contract. Open from construction (which raises DataDirectoryUnusable) to `close`."""

    def __init__(self, path: Path) -> None:
        schema.prepare(path)
        self._writer = self._connect(path)
        self._reader = self._connect(path)
        self._reader.execute("PRAGMA query_only = ON")
        self._queue: queue.SimpleQueue[_Write[Any] | None] = queue.SimpleQueue()
        self._listeners: list[Callable[[FunctionId], None]] = []
        self._thread = threading.Thread(target=self._write_all, name="store writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Writes that wait are still done."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, WRITE_DEADLINE)
        self._reader.close()
        self._writer.close()

    def listen(self, callback: Callable[[FunctionId], None]) -> None:
        self._listeners.append(callback)

    async def sequence(self) -> int:
        return self.rows(sql.SEQUENCE)[0][0]

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Read what is committed. Raises StoreFailed."""
        try:
            return self._reader.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            log.error("cannot read from the database: %s", error)
            raise StoreFailed from error

    async def write(self, run: Callable[[Transaction], T]) -> T:
        """Durable when it returns; what `run` raises is raised here. Raises StoreFailed when the disk fails.

        A caller that is cancelled still waits: whoever cleans up has to know what became of the write."""
        loop = asyncio.get_running_loop()
        write = _Write(run, loop, loop.create_future())
        self._queue.put(write)
        try:
            await asyncio.wait((write.answer,), timeout=WRITE_DEADLINE)
        except asyncio.CancelledError:
            await asyncio.wait((write.answer,), timeout=WRITE_DEADLINE)
            if write.answer.done():
                write.answer.exception()  # seen, so that nobody complains
            raise
        if not write.answer.done():
            write.abandoned = True
            log.error("the database did not commit within %s s", WRITE_DEADLINE)
            raise StoreFailed
        return write.answer.result()

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL would lose commits when power fails
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    # The writer thread.

    def _write_all(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            closing = False
            while len(group) < LARGEST_GROUP and not closing:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    closing = True
                else:
                    group.append(following)
            self._write_group(group)
            if closing:
                return

    def _write_group(self, group: list[_Write[Any]]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write in group:
                if not write.abandoned:
                    self._write_one(write)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            log.error("cannot write to the database: %s", error)
            with contextlib.suppress(sqlite3.Error):  # it may have rolled back on its own
                self._writer.execute("ROLLBACK")
            for write in group:
                write.result, write.changes = None, []
                write.error = StoreFailed()
                write.error.__cause__ = error
        try:
            group[0].loop.call_soon_threadsafe(self._answer, group)
        except RuntimeError:
            log.info("nobody waits for the last writes: the event loop is closed")

    def _write_one(self, write: _Write[Any]) -> None:
        """Raises sqlite3.Error only when SQLite gave up the whole transaction."""
        transaction = Transaction(self._writer)
        self._writer.execute("SAVEPOINT one")
        try:
            write.result = write.run(transaction)
            write.changes = transaction.changes
        except Exception as error:  # whatever a write raises is for its caller, not for this thread
            if not self._writer.in_transaction:  # a full or broken disk: SQLite has rolled back on its own
                raise sqlite3.OperationalError(str(error)) from error
            self._writer.execute("ROLLBACK TO one")
            write.result, write.changes, write.error = None, [], error
            if isinstance(error, sqlite3.Error):
                log.error("cannot write to the database: %s", error)
                write.error = StoreFailed()
                write.error.__cause__ = error
        self._writer.execute("RELEASE one")

    def _answer(self, group: list[_Write[Any]]) -> None:
        """In the event loop, after the commit: first the listeners, so that nobody reads a stale cache."""
        for write in group:
            for id in write.changes:
                self._tell(id)
        for write in group:
            if write.error is not None:
                write.answer.set_exception(write.error)
            else:
                write.answer.set_result(write.result)

    def _tell(self, id: FunctionId) -> None:
        for callback in self._listeners:
            try:
                callback(id)
            except Exception:  # a bug of one listener must not keep the others and the writers waiting
                log.exception("a listener to changes failed")
