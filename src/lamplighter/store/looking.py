"""A look into the database of a data directory, for commands: it changes nothing, and a server may have it open."""

import json
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lamplighter.store import schema
from lamplighter.store.contract import QueueCounts
from lamplighter.store.events import read_counts
from lamplighter.store.sql import events as sql
from lamplighter.store.sql import functions

BUSY = 5.0  # seconds to wait for a server that is just making the database


class CannotLook(Exception):
    """The text is one sentence for the operator, with the remedy."""


class Queues(NamedTuple):
    """`due`: when the first event of a queue is to be tried (again), seconds since the epoch."""

    counts: Sequence[QueueCounts]
    due: Mapping[str, float]


def queues(database: Path) -> Queues:
    """Raises CannotLook."""
    with _looking(database) as connection:

        def rows(statement: str) -> list[Any]:
            return connection.execute(statement).fetchall()

        return Queues(read_counts(rows), dict(rows(sql.QUEUES)))


def tags(database: Path) -> Mapping[tuple[str, str, str], Mapping[str, str]]:
    """Those of every function, by account, region and name. Raises CannotLook."""
    with _looking(database) as connection:
        rows = connection.execute(functions.ALL_TAGS)
        return {(account, region, name): json.loads(found) for account, region, name, found in rows}


@contextmanager
def _looking(database: Path) -> Generator[sqlite3.Connection]:
    """All that is read sees one moment."""
    if not _is_there(database):
        raise CannotLook(
            f"There is no database in {database.parent} yet; the first start of the service makes it, "
            "or name the directory that it uses with --data-dir."
        )
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as connection:
            found = schema.revision_of(connection)
            if found != schema.HEAD:
                raise CannotLook(
                    f"The database {database} is of another release (revision {found}, this one knows {schema.HEAD}); "
                    "use the command of the release that serves it."
                )
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise CannotLook(
            f"The database {database} cannot be read: {error}; do this as root or as the user who runs the service."
        ) from error


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # for all we know; opening it tells more
