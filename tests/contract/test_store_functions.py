"""What every Store promises about functions. SQLite is the one implementation yet; PostgreSQL joins `STORES`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion, LayerRef
from lamplighter.store import contract, values
from lamplighter.store.database import Database
from lamplighter.store.records import SqliteRecords
from lamplighter.store.sqlite import SqliteFunctions, SqlitePackageReferences
from support.control import ACCOUNT, REGION, function_id, run


@dataclass
class Store:
    functions: contract.Functions
    references: contract.PackageReferences
    records: contract.Records
    changes: contract.Changes

    async def delete_version(self, name: str, version: str) -> frozenset[str] | None:
        return await self.records.transact(
            ACCOUNT, REGION, lambda transaction: transaction.delete_version(name, version)
        )


@asynccontextmanager
async def sqlite(path: Path) -> AsyncIterator[Store]:
    database = Database(path / "test.db")
    try:
        yield Store(SqliteFunctions(database), SqlitePackageReferences(database), SqliteRecords(database), database)
    finally:
        await database.close()


STORES = [sqlite]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path):
    return lambda: request.param(tmp_path)


def a_function(name: str, digest: str = "aa" * 32, **members: object) -> FunctionVersion:
    blank = FunctionVersion(
        id=function_id(name),
        version="$LATEST",
        generation=1,
        revision="r1",
        role="arn:aws:iam::111111111111:role/r",
        code=CodePackage(digest, 100),
        runtime="python3.12",
        handler="a.b",
        last_modified="2026-01-02T03:04:05.678+0000",
    )
    return replace(blank, **members)  # type: ignore[arg-type]


def test_what_was_created_is_there_member_by_member(store):
    async def main() -> None:
        function = a_function(
            "f",
            environment={"A": "ä"},
            layers=(LayerRef("arn:l", CodePackage("bb" * 32, 5)),),
            architectures=("arm64",),
            other={"VpcConfig": {"SubnetIds": []}},
        )
        async with store() as s:
            await s.functions.create(function, {"team": "lamp"})
            assert await s.functions.get(function.id) == function
            assert await s.functions.serving(function.id) == function
            assert await s.functions.tags(function.id) == {"team": "lamp"}
            assert await s.references.digests() == {"aa" * 32, "bb" * 32}
            assert await s.references.total_size(ACCOUNT, REGION) == 100  # a layer counts where it was published

    run(main)


def test_it_is_still_there_after_a_restart(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f"), {})
            before = await s.changes.sequence()
        async with store() as s:
            assert await s.functions.get(function_id("f")) == a_function("f")
            assert await s.changes.sequence() == before

    run(main)


def test_a_name_is_taken_once_per_account_and_region(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f"), {})
            with pytest.raises(contract.AlreadyExists):
                await s.functions.create(a_function("f", revision="r2"), {})
            elsewhere = a_function("f", id=FunctionId(ACCOUNT, "eu-west-1", "f"))
            await s.functions.create(elsewhere, {})
            assert await s.functions.get(function_id("f")) == a_function("f")

    run(main)


def test_functions_are_counted_and_not_their_versions(store):
    async def main() -> None:
        async with store() as s:
            assert await s.functions.count(ACCOUNT, REGION) == 0
            for name in ("f", "g"):
                await s.functions.create(a_function(name), {}, a_function(name))
            await s.functions.create(a_function("f", id=FunctionId(ACCOUNT, "eu-west-1", "f")), {})
            assert await s.functions.count(ACCOUNT, REGION) == 2
            await s.functions.delete(function_id("f"))
            assert await s.functions.count(ACCOUNT, REGION) == 1

    run(main)


def test_only_one_of_many_creates_of_one_name_wins(store):
    async def main() -> None:
        async with store() as s:
            tries = (s.functions.create(a_function("f", revision=f"r{i}"), {}) for i in range(50))
            results = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(result is None for result in results) == 1
            assert sum(isinstance(result, contract.AlreadyExists) for result in results) == 49

    run(main)


def test_a_write_on_what_was_read_too_long_ago_changes_nothing(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f"), {})
            await s.functions.replace(a_function("f", revision="r2", timeout=9), "r1")
            with pytest.raises(contract.StaleWrite):
                await s.functions.replace(a_function("f", revision="r3", timeout=1), "r1")
            with pytest.raises(contract.StaleWrite):
                await s.functions.replace(a_function("other"), "r1")
            found = await s.functions.get(function_id("f"))
            assert found is not None and found.timeout == 9

    run(main)


def test_invocations_use_the_version_before_until_the_update_has_succeeded(store):
    async def main() -> None:
        one = a_function("f", state="Active", last_update_status="Successful")
        two = a_function("f", "cc" * 32, revision="r2", state="Active", last_update_status="InProgress")
        three = replace(two, revision="r3", last_update_status="Successful")
        async with store() as s:
            await s.functions.create(one, {})
            await s.functions.replace(two, "r1", serve="before")
            assert await s.functions.get(one.id) == two
            assert await s.functions.serving(one.id) == one
            assert await s.references.digests() == {"aa" * 32, "cc" * 32}
            await s.functions.replace(three, "r2", serve="this")
            assert await s.functions.serving(one.id) == three
            assert await s.references.digests() == {"cc" * 32}

    run(main)


def test_a_failed_update_leaves_what_was_there_serving(store):
    async def main() -> None:
        one = a_function("f")
        async with store() as s:
            await s.functions.create(one, {})
            await s.functions.replace(a_function("f", "cc" * 32, revision="r2"), "r1", serve="before")
            await s.functions.replace(a_function("f", "cc" * 32, revision="r3"), "r2", serve="before")
            await s.functions.replace(a_function("f", "dd" * 32, revision="r4"), "r3", serve="before")
            assert await s.functions.serving(one.id) == one
            assert await s.references.digests() == {"aa" * 32, "dd" * 32}

    run(main)


def test_published_versions_count_up_and_no_number_is_used_again(store):
    async def main() -> None:
        id = function_id("f")
        async with store() as s:
            first = await s.functions.create(a_function("f"), {}, publish=a_function("f", revision="p1"))
            assert first is not None and first.version == "1"
            assert await s.functions.newest(id) == first
            second = await s.functions.replace(
                a_function("f", revision="r2"), "r1", publish=a_function("f", revision="p2")
            )
            assert second is not None and second.version == "2"
            assert [version.version for version in await s.functions.versions(id, None, 9)] == ["$LATEST", "1", "2"]
            assert [version.version for version in await s.functions.versions(id, "$LATEST", 1)] == ["1"]
            assert await s.delete_version("f", "2") == {"aa" * 32}
            assert await s.delete_version("f", "2") is None
            assert await s.delete_version("f", "$LATEST") is None
            assert [version.version for version in await s.functions.versions(id, "1", 9)] == []
            assert await s.functions.newest(id) is None
            third = await s.functions.replace(
                a_function("f", revision="r3"), "r2", publish=a_function("f", revision="p3")
            )
            assert third is not None and third.version == "3"
            await s.functions.delete(id)
            again = await s.functions.create(a_function("f"), {}, publish=a_function("f"))
            assert again is not None and again.version == "1"

    run(main)


def test_deleting_leaves_nothing(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f"), {"a": "b"}, publish=a_function("f", revision="p"))
            await s.functions.create(a_function("g", "ee" * 32), {})
            assert await s.functions.delete(function_id("f")) == {"aa" * 32}
            assert await s.functions.delete(function_id("f")) is None
            assert await s.functions.get(function_id("f")) is None
            assert await s.functions.get(function_id("f"), "1") is None
            assert await s.functions.tags(function_id("f")) == {}
            assert await s.references.digests() == {"ee" * 32}
            assert not await s.references.referenced("aa" * 32)

    run(main)


def test_pages_are_in_order_and_complete_while_functions_come_and_go(store):
    async def main() -> None:
        names = [f"f{i:02}" for i in range(30)]
        async with store() as s:
            for name in names:
                await s.functions.create(a_function(name), {}, publish=a_function(name))
            await s.functions.create(a_function("x", id=FunctionId(ACCOUNT, "eu-west-1", "x")), {})
            first = await s.functions.page(ACCOUNT, REGION, None, 10)
            assert [f.id.name for f in first] == names[:10]
            assert all(f.version == "$LATEST" for f in first)
            await s.functions.delete(function_id("f09"))
            await s.functions.create(a_function("f095"), {})
            second = await s.functions.page(ACCOUNT, REGION, "f09", 30)
            assert [f.id.name for f in second] == ["f095", *names[10:]]
            versions = await s.functions.page_of_versions(ACCOUNT, REGION, ("f11", "$LATEST"), 3)
            assert [(f.id.name, f.version) for f in versions] == [("f11", "1"), ("f12", "$LATEST"), ("f12", "1")]

    run(main)


def test_versions_page_by_number_not_by_text(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f", revision="0"), {})
            for i in range(12):
                await s.functions.replace(
                    a_function("f", revision=str(i + 1)), str(i), publish=a_function("f", revision=f"p{i}")
                )
            versions = await s.functions.page_of_versions(ACCOUNT, REGION, None, 50)
            assert [f.version for f in versions] == ["$LATEST", *map(str, range(1, 13))]

    run(main)


def test_what_is_in_progress_is_found_again(store):
    async def main() -> None:
        async with store() as s:
            await s.functions.create(a_function("f"), {})
            await s.functions.create(a_function("g", state="Active", last_update_status="Successful"), {})
            await s.functions.create(a_function("h", state="Active", last_update_status="InProgress"), {})
            assert [f.id.name for f in await s.functions.unsettled()] == ["f", "h"]
            assert await s.functions.unsettled(function_id("g")) == []
            assert [f.id.name for f in await s.functions.unsettled(function_id("h"))] == ["h"]

    run(main)


def test_listeners_hear_of_each_write_before_its_writer_does(store):
    async def main() -> None:
        heard: list[str] = []
        async with store() as s:
            s.changes.listen(lambda id: heard.append(id.name))
            start = await s.changes.sequence()
            await s.functions.create(a_function("f"), {})
            assert heard == ["f"]
            await s.functions.replace(a_function("f", revision="r2"), "r1")
            with pytest.raises(contract.StaleWrite):
                await s.functions.replace(a_function("f", revision="r2"), "r1")
            await s.functions.delete(function_id("f"))
            assert await s.functions.delete(function_id("f")) is None
            assert heard == ["f", "f", "f"]
            assert await s.changes.sequence() == start + 3

    run(main)


def test_a_cancelled_writer_does_not_hear_before_its_write_is_done(store):
    async def main() -> None:
        async with store() as s:
            writer = asyncio.create_task(s.functions.create(a_function("f"), {}))
            await asyncio.sleep(0)
            writer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writer
            assert await s.functions.get(function_id("f")) is not None

    run(main)


texts = st.text(st.characters(codec="utf-8"), max_size=30)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
packages = st.builds(CodePackage, digest=digests, size=st.integers(0, 2**63 - 1))
functions = st.builds(
    FunctionVersion,
    id=st.builds(FunctionId, account=texts, region=texts, name=texts),
    generation=st.integers(0, 2**53),
    code=packages,
    architectures=st.lists(texts, max_size=2).map(tuple),
    environment=st.none() | st.dictionaries(texts, texts, max_size=3),
    layers=st.lists(st.builds(LayerRef, arn=texts, package=packages), max_size=3).map(tuple),
    other=st.dictionaries(texts, st.none() | st.booleans() | texts | st.lists(texts, max_size=2), max_size=3),
    **dict.fromkeys(("version", "revision", "role", "last_modified", "description", "log_group"), texts),
)


@given(function=functions)
@settings(max_examples=100, deadline=None)
def test_any_version_survives_being_written_down(function: FunctionVersion):
    assert values.from_text(values.to_text(function)) == function
