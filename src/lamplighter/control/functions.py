"""Functions: the rules of creating, showing, changing and deleting them (AWS: spec 1.2 to 1.5, 1.8, 1.9).

Every change is one transaction, guarded by the RevisionId that was read; whoever loses a race decides anew on what the
winner left, so concurrent writers get AWS's conflicts and never each other's halves. What follows an accepted change
is for `settling`, which hears of it from the store.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final, Literal

from lamplighter.control import aliases, code_signing, concurrency, configuration, layers, markers, states, versions
from lamplighter.control.code import Code
from lamplighter.control.configuration import Wanted
from lamplighter.control.sources import Source, Sources
from lamplighter.control.states import Event
from lamplighter.control.target_permissions import Allows, check_dead_letter, everything
from lamplighter.model.clock import Clock, wire_time
from lamplighter.model.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import LATEST, CodePackage, FunctionId, FunctionVersion
from lamplighter.model.names import FunctionRef, check_new_name, kind_of_qualifier
from lamplighter.model.targets import parse_target
from lamplighter.store.contract import AlreadyExists, Records, RecordTransaction, RecordView, StaleWrite
from lamplighter.store.contract import Functions as StoredFunctions

LARGEST_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What functions have to know of runtimes: how to get one that this host lacks (None: it is there), and the ARN of
    the version of one in a region for an architecture."""

    available: Callable[[str], str | None]
    version_arn: Callable[[str, str, str], str]


