"""Aliases: the rules of making, moving and removing them (AWS: spec 1.7).

What an alias points to exists for as long as it points there: each rule is read and each change written in one
transaction, and the deletion of a version asks `pointing_to` in its own.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from lamplighter.control import markers
from lamplighter.control.versions import check_revision, forget_qualifier
from lamplighter.model.aliases import KIND, Alias, from_document, to_document
from lamplighter.model.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import FunctionId
from lamplighter.model.names import kind_of_qualifier
from lamplighter.store.contract import Records, RecordTransaction, RecordView

LARGEST_PAGE: Final = 50


class Aliases:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def create(
        self, id: FunctionId, name: str, version: str, description: str, weights: Mapping[str, float]
    ) -> Alias:
        alias = Alias(id, name, version, str(uuid.uuid4()), description, weights)

        def run(transaction: RecordTransaction) -> Alias:
            _check(transaction, alias)
            if find(transaction, id, name) is not None:
                raise ResourceConflictException(f"Alias already exists: {alias.arn}")
            return _keep(transaction, alias)

        return await self._records.transact(id.account, id.region, run)

    async def get(self, id: FunctionId, name: str) -> Alias:
        alias = find(self._records.view(id.account, id.region), id, name)
        if alias is None:
            raise ResourceNotFoundException(f"Cannot find alias arn: {id.arn}:{name}")
        return alias

    async def update(
        self,
        id: FunctionId,
        name: str,
        version: str | None = None,
        description: str | None = None,
        weights: Mapping[str, float] | None = None,
        revision: str | None = None,
    ) -> Alias:
        """None: as it is. Accepted, it has another RevisionId even if nothing changed, as recorded."""

        def run(transaction: RecordTransaction) -> Alias:
            current = find(transaction, id, name)
            if current is None:
                raise ResourceNotFoundException(f"Alias not found: {id.arn}:{name}")
            check_revision(revision, current.revision)
            alias = replace(
                current,
                version=current.version if version is None else version,
                description=current.description if description is None else description,
                weights=current.weights if weights is None else weights,
                revision=str(uuid.uuid4()),
            )
            _check(transaction, alias)
            return _keep(transaction, alias)

        return await self._records.transact(id.account, id.region, run)

    async def delete(self, id: FunctionId, name: str) -> None:
        """One that does not exist is as good as deleted."""

        def run(transaction: RecordTransaction) -> None:
            if transaction.delete(KIND, id.name, name) is not None:
                forget_qualifier(transaction, id.name, name)
                transaction.changed(id.name)

        await self._records.transact(id.account, id.region, run)

    async def page(
        self, id: FunctionId, version: str | None, marker: str | None, limit: int | None
    ) -> tuple[Sequence[Alias], str | None]:
        """Aliases by name, or those of them whose first version is `version`; and the marker of the next page."""
        view = self._records.view(id.account, id.region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListAliases", marker, 1)[0] if marker else ""
        if view.version(id.name) is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}")
        records = view.page(KIND, id.name, (id.name, after), limit + 1 if version is None else -1)
        found = [from_document(id, record.key, record.document) for record in records]
        if version is not None:
            found = [alias for alias in found if alias.version == version]
        page = found[:limit]
        return page, markers.make("ListAliases", page[-1].name) if len(found) > limit else None


def find(view: RecordView, id: FunctionId, name: str) -> Alias | None:
    document = view.get(KIND, id.name, name)
    return None if document is None else from_document(id, name, document)


def _keep(transaction: RecordTransaction, alias: Alias) -> Alias:
    transaction.put(KIND, alias.function.name, alias.name, to_document(alias))
    transaction.changed(alias.function.name)
    return alias


def _check(view: RecordView, alias: Alias) -> None:
    """Raises InvalidParameterValue for weights that cannot be, ResourceNotFound for a version that does not exist."""
    id = alias.function
    if len(alias.weights) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if alias.weights and kind_of_qualifier(alias.version) == "latest":
        raise InvalidParameterValueException("$LATEST is not supported for an alias pointing to more than 1 version")
    if alias.version in alias.weights:
        raise InvalidParameterValueException(
            f"Invalid function version {alias.version}. "
            f"Function version {alias.version} is already included in routing configuration."
        )
    functions = [(version, view.version(id.name, version)) for version in alias.versions]
    for version, function in functions:
        if function is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}:{version}")
    if len({function.role for _, function in functions if function}) > 1:
        raise InvalidParameterValueException("Specified versions must be associated with the same execution role")
    if len({function.dead_letter_arn for _, function in functions if function}) > 1:
        raise InvalidParameterValueException("Specified versions must be associated with the same dead letter config")
