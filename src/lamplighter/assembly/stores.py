"""What is kept: the databases and files of the data directory, opened."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from lamplighter.control.code import Code
from lamplighter.model.clock import Clock
from lamplighter.store.blobs import FileBlobs
from lamplighter.store.database import Database
from lamplighter.store.directory import DataDirectory
from lamplighter.store.events import SqliteEventQueue
from lamplighter.store.records import SqliteRecords
from lamplighter.store.sqlite import SqliteFunctions, SqlitePackageReferences


@dataclass(frozen=True, slots=True)
class Stores:
    directory: DataDirectory
    database: Database
    functions: SqliteFunctions
    references: SqlitePackageReferences
    records: SqliteRecords
    blobs: FileBlobs
    code: Code
    queue: SqliteEventQueue


async def open_stores(stack: AsyncExitStack, directory: DataDirectory, clock: Clock) -> Stores:
    database = Database(directory.database)
    stack.push_async_callback(database.close)
    references = SqlitePackageReferences(database)
    blobs = FileBlobs(directory.blobs)
    return Stores(
        directory,
        database,
        SqliteFunctions(database),
        references,
        SqliteRecords(database),
        blobs,
        Code(blobs, references, directory.code, clock),
        await _event_queue(stack, directory),
    )


async def _event_queue(stack: AsyncExitStack, directory: DataDirectory) -> SqliteEventQueue:
    """In a database file of its own, so that events and the control plane don't wait for each other's commits."""
    database = Database(directory.events)
    stack.push_async_callback(database.close)
    queue = SqliteEventQueue(database)
    stack.push_async_callback(queue.close)
    return queue
