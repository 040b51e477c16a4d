"""Metered usage on disk, in a database file of its own: no commit of the control plane or the queue waits for it.

Each run of the service has rows of its own, which it replaces with its totals so far, never adds to. So a write that is
repeated, or of which nobody knows whether it happened, changes nothing. What is older is gathered into days, and then
into months, so that the file grows with the functions that there are, not with the years.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lamplighter.model.metering import HOUR, Key, Totals
from lamplighter.store.contract import DataDirectoryUnusable, StoreFailed
from lamplighter.store.looking import BUSY, CannotLook
from lamplighter.store.sql import usage as sql

Row = tuple[str, Key, Totals]  # the first: which run
Owner = tuple[str, str, str]  # account, region and function
Tags = Mapping[str, str]

HOURS_KEPT: Final = 72  # of what is counted by the hour; a bill needs no more than days
DAYS_KEPT: Final = 400  # of what is counted by the day, and by version


class UsageLedger:
    """Open from construction, which raises DataDirectoryUnusable, to `close`. One thread at a time may write."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version = _version(self._connection)
            if version == 0:
                self._become(f"{sql.CREATE}; {sql.CREATE_TAGS}", 3)
            if version == 1:
                self._become(sql.CREATE_TAGS, 2)
            if version in (1, 2):
                self._become(sql.ADD_SNAPSHOTS, 3)
        except sqlite3.Error as error:
            raise DataDirectoryUnusable(
                f"The database {path} cannot be opened: {error}; is the disk full or the file damaged? "
                "Restore it from a backup, or give another --data-dir."
            ) from error
        if version > sql.VERSION:
            raise DataDirectoryUnusable(_foreign(path, version))

    def _become(self, script: str, version: int) -> None:
        self._connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {version}; COMMIT;")

    def write(self, rows: Iterable[Row], tags: Mapping[Owner, Tags] | None = None) -> None:
        """`tags`: of functions, in place of those before. Durable when it returns. Raises StoreFailed, and then nothing
        of it is kept."""
        kept = [(*owner, json.dumps(found)) for owner, found in (tags or {}).items()]
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(sql.REPLACE, [(run, *key, *totals) for run, key, totals in rows])
                self._connection.executemany(sql.KEEP_TAGS, kept)
        except sqlite3.Error as error:
            raise StoreFailed from error

    def gather(self, live: Collection[str]) -> None:
        """What is old, by days and months, but for runs that still may write. Raises StoreFailed, and then all is as it
        was."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                newest: int | None = self._connection.execute(sql.NEWEST).fetchone()[0]
                if newest is None:
                    return
                known = {"live": json.dumps(sorted(live))}
                day = (newest - HOURS_KEPT) // 24 * 24
                self._connection.execute(sql.BY_DAY, {"run": "day", "before": day, **known})
                self._connection.execute(sql.BY_DAY_DONE, {"before": day, **known})
                old = datetime.fromtimestamp((newest - DAYS_KEPT * 24) * HOUR, UTC)
                month = int(datetime(old.year, old.month, 1, tzinfo=UTC).timestamp()) // HOUR
                self._connection.execute(sql.BY_MONTH, {"run": "month", "before": month, **known})
                self._connection.execute(sql.BY_MONTH_DONE, {"before": month, **known})
                self._connection.execute(sql.FORGET_TAGS)
        except sqlite3.Error as error:
            raise StoreFailed from error

    def close(self) -> None:
        self._connection.close()


def usage_between(path: Path, first: int, last: int) -> Sequence[tuple[Key, Totals]]:
    """What all runs counted from the hour `first` until before `last`. Changes nothing; a server may have it open.

    Raises CannotLook."""
    return _between(path, sql.BETWEEN, first, last)


def usage_by_day(path: Path, first: int, last: int) -> Sequence[tuple[Key, Totals]]:
    """As `usage_between`, without versions, and with the first hour of the day for each."""
    return _between(path, sql.BY_DAY_BETWEEN, first, last)


def _between(path: Path, statement: str, first: int, last: int) -> Sequence[tuple[Key, Totals]]:
    if not path.exists():
        return ()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as connection:
            version = _version(connection)
            if version > sql.VERSION:
                raise CannotLook(_foreign(path, version))
            if version == 0:
                return ()
            split = len(Key._fields)
            found = connection.execute(statement.format(sums=sql.sums(version)), (first, last))
            return [(Key(*row[:split]), Totals(*row[split:])) for row in found]
    except sqlite3.Error as error:
        raise CannotLook(
            f"The database {path} cannot be read: {error}; do this as root or as the user who runs the service."
        ) from error


def kept_tags(path: Path) -> Mapping[Owner, Tags]:
    """Of functions that usage was counted for, as they were last; deleted ones too. Raises CannotLook."""
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as connection:
            if _version(connection) < 2:
                return {}
            return {tuple(owner): json.loads(found) for *owner, found in connection.execute(sql.TAGS)}
    except sqlite3.Error as error:
        raise CannotLook(
            f"The database {path} cannot be read: {error}; do this as root or as the user who runs the service."
        ) from error


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _foreign(path: Path, version: int) -> str:
    return (
        f"The database {path} was written by a newer release of Lamplighter (version {version}, this one knows "
        f"{sql.VERSION}); use that release."
    )
