"""Brings a database to the newest revision before anything else touches it.

A new one is made from `sql/schema.sql` at once; only an older one needs Alembic, whose import (0.3 s and 40 MB, with
SQLAlchemy) every other start is spared.
"""

import importlib
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

from lamplighter.store.contract import DataDirectoryUnusable

HEAD = "0003"


def prepare(path: Path) -> None:
    """Raises DataDirectoryUnusable when the database cannot be opened, or is a newer release's."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            revision = revision_of(connection)
            if revision == HEAD:
                return
            if revision is None and not _tables(connection):
                _create(connection)
                return
    except sqlite3.Error as error:
        raise DataDirectoryUnusable(
            f"The database {path} cannot be opened: {error}; is the disk full or the file damaged? "
            "Restore it from a backup, or give another --data-dir."
        ) from error
    # Only now and here: see the top of this file.
    migration = importlib.import_module("lamplighter.store.migration")
    migration.upgrade(path, revision)


def revision_of(connection: sqlite3.Connection) -> str | None:
    """None if no revision was ever applied."""
    if "alembic_version" not in _tables(connection):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _create(connection: sqlite3.Connection) -> None:
    tables = resources.files("lamplighter.store.sql").joinpath("schema.sql").read_text("utf-8")
    connection.executescript(
        "PRAGMA synchronous = FULL; BEGIN EXCLUSIVE;"
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
        f"INSERT INTO alembic_version VALUES ('{HEAD}');"
        f"{tables} COMMIT;"
    )
