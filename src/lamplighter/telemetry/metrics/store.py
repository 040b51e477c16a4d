"""Metrics on disk: one row per metric and minute, in a database file of its own, for 15 days.

What is added to a minute that is there already is merged into it, in one transaction per batch: a batch is there as a
whole or not at all. Not for the event loop: each call waits for the disk, and one thread at a time may make them.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter.store.contract import DataDirectoryUnusable, StoreFailed
from lamplighter.telemetry.metrics.distribution import Distribution, unpacked

KEPT: Final = 15 * 86_400  # seconds
MINUTE: Final = 60
CUSTOM_SERIES: Final = 50_000  # metrics of namespaces other than AWS/Lambda; what comes beyond is not kept
_VERSION: Final = 1
_CREATE: Final = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    dimensions TEXT NOT NULL, unit TEXT NOT NULL, last INTEGER NOT NULL,
    UNIQUE (account, region, namespace, name, dimensions, unit));
CREATE TABLE points (
    series INTEGER NOT NULL, minute INTEGER NOT NULL, count REAL NOT NULL, total REAL NOT NULL, minimum REAL NOT NULL,
    maximum REAL NOT NULL, packed TEXT NOT NULL, PRIMARY KEY (series, minute)) WITHOUT ROWID;
CREATE INDEX points_by_age ON points (minute);
"""
_FIND: Final = (
    "SELECT id FROM series WHERE account = ? AND region = ? AND namespace = ? AND name = ? AND dimensions = ? "
    "AND unit = ?"
)
_FIND_ANY_UNIT: Final = (
    "SELECT id, unit FROM series WHERE account = ? AND region = ? AND namespace = ? AND name = ? AND dimensions = ?"
)
_MAKE: Final = (
    "INSERT INTO series (account, region, namespace, name, dimensions, unit, last) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_POINT: Final = "SELECT count, total, minimum, maximum, packed FROM points WHERE series = ? AND minute = ?"
_BETWEEN: Final = (
    "SELECT minute, count, total, minimum, maximum, packed FROM points "
    "WHERE series = ? AND minute >= ? AND minute < ? ORDER BY minute"
)
_LIST: Final = (
    "SELECT namespace, name, dimensions, max(last) FROM series WHERE account = ? AND region = ? AND last >= ? "
    "GROUP BY namespace, name, dimensions ORDER BY namespace, name, dimensions"
)

Dimensions = tuple[tuple[str, str], ...]  # name and value, sorted


class Series(NamedTuple):
    account: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions
    unit: str = "None"


Batch = Mapping[tuple[Series, int], Distribution]  # by metric and the beginning of the minute (s since the epoch)


class MetricStore:
    """Open from construction, which raises DataDirectoryUnusable, to `close`."""

    def __init__(self, path: Path, custom_series: int = CUSTOM_SERIES) -> None:
        try:
            self._connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(f"BEGIN; {_CREATE} PRAGMA user_version = {_VERSION}; COMMIT;")
            found = self._connection.execute("SELECT count(*) FROM series WHERE namespace <> 'AWS/Lambda'").fetchone()
        except sqlite3.Error as error:
            raise DataDirectoryUnusable(
                f"The database {path} cannot be opened: {error}; is the disk full or the file damaged? "
                "Restore it from a backup, or give another --data-dir."
            ) from error
        if version > _VERSION:
            raise DataDirectoryUnusable(f"The database {path} is of a later version of Lamplighter ({version}).")
        self._custom: int = found[0]
        self._bound = custom_series

    def add(self, batch: Batch) -> int:
        """Durable when it returns; how many were beyond the bound of metrics. Raises StoreFailed, with nothing kept."""
        before, lost = self._custom, 0
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for (series, minute), distribution in batch.items():
                    id = self._id(series, minute)
                    if id is None:
                        lost += 1
                    else:
                        self._merge(id, minute, distribution)
        except sqlite3.Error as error:
            self._custom = before
            raise StoreFailed from error
        return lost

    def _id(self, series: Series, minute: int) -> int | None:
        key = (*series[:4], _text(series.dimensions), series.unit)
        found = self._connection.execute(_FIND, key).fetchone()
        if found is not None:
            self._connection.execute("UPDATE series SET last = max(last, ?) WHERE id = ?", (minute, found[0]))
            return found[0]
        if series.namespace != "AWS/Lambda":
            if self._custom >= self._bound:
                return None
            self._custom += 1
        return self._connection.execute(_MAKE, (*key, minute)).lastrowid

    def _merge(self, id: int, minute: int, added: Distribution) -> None:
        found = self._connection.execute(_POINT, (id, minute)).fetchone()
        if found is not None:
            before = unpacked(*found)
            before.merge(added)
            added = before
        values = (id, minute, added.count, added.total, added.minimum, added.maximum, added.packed())
        self._connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def read(
        self, series: Series, first: float, last: float, any_unit: bool
    ) -> Sequence[tuple[int, str, Distribution]]:
        """Minutes from `first` until before `last`, with their units."""
        key = (*series[:4], _text(series.dimensions))
        found: list[tuple[int, str, Distribution]] = []
        for id, unit in self._connection.execute(_FIND_ANY_UNIT, key).fetchall():
            if any_unit or unit == series.unit:
                for minute, *point in self._connection.execute(_BETWEEN, (id, first, last)):
                    found.append((minute, unit, unpacked(*point)))
        return found

    def list(self, account: str, region: str, since: float) -> Sequence[tuple[str, str, Dimensions]]:
        """Namespace, name and dimensions of what has values since then."""
        rows = self._connection.execute(_LIST, (account, region, since))
        return [(namespace, name, _dimensions(text)) for namespace, name, text, _ in rows]

    def forget(self, before: float) -> None:
        """What is older. Raises StoreFailed."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("DELETE FROM points WHERE minute < ?", (before,))
                self._connection.execute("DELETE FROM series WHERE last < ?", (before,))
                found = self._connection.execute(
                    "SELECT count(*) FROM series WHERE namespace <> 'AWS/Lambda'"
                ).fetchone()
        except sqlite3.Error as error:
            raise StoreFailed from error
        self._custom = found[0]

    def close(self) -> None:
        self._connection.close()


def sorted_dimensions(pairs: Iterable[tuple[str, str]]) -> Dimensions:
    return tuple(sorted(pairs))


def _text(dimensions: Dimensions) -> str:
    return json.dumps(dimensions)


def _dimensions(text: str) -> Dimensions:
    return tuple((name, value) for name, value in json.loads(text))
