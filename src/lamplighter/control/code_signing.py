"""Code signing: whose signed packages a function takes, and what becomes of others (AWS: spec 8).

Nothing here can sign, so every package counts as unsigned: a configuration that says Warn lets it pass, one that says
Enforce refuses it. That is asked when code or layers are deployed, never of what a function already has.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lamplighter.control import markers
from lamplighter.model.clock import Clock, wire_time
from lamplighter.model.errors import (
    CodeSigningConfigNotFoundException,
    CodeVerificationFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import FunctionId
from lamplighter.store.contract import Records, RecordTransaction, RecordView

LARGEST_PAGE: Final = 50

CONFIG: Final = "code_signing_config"  # owner is its id, the key is empty
USE: Final = "function_code_signing"  # owner is the function's name, the key is empty


@dataclass(frozen=True, slots=True)
class SigningConfig:
    arn: str
    publishers: tuple[str, ...]  # ARNs of signing profile versions
    modified: str  # as on the wire
    policy: str = "Warn"  # or Enforce
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def id(self) -> str:
        return self.arn.rpartition(":")[2]


class CodeSigning:
    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def create(
        self,
        account: str,
        region: str,
        publishers: Sequence[str],
        policy: str | None,
        description: str | None,
        tags: Mapping[str, str],
    ) -> SigningConfig:
        arn = f"arn:aws:lambda:{region}:{account}:code-signing-config:csc-{secrets.token_hex(9)[:17]}"
        now = wire_time(self._clock.now())
        config = SigningConfig(arn, tuple(publishers), now, policy or "Warn", description, tags)
        return await self._records.transact(account, region, lambda transaction: _keep(transaction, config))

    async def get(self, account: str, region: str, arn: str) -> SigningConfig:
        return _existing(self._records.view(account, region), arn)

    async def update(
        self,
        account: str,
        region: str,
        arn: str,
        publishers: Sequence[str] | None,
        policy: str | None,
        description: str | None,
    ) -> SigningConfig:
        """None: as it is."""

        def run(transaction: RecordTransaction) -> SigningConfig:
            current = _existing(transaction, arn)
            return _keep(
                transaction,
                SigningConfig(
                    arn,
                    current.publishers if publishers is None else tuple(publishers),
                    wire_time(self._clock.now()),
                    policy or current.policy,
                    current.description if description is None else description,
                    current.tags,
                ),
            )

        return await self._records.transact(account, region, run)

    async def delete(self, account: str, region: str, arn: str) -> None:
        def run(transaction: RecordTransaction) -> None:
            config = _existing(transaction, arn)
            if any(use.document["arn"] == arn for use in transaction.page(USE)):
                raise ResourceConflictException(
                    f"The Lambda code signing configuration {arn} is in use: detach it from its functions first."
                )
            transaction.delete(CONFIG, config.id, "")

        await self._records.transact(account, region, run)

    async def page(
        self, account: str, region: str, marker: str | None, limit: int | None
    ) -> tuple[Sequence[SigningConfig], str | None]:
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListCodeSigningConfigs", marker, 1)[0] if marker else ""
        records = self._records.view(account, region).page(CONFIG, None, (after, ""), limit + 1)
        page = [_from_document(record.document) for record in records[:limit]]
        more = len(records) > limit
        return page, markers.make("ListCodeSigningConfigs", page[-1].id) if more else None

    async def functions(
        self, account: str, region: str, arn: str, marker: str | None, limit: int | None
    ) -> tuple[Sequence[FunctionId], str | None]:
        """Those that use a configuration, by name."""
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListFunctionsByCodeSigningConfig", marker, 1)[0] if marker else ""
        view = self._records.view(account, region)
        _existing(view, arn)
        names = [use.owner for use in view.page(USE, None, (after, "")) if use.document["arn"] == arn]
        page = [FunctionId(account, region, name) for name in names[:limit]]
        more = len(names) > limit
        return page, markers.make("ListFunctionsByCodeSigningConfig", page[-1].name) if more else None

    async def attach(self, id: FunctionId, arn: str) -> None:
        def run(transaction: RecordTransaction) -> None:
            _check_function(transaction, id)
            attach(transaction, id, arn)

        await self._records.transact(id.account, id.region, run)

    async def attached(self, id: FunctionId) -> str | None:
        """The ARN of a function's configuration."""
        view = self._records.view(id.account, id.region)
        _check_function(view, id)
        use = view.get(USE, id.name, "")
        return None if use is None else use["arn"]

    async def detach(self, id: FunctionId) -> None:
        """A function without one stays so."""

        def run(transaction: RecordTransaction) -> None:
            _check_function(transaction, id)
            transaction.delete(USE, id.name, "")

        await self._records.transact(id.account, id.region, run)


def attach(transaction: RecordTransaction, id: FunctionId, arn: str) -> None:
    """Give a function that exists a configuration. What it has already is not looked at."""
    check_usable(transaction, arn)
    transaction.put(USE, id.name, "", {"arn": arn})


def check_usable(view: RecordView, arn: str) -> SigningConfig:
    """Raises CodeSigningConfigNotFound."""
    config = find(view, arn)
    if config is None:
        raise CodeSigningConfigNotFoundException(
            "The code signing configuration cannot be found. "
            f"Check that the provided configuration is not deleted: {arn}."
        )
    return config


def check_deployment(view: RecordView, id: FunctionId, arn: str | None = None) -> None:
    """Whether packages may be deployed to a function, which has, or is to have, the configuration `arn`.

    Raises CodeVerificationFailed when only signed ones may."""
    if arn is None:
        use = view.get(USE, id.name, "")
        config = None if use is None else find(view, use["arn"])
    else:
        config = check_usable(view, arn)
    if config is not None and config.policy == "Enforce":
        raise CodeVerificationFailedException(
            "Lambda cannot deploy the function. The function or layer might be signed using a signature that the "
            f"client is not configured to accept. Check the provided signature for {id.arn}."
        )


def signs(view: RecordView, id: FunctionId) -> bool:
    """Whether a function has a configuration: what was deployed to it then was with a warning, being unsigned."""
    use = view.get(USE, id.name, "")
    return use is not None and find(view, use["arn"]) is not None


def find(view: RecordView, arn: str) -> SigningConfig | None:
    """None also for another account's or region's."""
    document = view.get(CONFIG, arn.rpartition(":")[2], "")
    config = None if document is None else _from_document(document)
    return config if config is not None and config.arn == arn else None


def _existing(view: RecordView, arn: str) -> SigningConfig:
    config = find(view, arn)
    if config is None:
        raise ResourceNotFoundException(f"The Lambda code signing configuration {arn} can not be found.")
    return config


def _check_function(view: RecordView, id: FunctionId) -> None:
    if view.version(id.name) is None:
        raise ResourceNotFoundException(f"Function not found: {id.arn}")


def _keep(transaction: RecordTransaction, config: SigningConfig) -> SigningConfig:
    document: dict[str, Any] = {
        "arn": config.arn,
        "publishers": config.publishers,
        "modified": config.modified,
        "policy": config.policy,
        "description": config.description,
        "tags": dict(config.tags),
    }
    transaction.put(CONFIG, config.id, "", document, of_function=False)
    return config


def _from_document(document: dict[str, Any]) -> SigningConfig:
    members: dict[str, Any] = {**document, "publishers": tuple(document["publishers"])}
    return SigningConfig(**members)
