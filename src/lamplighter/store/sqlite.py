"""Functions and package references in SQLite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import orjson

from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.store import values
from lamplighter.store.contract import AlreadyExists, RecordTransaction, StaleWrite
from lamplighter.store.database import Database, Transaction
from lamplighter.store.records import SqliteRecordTransaction
from lamplighter.store.sql import functions as sql


class SqliteFunctions:
    """Implements the Functions contract."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        function: FunctionVersion,
        tags: Mapping[str, str],
        publish: FunctionVersion | None = None,
        also: Callable[[RecordTransaction], None] | None = None,
    ) -> FunctionVersion | None:
        tags_text = orjson.dumps(tags).decode()

        def run(transaction: Transaction) -> FunctionVersion | None:
            if transaction.execute(sql.CREATE, {**_key(function), "tags": tags_text}).rowcount == 0:
                raise AlreadyExists(function.id)
            _insert(transaction, function)
            transaction.changed(function.id)
            if also is not None:
                also(SqliteRecordTransaction(transaction, function.id.account, function.id.region))
            return _publish(transaction, publish)

        return await self._database.write(run)

    async def get(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None:
        return self._one(sql.GET, (id.account, id.region, id.name, version))

    async def serving(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None:
        return self._one(sql.GET_SERVING, (id.account, id.region, id.name, version))

    async def newest(self, id: FunctionId) -> FunctionVersion | None:
        return self._one(sql.GET_NEWEST, (id.account, id.region, id.name))

    async def tags(self, id: FunctionId) -> Mapping[str, str]:
        rows = self._database.rows(sql.GET_TAGS, (id.account, id.region, id.name))
        return orjson.loads(rows[0][0]) if rows else {}

    async def replace(
        self,
        function: FunctionVersion,
        expected_revision: str,
        serve: Literal["this", "before"] = "this",
        publish: FunctionVersion | None = None,
    ) -> FunctionVersion | None:
        parameters = {**_row(function), "expected_revision": expected_revision, "serve_this": serve == "this"}

        def run(transaction: Transaction) -> FunctionVersion | None:
            row = transaction.execute(sql.REPLACE_VERSION, parameters).fetchone()
            if row is None:
                raise StaleWrite(function.arn)
            before = {} if row[0] is None else values.packages(values.from_text(row[0]))
            transaction.execute(sql.DELETE_PACKAGES, _key(function))
            _need(transaction, function, before | values.packages(function))
            transaction.changed(function.id)
            return _publish(transaction, publish)

        return await self._database.write(run)

    async def delete(self, id: FunctionId) -> frozenset[str] | None:
        key = (id.account, id.region, id.name)

        def run(transaction: Transaction) -> frozenset[str] | None:
            freed = frozenset(digest for (digest,) in transaction.execute(sql.PACKAGES_OF, key))
            if transaction.execute(sql.DELETE, key).rowcount == 0:
                return None
            transaction.changed(id)
            return freed

        return await self._database.write(run)

    async def count(self, account: str, region: str) -> int:
        return self._database.rows(sql.COUNT, (account, region))[0][0]

    async def page(self, account: str, region: str, after: str | None, limit: int) -> Sequence[FunctionVersion]:
        return self._all(sql.PAGE, (account, region, after or "", limit))

    async def page_of_versions(
        self, account: str, region: str, after: tuple[str, str] | None, limit: int
    ) -> Sequence[FunctionVersion]:
        name, version = after or ("", "")
        return self._all(sql.PAGE_OF_VERSIONS, (account, region, name, values.number(version), limit))

    async def versions(self, id: FunctionId, after: str | None, limit: int) -> Sequence[FunctionVersion]:
        behind = -1 if after is None else values.number(after)
        return self._all(sql.PAGE_OF_FUNCTION, (id.account, id.region, id.name, behind, limit))

    async def unsettled(self, id: FunctionId | None = None) -> Sequence[FunctionVersion]:
        if id is None:
            return self._all(sql.UNSETTLED, ())
        return self._all(sql.UNSETTLED_OF, (id.account, id.region, id.name))

    def _all(self, statement: str, parameters: Sequence[Any]) -> list[FunctionVersion]:
        return [values.from_text(document) for (document,) in self._database.rows(statement, parameters)]

    def _one(self, statement: str, parameters: Sequence[Any]) -> FunctionVersion | None:
        rows = self._database.rows(statement, parameters)
        return values.from_text(rows[0][0]) if rows else None


class SqlitePackageReferences:
    """Implements the PackageReferences contract."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def referenced(self, digest: str) -> bool:
        return bool(self._database.rows(sql.REFERENCED, {"digest": digest}))

    async def digests(self) -> frozenset[str]:
        return frozenset(digest for (digest,) in self._database.rows(sql.DIGESTS))

    async def total_size(self, account: str, region: str) -> int:
        return self._database.rows(sql.TOTAL_SIZE, {"account": account, "region": region})[0][0]


def _key(function: FunctionVersion) -> dict[str, Any]:
    id = function.id
    return {"account": id.account, "region": id.region, "name": id.name, "version": function.version}


def _row(function: FunctionVersion) -> dict[str, Any]:
    return {
        **_key(function),
        "number": values.number(function.version),
        "revision": function.revision,
        "settled": values.is_settled(function),
        "document": values.to_text(function),
    }


def _insert(transaction: Transaction, function: FunctionVersion) -> None:
    transaction.execute(sql.INSERT_VERSION, _row(function))
    _need(transaction, function, values.packages(function))


def _need(transaction: Transaction, function: FunctionVersion, packages: Mapping[str, int]) -> None:
    for digest, size in packages.items():
        transaction.execute(sql.INSERT_PACKAGE, {**_key(function), "digest": digest, "size": size})


def _publish(transaction: Transaction, version: FunctionVersion | None) -> FunctionVersion | None:
    if version is None:
        return None
    (number,) = transaction.execute(sql.NEXT_VERSION, _key(version)).fetchone()
    published = replace(version, version=str(number))
    _insert(transaction, published)
    return published
