"""Configurations of function URLs: one for a function, one for each of its aliases (AWS: spec 7.1).

A URL's id is drawn when its configuration is made and stays for as long as that does. The configuration of an alias
outlives the alias, as recorded: whoever asks at the URL is refused until there is one of that name again. Serving is
none of this room's business.
"""

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from lamplighter.control import markers
from lamplighter.model.aliases import KIND as ALIAS
from lamplighter.model.clock import Clock
from lamplighter.model.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lamplighter.model.functions import LATEST, FunctionId
from lamplighter.model.names import FunctionRef
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

KIND: Final = "url"  # the key is the alias, or $LATEST for the function's own

URL: Final = "https://{id}.lambda-url.{region}.on.aws/"
ID_LETTERS: Final = string.ascii_lowercase + string.digits
ID_LENGTH: Final = 32

LARGEST_PAGE: Final = 50
METHODS: Final = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")

NO_FUNCTION: Final = "Function does not exist"
NO_CONFIG: Final = "The resource you requested does not exist."

Cors = Mapping[str, Any]  # in AWS's spelling


@dataclass(frozen=True, slots=True)
class UrlConfig:
    """`function`: without qualifier or with an alias. Times as on the wire."""

    function: FunctionRef
    id: str
    auth_type: str
    created: str
    modified: str
    invoke_mode: str = "BUFFERED"
    cors: Cors | None = None

    @property
    def url(self) -> str:
        return URL.format(id=self.id, region=self.function.id.region)


class Urls:
    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def create(
        self, function: FunctionRef, auth_type: str, invoke_mode: str | None, cors: Cors | None
    ) -> UrlConfig:
        check_cors(cors)
        id = "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))
        now = wire_time(self._clock.now())
        config = UrlConfig(function, id, auth_type, now, now, invoke_mode or "BUFFERED", cors or None)

        def run(transaction: RecordTransaction) -> UrlConfig:
            _check_exists(transaction, function)
            if find(transaction, function) is not None:
                raise ResourceConflictException(
                    f"Failed to create function url config for [functionArn = {function.arn}]. "
                    "Error message:  FunctionUrlConfig exists for this Lambda function"
                )
            return _keep(transaction, config)

        return await self._records.transact(function.id.account, function.id.region, run)

    async def get(self, function: FunctionRef) -> UrlConfig:
        return _existing(self._records.view(function.id.account, function.id.region), function)

    async def update(
        self, function: FunctionRef, auth_type: str | None, invoke_mode: str | None, cors: Cors | None
    ) -> UrlConfig:
        """None: as it is. CORS settings replace all there were; empty ones leave none."""
        check_cors(cors)
        now = wire_time(self._clock.now())

        def run(transaction: RecordTransaction) -> UrlConfig:
            _check_exists(transaction, function)
            current = _existing(transaction, function)
            return _keep(
                transaction,
                replace(
                    current,
                    auth_type=auth_type or current.auth_type,
                    invoke_mode=invoke_mode or current.invoke_mode,
                    cors=current.cors if cors is None else cors or None,
                    modified=now,
                ),
            )

        return await self._records.transact(function.id.account, function.id.region, run)

    async def delete(self, function: FunctionRef) -> None:
        def run(transaction: RecordTransaction) -> None:
            if transaction.delete(KIND, function.id.name, _key(function)) is None:
                raise ResourceNotFoundException(NO_CONFIG)
            transaction.changed(function.id.name)

        await self._records.transact(function.id.account, function.id.region, run)

    async def page(
        self, id: FunctionId, marker: str | None, limit: int | None
    ) -> tuple[Sequence[UrlConfig], str | None]:
        """The function's own and then those of its aliases by name, and the marker of the next page."""
        view = self._records.view(id.account, id.region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListFunctionUrlConfigs", marker, 1)[0] if marker else ""
        _check_exists(view, FunctionRef(id))
        records = view.page(KIND, id.name, (id.name, after), limit + 1)
        page = records[:limit]
        more = len(records) > limit
        return (
            [_from_document(_reference(id, record.key), record.document) for record in page],
            markers.make("ListFunctionUrlConfigs", page[-1].key) if more else None,
        )


def find(view: RecordView, function: FunctionRef) -> UrlConfig | None:
    document = view.get(KIND, function.id.name, _key(function))
    return None if document is None else _from_document(function, document)


def check_cors(cors: Cors | None) -> None:
    """What the service model leaves open. OPTIONS is none of the methods: AWS answers that by itself."""
    for method in (cors or {}).get("AllowMethods") or ():
        if method not in METHODS:
            raise InvalidParameterValueException(
                f"Invalid value in AllowMethods: {method}. Valid values are {', '.join(METHODS)}."
            )


def wire_time(now: float) -> str:
    """2026-01-02T03:04:05.678902Z"""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _existing(view: RecordView, function: FunctionRef) -> UrlConfig:
    config = find(view, function)
    if config is None:
        raise ResourceNotFoundException(NO_CONFIG)
    return config


def _check_exists(view: RecordView, function: FunctionRef) -> None:
    missing_alias = function.qualifier is not None and view.get(ALIAS, function.id.name, function.qualifier) is None
    if missing_alias or view.version(function.id.name) is None:
        raise ResourceNotFoundException(NO_FUNCTION)


def _key(function: FunctionRef) -> str:
    return function.qualifier or LATEST


def _reference(id: FunctionId, key: str) -> FunctionRef:
    return FunctionRef(id, None if key == LATEST else key)


def _keep(transaction: RecordTransaction, config: UrlConfig) -> UrlConfig:
    name = config.function.id.name
    document: Document = {
        "id": config.id,
        "auth_type": config.auth_type,
        "created": config.created,
        "modified": config.modified,
        "invoke_mode": config.invoke_mode,
        "cors": config.cors,
    }
    transaction.put(KIND, name, _key(config.function), document)
    transaction.changed(name)
    return config


def _from_document(function: FunctionRef, document: Document) -> UrlConfig:
    return UrlConfig(function, **document)
