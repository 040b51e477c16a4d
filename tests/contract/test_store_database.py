"""SQLite under us: groups, full disks, migrations, and who may open it."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lamplighter.model.functions import FunctionId
from lamplighter.store import migration, schema
from lamplighter.store.contract import DataDirectoryInUse, DataDirectoryUnusable, StoreFailed
from lamplighter.store.database import Database, Transaction
from lamplighter.store.directory import DataDirectory
from support.control import function_id, run


def insert(transaction: Transaction, name: str, tags: str = "{}") -> None:
    transaction.execute("INSERT INTO functions VALUES ('1', 'r', ?, ?, 0)", (name, tags))
    transaction.changed(function_id(name))


def names(database: Database) -> set[str]:
    return {name for (name,) in database.rows("SELECT name FROM functions")}


def test_one_write_of_a_group_that_fails_undoes_only_itself(tmp_path: Path):
    def half(transaction: Transaction) -> None:
        insert(transaction, "half")
        raise KeyError("half")

    async def main() -> None:
        database = Database(tmp_path / "x.db")
        heard: list[str] = []
        database.listen(lambda id: heard.append(id.name))
        writes = [lambda t, n=name: insert(t, n) for name in "abc"]
        results = await asyncio.gather(
            *map(database.write, (writes[0], half, writes[1], half, writes[2])), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), KeyError, type(None), KeyError, type(None)]
        assert names(database) == {"a", "b", "c"}
        assert heard == ["a", "b", "c"]
        await database.close()

    run(main)


def test_a_listener_that_fails_keeps_nobody_waiting(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def broken(id: FunctionId) -> None:
        raise KeyError(id)

    async def main() -> None:
        database = Database(tmp_path / "x.db")
        heard: list[str] = []
        database.listen(broken)
        database.listen(lambda id: heard.append(id.name))
        await database.write(lambda t: insert(t, "a"))
        assert heard == ["a"]
        await database.close()

    run(main)
    assert "a listener to changes failed" in caplog.text


def test_a_full_disk_fails_the_write_keeps_the_rest_and_recovers(tmp_path: Path):
    async def main() -> None:
        database = Database(tmp_path / "x.db")
        await database.write(lambda t: insert(t, "before"))

        def limit(pages: int):
            def run_(transaction: Transaction) -> None:
                transaction.execute(f"PRAGMA max_page_count = {pages}")

            return run_

        (size,) = database.rows("PRAGMA page_count")[0]
        await database.write(limit(size + 2))
        with pytest.raises(StoreFailed) as failure:
            await database.write(lambda t: insert(t, "large", "x" * 1_000_000))
        assert failure.value.status == 500
        assert isinstance(failure.value.__cause__, sqlite3.Error)
        assert names(database) == {"before"}
        await database.write(limit(1_000_000))
        await database.write(lambda t: insert(t, "large", "x" * 1_000_000))
        assert names(database) == {"before", "large"}
        await database.close()

    run(main)


def test_a_commit_that_cannot_happen_fails_everybody_in_the_group(tmp_path: Path):
    async def main() -> None:
        database = Database(tmp_path / "x.db")

        def orphan(transaction: Transaction) -> None:  # checked at the commit, which then fails
            transaction.execute("PRAGMA defer_foreign_keys = ON")
            transaction.execute("INSERT INTO function_versions VALUES ('1', 'r', 'nobody', '1', 1, 'r', 1, '{}', NULL)")

        writes = [database.write(lambda t: insert(t, "fine")), database.write(orphan)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(results[1], StoreFailed)
        assert names(database) == ({"fine"} if results[0] is None else set())
        await database.write(lambda t: insert(t, "afterwards"))
        assert "afterwards" in names(database)
        await database.close()

    run(main)


def test_writes_are_fsynced_and_readers_do_not_write(tmp_path: Path):
    async def main() -> None:
        database = Database(tmp_path / "x.db")
        assert database.rows("PRAGMA journal_mode") == [("wal",)]
        assert await database.write(lambda t: t.execute("PRAGMA synchronous").fetchone()) == (2,)  # FULL
        with pytest.raises(StoreFailed):
            database.rows("DELETE FROM functions")
        await database.close()

    run(main)


def test_a_second_server_is_told_who_has_the_directory(tmp_path: Path):
    with (
        DataDirectory(tmp_path / "data"),
        pytest.raises(DataDirectoryInUse, match=f"pid {os.getpid()}"),
        DataDirectory(tmp_path / "data"),
    ):
        pass
    with DataDirectory(tmp_path / "data") as free_again:
        assert free_again.blobs.is_dir()


def test_an_unusable_directory_is_named_with_a_remedy(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataDirectoryUnusable, match=r"file/data.*--data-dir"),
        DataDirectory(tmp_path / "file" / "data"),
    ):
        pass
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(DataDirectoryUnusable, match=r"broken\.db"):
        Database(tmp_path / "broken.db")


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        texts = [text for (text,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    return {re.sub(r"\s+", " ", re.sub(r"--.*", "", text)).replace("( ", "(").replace(" )", ")") for text in texts}


def revisions() -> list[str]:
    scripts = migration.ScriptDirectory.from_config(migration.configuration()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def test_the_newest_revision_is_the_one_new_databases_have():
    assert revisions()[-1] == schema.HEAD


@pytest.mark.parametrize("revision", ["base", *revisions()[:-1]])
def test_every_older_revision_leads_to_the_same_tables_as_a_new_database_has(tmp_path: Path, revision: str):
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    if revision == "base":
        with closing(sqlite3.connect(old)) as connection:
            connection.execute(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
    else:
        migration.upgrade(old, None, revision)
    schema.prepare(old)
    schema.prepare(new)
    assert tables(old) == tables(new)
    with closing(sqlite3.connect(old)) as connection:
        assert schema.revision_of(connection) == schema.HEAD


def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path):
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE changes (in_the_way)")  # the last table that the first revision makes
    before = tables(path)
    with pytest.raises(Exception, match="changes"):
        schema.prepare(path)
    assert tables(path) == before


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path):
    path = tmp_path / "x.db"
    schema.prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(DataDirectoryUnusable, match="newer release"):
        schema.prepare(path)


def test_starting_on_a_new_or_current_database_imports_no_sqlalchemy(tmp_path: Path):
    program = (
        "import sys, pathlib; from lamplighter.store import schema, database, sqlite, blobs;"
        "schema.prepare(pathlib.Path(sys.argv[1])); schema.prepare(pathlib.Path(sys.argv[1]));"
        "sys.exit('sqlalchemy' in sys.modules or 'alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.db")], check=True, timeout=30)
