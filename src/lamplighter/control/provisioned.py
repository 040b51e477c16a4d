"""Provisioned concurrency: configs of versions and aliases, and how far each is (AWS: spec 4.3).

A config claims its part of the account's concurrency as soon as it is accepted. What is provisioned for a version is
provisioned once: by a config of its own, or by that of an alias which points to it. `invoke/provisioning.py` makes it
true; what is shown here is what is there.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lamplighter.control import aliases, markers
from lamplighter.control.concurrency import LimitRefused, Pool, provisioned, reserved
from lamplighter.invoke.ahead import INIT_FAILED, Standing
from lamplighter.invoke.provisioning import parts
from lamplighter.model.clock import Clock
from lamplighter.model.concurrency import PROVISIONED as KIND
from lamplighter.model.errors import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.names import FunctionRef, is_alias, kind_of_qualifier
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

LARGEST_PAGE: Final = 50
ALLOCATION: Final = 1.0  # seconds that a config is seen to be in progress at least; AWS needs a minute or two

Status = Literal["IN_PROGRESS", "READY", "FAILED"]


@dataclass(frozen=True, slots=True)
class ProvisionedConfig:
    """`of`: the version or alias. `modified`: as on the wire. `reason`: why it failed."""

    of: FunctionRef
    requested: int
    modified: str
    status: Status = "IN_PROGRESS"
    allocated: int = 0
    reason: str | None = None


class Provisioned:
    """`limit`: the account's concurrency, per region. `standing`: how far a version's environments are."""

    def __init__(
        self, records: Records, clock: Clock, limit: int, standing: Callable[[FunctionVersion], Standing]
    ) -> None:
        self._records = records
        self._clock = clock
        self._limit = limit
        self._standing = standing

    async def put(self, reference: FunctionRef, wanted: int) -> ProvisionedConfig:
        """New, or instead of the one there was. Raises LimitRefused, ResourceConflict."""
        id, qualifier = reference.id, reference.qualifier or LATEST

        def run(transaction: RecordTransaction) -> ProvisionedConfig:
            if kind_of_qualifier(qualifier) == "latest":
                raise _unpublished()
            version, *others = _versions(transaction, reference)
            if version == LATEST:
                raise _unpublished()
            if others:
                raise InvalidParameterValueException("Alias with weights can not be used with Provisioned Concurrency")
            _check_provisioned_once(transaction, id, qualifier, version)
            function = transaction.version(id.name, version)
            if function is not None and function.snap_start == "PublishedVersions":  # AWS: spec 8; the text is ours
                raise InvalidParameterValueException(
                    "Provisioned Concurrency is not supported for SnapStart enabled functions."
                )
            self._check_limits(transaction, id.name, qualifier, wanted)
            document: Document = {"requested": wanted, "modified": self._clock.now()}
            transaction.put(KIND, id.name, qualifier, document)
            transaction.changed(id.name)
            return ProvisionedConfig(reference, wanted, _wire_time(document["modified"]))

        return await self._records.transact(id.account, id.region, run)

    def get(self, reference: FunctionRef) -> ProvisionedConfig:
        view = self._records.view(reference.id.account, reference.id.region)
        _check_qualifier(view, reference)
        document = view.get(KIND, reference.id.name, reference.qualifier or LATEST)
        if document is None:
            raise ProvisionedConcurrencyConfigNotFoundException(
                "No Provisioned Concurrency Config found for this function"
            )
        return self._shown(view, reference, document)

    async def delete(self, reference: FunctionRef) -> None:
        """One that does not exist is as good as deleted."""
        id, qualifier = reference.id, reference.qualifier or LATEST

        def run(transaction: RecordTransaction) -> None:
            _check_qualifier(transaction, reference)
            if transaction.delete(KIND, id.name, qualifier) is not None:
                transaction.changed(id.name)

        await self._records.transact(id.account, id.region, run)

    def page(
        self, id: FunctionId, marker: str | None, limit: int | None
    ) -> tuple[Sequence[ProvisionedConfig], str | None]:
        """Those of aliases by name, then those of versions by number; and the marker of the next page."""
        view = self._records.view(id.account, id.region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListProvisionedConcurrencyConfigs", marker, 1)[0] if marker else ""
        if view.version(id.name) is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}")
        found = view.page(KIND, id.name, (id.name, after), limit + 1)
        page = [self._shown(view, FunctionRef(id, record.key), record.document) for record in found[:limit]]
        more = len(found) > limit
        return page, markers.make("ListProvisionedConcurrencyConfigs", found[limit - 1].key) if more else None

    def _check_limits(self, view: RecordView, function: str, qualifier: str, wanted: int) -> None:
        most = reserved(view, function)
        others = provisioned(view, function, beside=qualifier)
        if most is not None:
            if others + wanted > most:
                raise InvalidParameterValueException(
                    "Requested Provisioned Concurrency should not be greater than the "
                    "reservedConcurrentExecution for function"
                )
            return
        pool = Pool(view, self._limit)
        before = pool.kept.get(function, 0) - others
        free = pool.unreserved + before
        if wanted > free:
            raise LimitRefused(
                "Specified ConcurrentExecutions for function is greater than "
                f"account's unreserved concurrency [{free}]."
            )
        if wanted > before and free - wanted < pool.least:
            raise LimitRefused(
                "Specified ConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{pool.least}]."
            )

    def _shown(self, view: RecordView, reference: FunctionRef, document: Document) -> ProvisionedConfig:
        id, requested = reference.id, document["requested"]
        wanted = parts(view, id, reference.qualifier or LATEST, requested)
        functions = {version: view.version(id.name, version) for version in wanted}
        found = {version: self._standing(function) for version, function in functions.items() if function is not None}
        allocated = sum(min(wanted[version], standing.ready) for version, standing in found.items())
        failed = next((standing.failed for standing in found.values() if standing.failed), None)
        if any(function is None or function.state == "Failed" for function in functions.values()):
            failed = INIT_FAILED
        early = self._clock.now() - document["modified"] < ALLOCATION
        status: Status = "READY" if allocated == requested else "FAILED" if failed else "IN_PROGRESS"
        if early and status == "READY":
            status, allocated = "IN_PROGRESS", 0
        return ProvisionedConfig(
            reference,
            requested,
            _wire_time(document["modified"]),
            status,
            allocated,
            failed if status == "FAILED" else None,
        )


def _pointed_to(view: RecordView, reference: FunctionRef) -> tuple[str, ...]:
    """The versions behind a version or alias; none if it is gone."""
    id, qualifier = reference.id, reference.qualifier or LATEST
    if is_alias(qualifier):
        alias = aliases.find(view, id, qualifier)
        return () if alias is None else alias.versions
    return () if view.version(id.name, qualifier) is None else (qualifier,)


def _versions(view: RecordView, reference: FunctionRef) -> tuple[str, ...]:
    """The versions behind a version or alias. Raises ResourceNotFound."""
    versions = _pointed_to(view, reference)
    if not versions:
        missing = "Cannot find alias arn" if is_alias(reference.qualifier or LATEST) else "Function not found"
        raise ResourceNotFoundException(f"{missing}: {reference.arn}")
    return versions


def _check_qualifier(view: RecordView, reference: FunctionRef) -> None:
    if kind_of_qualifier(reference.qualifier or LATEST) == "latest":
        raise InvalidParameterValueException("The function resource provided must be an alias or a published version.")
    _versions(view, reference)


def _check_provisioned_once(view: RecordView, id: FunctionId, qualifier: str, version: str) -> None:
    if qualifier != version:
        if view.get(KIND, id.name, version) is not None:
            raise ResourceConflictException(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
        return
    for record in view.page(KIND, id.name):
        alias = aliases.find(view, id, record.key)
        if alias is not None and version in alias.versions:
            raise ResourceConflictException("Version is pointed by a Provisioned Concurrency alias")


def _unpublished() -> InvalidParameterValueException:
    return InvalidParameterValueException(
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )


def _wire_time(now: float) -> str:
    """Whole seconds, other than functions have (AWS: spec 1.1)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(now))
