"""Records in SQLite: documents found by kind, owner and key, and changed together in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from lamplighter.model.functions import LATEST, CodePackage, FunctionId, FunctionVersion
from lamplighter.store import values
from lamplighter.store.contract import Document, Record
from lamplighter.store.database import Database, Parameters, Transaction
from lamplighter.store.sql import functions as functions_sql
from lamplighter.store.sql import records as sql

T = TypeVar("T")

_Rows = Callable[[str, Parameters], list[Any]]


class SqliteRecords:
    """Implements the Records contract."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def view(self, account: str, region: str) -> "SqliteRecordView":
        return SqliteRecordView(self._database.rows, account, region)

    async def transact(self, account: str, region: str, run: "Callable[[SqliteRecordTransaction], T]") -> T:
        return await self._database.write(
            lambda transaction: run(SqliteRecordTransaction(transaction, account, region))
        )


class SqliteRecordView:
    """Implements RecordView on any connection."""

    def __init__(self, rows: _Rows, account: str, region: str) -> None:
        self._rows = rows
        self.account = account
        self.region = region

    def get(self, kind: str, owner: str, key: str) -> Document | None:
        found = self._rows(sql.GET, (self.account, self.region, kind, owner, key))
        return orjson.loads(found[0][0]) if found else None

    def page(
        self, kind: str, owner: str | None = None, after: tuple[str, str] | None = None, limit: int = -1
    ) -> Sequence[Record]:
        behind_owner, behind_key = after or ("", "")
        number = -1 if after is None else values.number(behind_key)  # in front of all, the empty key too
        if owner is not None:
            parameters: tuple[Any, ...] = (self.account, self.region, kind, owner, number, behind_key, limit)
            found = self._rows(sql.PAGE_OF_OWNER, parameters)
        else:
            parameters = (self.account, self.region, kind, behind_owner, number, behind_key, limit)
            found = self._rows(sql.PAGE_OF_KIND, parameters)
        return [Record(owner, key, orjson.loads(document)) for owner, key, document in found]

    def page_backwards(self, kind: str, owner: str, before: str | None = None, limit: int = -1) -> Sequence[Record]:
        number, key = (sql.BEHIND_ALL, "") if before is None else (values.number(before), before)
        parameters = (self.account, self.region, kind, owner, number, key, limit)
        found = self._rows(sql.PAGE_OF_OWNER_BACKWARDS, parameters)
        return [Record(owner, key, orjson.loads(document)) for owner, key, document in found]

    def version(self, name: str, version: str = LATEST) -> FunctionVersion | None:
        found = self._rows(functions_sql.GET, (self.account, self.region, name, version))
        return values.from_text(found[0][0]) if found else None

    def tags(self, name: str) -> dict[str, str] | None:
        found = self._rows(functions_sql.GET_TAGS, (self.account, self.region, name))
        return orjson.loads(found[0][0]) if found else None


class SqliteRecordTransaction(SqliteRecordView):
    """Implements RecordTransaction inside one write."""

    def __init__(self, transaction: Transaction, account: str, region: str) -> None:
        super().__init__(lambda statement, given: transaction.execute(statement, given).fetchall(), account, region)
        self._transaction = transaction

    def put(
        self,
        kind: str,
        owner: str,
        key: str,
        document: Document,
        *,
        of_function: bool = True,
        package: CodePackage | None = None,
    ) -> None:
        row = {
            "account": self.account,
            "region": self.region,
            "kind": kind,
            "owner": owner,
            "key": key,
            "number": values.number(key),
            "function": owner if of_function else None,
            "document": orjson.dumps(document).decode(),
            "digest": package.digest if package else None,
            "size": package.size if package else None,
        }
        self._transaction.execute(sql.PUT, row)

    def delete(self, kind: str, owner: str, key: str) -> Document | None:
        found = self._rows(sql.DELETE, (self.account, self.region, kind, owner, key))
        return orjson.loads(found[0][0]) if found else None

    def touch(self, name: str, revision: str, version: str = LATEST) -> None:
        given = {
            "account": self.account,
            "region": self.region,
            "name": name,
            "version": version,
            "revision": revision,
        }
        self._transaction.execute(sql.TOUCH_VERSION, given)

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        self._transaction.execute(
            functions_sql.SET_TAGS, (orjson.dumps(tags).decode(), self.account, self.region, name)
        )

    def delete_version(self, name: str, version: str) -> frozenset[str] | None:
        key = (self.account, self.region, name, version)
        freed = frozenset(digest for (digest,) in self._rows(functions_sql.PACKAGES_OF_VERSION, key))
        if self._transaction.execute(functions_sql.DELETE_VERSION, key).rowcount == 0:
            return None
        self.changed(name)
        return freed

    def changed(self, name: str) -> None:
        self._transaction.changed(FunctionId(self.account, self.region, name))
