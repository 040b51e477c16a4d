"""Leads an older database to the newest revision with Alembic.

In one transaction: killed on the way, the database is as before.
"""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from lamplighter.store.contract import DataDirectoryUnusable


def configuration() -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(path: Path, current: str | None, target: str = "head") -> None:
    """`current`: the database's revision. Raises DataDirectoryUnusable when no known revision has that name."""
    config = configuration()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise DataDirectoryUnusable(
            f"The database {path} was written by a newer release of Lamplighter (revision {current}); "
            "run that release, or give another --data-dir."
        )
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    # The driver's own transactions leave table definitions out; ours start when SQLAlchemy thinks they do.
    event.listen(engine, "connect", _no_implicit_transactions)
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, target)
    engine.dispose()


def _no_implicit_transactions(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN EXCLUSIVE")