class Functions:
    """`warned`: told of each deployment of a package that is unsigned, to a function that asks for signed ones.
    `allows`: what execution roles may do."""

    def __init__(
        self,
        functions: StoredFunctions,
        records: Records,
        code: Code,
        sources: Sources,
        runtimes: Runtimes,
        clock: Clock,
        warned: Callable[[FunctionId], None] = lambda id: None,
        allows: Allows = everything,
    ) -> None:
        self._allows = allows
        self._warned = warned
        self._functions = functions
        self._records = records
        self._code = code
        self._sources = sources
        self._runtimes = runtimes
        self._clock = clock

    async def create(
        self,
        id: FunctionId,
        source: Source,
        wanted: Wanted,
        package_type: Literal["Zip", "Image"] = "Zip",
        tags: Mapping[str, str] | None = None,
        publish: bool = False,
        publish_to: str | None = None,
        code_signing_config: str | None = None,
    ) -> FunctionVersion:
        """$LATEST, Pending; or, if it is published at once, version 1."""
        check_new_name(id.name)
        versions.check_publish_to(publish_to)
        _check_package_type(package_type, source, wanted)
        if wanted.runtime is None or wanted.handler is None:
            raise InvalidParameterValueException(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        configuration.check_runtime(wanted.runtime, self._runtimes.available)
        content = await self._sources.content(source, id.account, id.region)
        configuration.check_capacity_provider(wanted.other.get("CapacityProviderConfig"))
        configuration.check_tags(tags or {})
        if code_signing_config is not None:
            code_signing.check_deployment(self._view(id), id, code_signing_config)
        function = replace(self._blank(id, wanted.runtime), code=CodePackage("", 0, content.unzipped))
        function = self._apply(function, wanted)
        async with self._holding_layers(function), self._code.keeping(content.zip, content.unzipped) as package:
            function = states.created(replace(function, code=package, source_kms_key_arn=source.kms_key_arn))

            def sign(transaction: RecordTransaction) -> None:
                if code_signing_config is not None:
                    code_signing.attach(transaction, id, code_signing_config)

            try:
                published = await self._functions.create(
                    function, tags or {}, versions.snapshot(function) if publish else None, sign
                )
            except AlreadyExists:
                raise _exists(id) from None
        if code_signing_config is not None:
            self._warned(id)
        return published or function

    async def find(self, reference: FunctionRef) -> FunctionVersion:
        """The version that a request names. Raises ResourceNotFound."""
        id, version = reference.id, reference.qualifier or LATEST
        if kind_of_qualifier(version) == "alias":
            alias = aliases.find(self._records.view(id.account, id.region), id, version)
            version = version if alias is None else alias.version
        found = await self._functions.get(id, version)
        if found is None:
            raise ResourceNotFoundException(f"Function not found: {reference.arn}")
        return found

    async def tags(self, id: FunctionId) -> Mapping[str, str]:
        return await self._functions.tags(id)

    def reserved_concurrency(self, id: FunctionId) -> int | None:
        return concurrency.reserved(self._view(id), id.name)

    async def page(
        self, account: str, region: str, marker: str | None, limit: int | None, versions: bool = False
    ) -> tuple[Sequence[FunctionVersion], str | None]:
        """Functions by name, or all their versions, and the marker of the next page, if there is one."""
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        name = version = None
        if marker:
            name, version = markers.read("ListFunctions", marker, 2)
        if versions:
            after = (name, version or LATEST) if name is not None else None
            found = await self._functions.page_of_versions(account, region, after, limit + 1)
        else:
            found = await self._functions.page(account, region, name, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return page, markers.make("ListFunctions", page[-1].id.name, page[-1].version) if more else None

    async def update_configuration(self, id: FunctionId, wanted: Wanted, revision: str | None) -> FunctionVersion:
        """$LATEST as it will be, its update in progress."""

        def change(function: FunctionVersion) -> FunctionVersion:
            if wanted.runtime is not None:
                configuration.check_runtime(wanted.runtime, self._runtimes.available)
            if wanted.other.get("CapacityProviderConfig"):
                raise InvalidParameterValueException(
                    "CapacityProviderConfig cannot be added to a function that was created without it."
                )
            if wanted.layers:
                code_signing.check_deployment(self._view(id), id)
            return self._apply(function, wanted)

        return await self._update(id, revision, change)

    async def update_code(
        self,
        id: FunctionId,
        source: Source,
        architectures: tuple[str, ...] | None = None,
        publish: bool = False,
        publish_to: str | None = None,
        dry_run: bool = False,
        revision: str | None = None,
    ) -> FunctionVersion:
        """$LATEST as it will be, its update in progress; or the version published from it."""
        _check_updatable(await self._existing(id), revision)
        versions.check_publish_to(publish_to)
        if source.image_uri is not None:
            raise InvalidParameterValueException(
                "Please don't provide ImageUri when updating a function with packageType Zip."
            )
        content = await self._sources.content(source, id.account, id.region)

        def change(function: FunctionVersion, package: CodePackage) -> FunctionVersion:
            code_signing.check_deployment(self._view(id), id)
            function = replace(
                function,
                code=package,
                source_kms_key_arn=source.kms_key_arn,
                architectures=architectures or function.architectures,
            )
            configuration.check_unzipped(function)
            return self._on_its_runtime(function)

        if dry_run:
            return change(await self._existing(id), await self._code.measure(content.zip, content.unzipped))
        async with self._code.keeping(content.zip, content.unzipped) as package:
            updated = await self._update(id, revision, lambda function: change(function, package), publish)
        if code_signing.signs(self._view(id), id):
            self._warned(id)
        return updated

    async def delete(self, reference: FunctionRef) -> None:
        """The function with everything that is its own, or one published version. Raises ResourceNotFound."""
        id, qualifier = reference.id, reference.qualifier
        if qualifier is None:
            freed = await self._functions.delete(id)
        elif qualifier == LATEST:
            raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
        elif kind_of_qualifier(qualifier) == "alias":
            raise InvalidParameterValueException("Deletion of aliases is not currently supported.")
        else:
            freed = await self._records.transact(
                id.account, id.region, lambda transaction: versions.delete(transaction, id, qualifier)
            )
        if freed is None:
            raise ResourceNotFoundException(f"Function not found: {reference.arn}")
        await self._code.free(freed)

    async def _update(
        self,
        id: FunctionId,
        revision: str | None,
        change: Callable[[FunctionVersion], FunctionVersion],
        publish: bool = False,
    ) -> FunctionVersion:
        while True:  # each turn means that somebody else's write was accepted
            current = await self._existing(id)
            _check_updatable(current, revision)
            updated = replace(
                states.after(change(current), Event.UPDATED),
                generation=current.generation + 1,
                revision=str(uuid.uuid4()),
                last_modified=wire_time(self._clock.now()),
            )
            async with self._holding_layers(updated):
                newest = await self._functions.newest(id) if publish else None
                is_new = publish and (newest is None or not versions.same(newest, updated))
                snapshot = versions.snapshot(updated) if is_new else None
                try:
                    published = await self._functions.replace(
                        updated, current.revision, serve="before", publish=snapshot
                    )
                except StaleWrite:
                    continue
                return published or newest or updated

    async def _existing(self, id: FunctionId) -> FunctionVersion:
        return await self.find(FunctionRef(id))

    def _apply(self, function: FunctionVersion, wanted: Wanted) -> FunctionVersion:
        attached = None if wanted.layers is None else layers.attached(self._records, function.id, wanted.layers)
        function = configuration.apply(function, wanted, attached)
        if wanted.dead_letter_arn and (target := parse_target(wanted.dead_letter_arn)) is not None:
            check_dead_letter(function.role, target, self._allows)
        return self._on_its_runtime(function)

    def _on_its_runtime(self, function: FunctionVersion) -> FunctionVersion:
        """Which build it has, follows from runtime and architecture, as recorded."""
        if function.runtime is None:
            return replace(function, runtime_version_arn=None)
        arn = self._runtimes.version_arn(function.runtime, function.id.region, function.architectures[0])
        return replace(function, runtime_version_arn=arn)

    def _holding_layers(self, function: FunctionVersion) -> AbstractAsyncContextManager[None]:
        """They were found in the same breath, and stay until the function needs them by itself, deleted or not."""
        return self._code.holding([layer.package.digest for layer in function.layers])

    def _view(self, id: FunctionId) -> RecordView:
        return self._records.view(id.account, id.region)

    def _blank(self, id: FunctionId, runtime: str) -> FunctionVersion:
        """A new function with AWS's defaults (AWS: spec 1.8).

        Its generations start at the time, so that a function made again under the same name never repeats one."""
        return FunctionVersion(
            id=id,
            version=LATEST,
            generation=int(self._clock.now() * 1000),
            revision=str(uuid.uuid4()),
            role="",
            code=CodePackage("", 0),
            runtime=runtime,
            handler=None,
            last_modified=wire_time(self._clock.now()),
            log_group=f"/aws/lambda/{id.name}",
        )


def _check_updatable(function: FunctionVersion, revision: str | None) -> None:
    states.check_updatable(function)
    versions.check_revision(revision, function.revision)


def _check_package_type(package_type: str, source: Source, wanted: Wanted) -> None:
    """Image packages come from a registry. None is configured yet, so no image exists, and AWS says so."""
    if package_type == "Zip":
        if source.image_uri is not None:
            raise InvalidParameterValueException(
                "Please don't provide ImageUri when creating a function with packageType Zip."
            )
        return
    if wanted.runtime is not None or wanted.handler is not None:
        raise InvalidParameterValueException(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )
    if source.image_uri is None:
        raise InvalidParameterValueException("Please provide ImageUri when creating a function with packageType Image.")
    raise InvalidParameterValueException(
        f"Source image {source.image_uri} does not exist. Provide a valid source image."
    )


def _exists(id: FunctionId) -> ResourceConflictException:
    return ResourceConflictException(f"Function already exist: {id.name}")
