"""Versions: what is published of $LATEST, and the end of one (AWS: spec 1.6).

A version is $LATEST with a number of its own, given by the store and never given again. It is published only when
$LATEST differs from the newest version; who is faster decides, as with every change, by the RevisionId that was read.
"""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lamplighter.control import markers, states
from lamplighter.model.aliases import KIND as ALIAS
from lamplighter.model.aliases import from_document
from lamplighter.model.clock import Clock, wire_time
from lamplighter.model.errors import (
    CodeStorageExceededException,
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.store.contract import Functions as StoredFunctions
from lamplighter.store.contract import PackageReferences, RecordTransaction, StaleWrite

LARGEST_PAGE: Final = 50

# What two versions may differ in and still be the same code and configuration. The description counts, as recorded.
PASSING: Final = {
    "version": "",
    "generation": 0,
    "revision": "",
    "last_modified": "",
    "state": "Active",
    "state_reason": None,
    "state_reason_code": None,
    "snap_start_on": False,
    "last_update_status": None,
    "last_update_reason": None,
    "last_update_reason_code": None,
}

# Records that hang on a version or an alias under its name and go with it. Its URL stays, as recorded.
GO_WITH_IT: Final = ("policy", "provisioned_concurrency", "event_invoke", "runtime_management", "scaling")


class Versions:
    """`code_storage`: bytes of all packages per account and region, each version counted."""

    def __init__(
        self,
        functions: StoredFunctions,
        references: PackageReferences,
        clock: Clock,
        code_storage: int,
    ) -> None:
        self._functions = functions
        self._references = references
        self._clock = clock
        self._code_storage = code_storage

    async def publish(
        self,
        id: FunctionId,
        code_sha256: str | None = None,
        description: str | None = None,
        revision: str | None = None,
        publish_to: str | None = None,
    ) -> FunctionVersion:
        """The new version; or the newest one, if $LATEST has not changed since. `code_sha256`: base64."""
        while True:  # each turn means that somebody else's write was accepted
            latest = await self._functions.get(id)
            if latest is None:
                raise ResourceNotFoundException(f"Function not found: {id.arn}")
            _check_publishable(latest)
            check_publish_to(publish_to)
            check_revision(revision, latest.revision)
            _check_code(code_sha256, latest)
            newest = await self._functions.newest(id)
            if newest is not None and same(newest, latest):
                return newest
            used = await self._references.total_size(id.account, id.region)
            if used + latest.code.size > self._code_storage:
                raise CodeStorageExceededException("Code storage limit exceeded.")
            version = replace(_published(latest, description), last_modified=wire_time(self._clock.now()))
            try:
                return await self._publish(latest, version)
            except StaleWrite:
                continue

    async def page(
        self, id: FunctionId, marker: str | None, limit: int | None
    ) -> tuple[Sequence[FunctionVersion], str | None]:
        """$LATEST and then the versions by number, and the marker of the next page, if there is one."""
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListVersionsByFunction", marker, 1)[0] if marker else None
        if await self._functions.get(id) is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}")
        found = await self._functions.versions(id, after, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return page, markers.make("ListVersionsByFunction", page[-1].version) if more else None

    async def _publish(self, latest: FunctionVersion, version: FunctionVersion) -> FunctionVersion:
        """$LATEST gets another RevisionId by it. Raises StaleWrite."""
        touched = replace(latest, revision=str(uuid.uuid4()))
        serve = "this" if latest.last_update_status == "Successful" else "before"
        published = await self._functions.replace(touched, latest.revision, serve, publish=version)
        assert published is not None
        return published


def snapshot(function: FunctionVersion) -> FunctionVersion:
    """What is published of $LATEST together with a change of it: Pending, as that is. The store gives the number."""
    return states.created(replace(function, version="", revision=str(uuid.uuid4())))


def same(version: FunctionVersion, latest: FunctionVersion) -> bool:
    """Whether there is nothing to publish: no change was accepted since, or none that made a difference."""
    return version.generation == latest.generation or replace(version, **PASSING) == replace(latest, **PASSING)


def check_publish_to(publish_to: str | None) -> None:
    """The moving version $LATEST.PUBLISHED is for functions on a capacity provider, of which there are none yet."""
    if publish_to is not None:
        raise InvalidParameterValueException(
            f"PublishTo {publish_to} is only supported for functions with a CapacityProviderConfig."
        )


def check_revision(wanted: str | None, latest: str) -> None:
    if wanted is not None and wanted != latest:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def delete(transaction: RecordTransaction, id: FunctionId, version: str) -> frozenset[str]:
    """The digests of the packages that it needed. One that does not exist is as good as deleted."""
    if transaction.version(id.name) is None:
        raise ResourceNotFoundException(f"Function not found: {id.arn}:{version}")
    _check_unreferenced(transaction, id, version)
    forget_qualifier(transaction, id.name, version)
    return transaction.delete_version(id.name, version) or frozenset()


def forget_qualifier(transaction: RecordTransaction, name: str, qualifier: str) -> None:
    """What hung on a version or an alias that is gone."""
    for kind in GO_WITH_IT:
        transaction.delete(kind, name, qualifier)


def _published(latest: FunctionVersion, description: str | None) -> FunctionVersion:
    """Active at once, as $LATEST is; but Pending with SnapStart, which takes its snapshot first, or if $LATEST's own
    last update failed (AWS: spec 1.4, 8)."""
    version = snapshot(latest if description is None else replace(latest, description=description))
    if latest.snap_start == "PublishedVersions" or latest.last_update_status != "Successful":
        return version
    return states.after(version, states.Event.SETTLED)


def _check_publishable(latest: FunctionVersion) -> None:
    states.check_updatable(latest)
    if latest.state != "Active":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {latest.state}"
        )


def _check_code(sha256: str | None, latest: FunctionVersion) -> None:
    """It is compared as text: what is no SHA-256 at all just differs, as recorded."""
    current = base64.b64encode(bytes.fromhex(latest.code.digest)).decode()
    if sha256 is not None and sha256 != current:
        raise InvalidParameterValueException(
            f"CodeSHA256 ({sha256}) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        )


def _check_unreferenced(transaction: RecordTransaction, id: FunctionId, version: str) -> None:
    aliases = [from_document(id, record.key, record.document) for record in transaction.page(ALIAS, id.name)]
    names = [alias.name for alias in aliases if version in alias.versions]
    if names:
        raise ResourceConflictException(
            f"Unable to delete version because the following aliases reference it: [{', '.join(names)}]"
        )
