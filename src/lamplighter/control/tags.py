"""Tags: words that users hang on functions and other resources, to find and to bill them by (AWS: spec 1.11).

A function's tags stand beside it, those of all else in its record, as the member `tags` of the document that is found
by the kind below and the resource's id. Tagging a function gives it another RevisionId, as recorded.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lamplighter.control import code_signing, states
from lamplighter.control.configuration import check_tags
from lamplighter.model.errors import AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.names import parse_function_name
from lamplighter.store.contract import Records, RecordTransaction, RecordView

ARN: Final = re.compile(r"arn:[^:]+:lambda:(?P<region>[^:]+):(?P<account>\d{12}):(?P<type>[^:]+):(?P<id>[^:]+)")

# Type in the ARN -> kind of the record, and what is said when there is none.
OTHERS: Final = {
    "code-signing-config": (code_signing.CONFIG, "The Lambda code signing configuration {} can not be found."),
    "event-source-mapping": ("event_source_mapping", "Event source mapping not found: {}"),
    "capacity-provider": ("capacity_provider", "Capacity provider not found: {}"),
    "network-connector": ("network_connector", "Network connector not found: {}"),
}

ByKey = dict[str, str]


@dataclass(frozen=True, slots=True)
class Taggable:
    """A resource that may have tags, whether it exists or not. `type`: "function", or one of OTHERS."""

    account: str
    region: str
    type: str
    id: str
    arn: str


class Tags:
    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, resource: Taggable) -> Mapping[str, str]:
        return _read(self._records.view(resource.account, resource.region), resource)

    async def add(self, resource: Taggable, tags: Mapping[str, str]) -> None:
        """Over those that it has under the same keys."""
        if not tags:
            raise InvalidParameterValueException("An error occurred and the request cannot be processed.")

        def added(present: ByKey) -> ByKey:
            together = {**present, **tags}
            check_tags(together)
            return together

        await self._change(resource, added)

    async def remove(self, resource: Taggable, keys: Sequence[str]) -> None:
        """Keys that it has no tags under are as good as removed."""
        await self._change(resource, lambda tags: {key: value for key, value in tags.items() if key not in keys})

    async def _change(self, resource: Taggable, change: Callable[[ByKey], ByKey]) -> None:
        def run(transaction: RecordTransaction) -> None:
            present = _read(transaction, resource)
            if resource.type == "function":
                _write_to_function(transaction, resource.id, change(present))
            else:
                kind, _ = OTHERS[resource.type]
                document = transaction.get(kind, resource.id, "") or {}
                tagged = {**document, "tags": change(present)}
                transaction.put(kind, resource.id, "", tagged, of_function=False)

        await self._records.transact(resource.account, resource.region, run)


def parse(arn: str, account: str, region: str) -> Taggable:
    """The resource of an ARN, which has passed the service model's pattern, for a caller in account and region.

    Raises what AWS says of those that cannot have tags, or are somebody else's."""
    match = ARN.match(arn)
    if match is None or match["type"] == "layer":
        raise InvalidParameterValueException(f"Tags are not supported on this resource: {arn}.")
    if match["type"] == "function":
        function = parse_function_name(arn, None, account, region)
        if function.qualifier is not None:
            raise InvalidParameterValueException(
                "Tags on function aliases and versions are not supported. Please specify a function ARN."
            )
        return Taggable(account, region, "function", function.id.name, function.arn)
    if match["account"] != account:
        raise AccessDeniedException()
    if match["region"] != region:
        raise ResourceNotFoundException(OTHERS[match["type"]][1].format(arn))
    return Taggable(account, region, match["type"], match["id"], arn)


def _read(view: RecordView, resource: Taggable) -> ByKey:
    """Raises ResourceNotFound."""
    if resource.type == "function":
        tags, missing = view.tags(resource.id), "Function not found: {}"
    else:
        kind, missing = OTHERS[resource.type]
        document = view.get(kind, resource.id, "")
        tags = None if document is None else document["tags"]
    if tags is None:
        raise ResourceNotFoundException(missing.format(resource.arn))
    return tags


def _write_to_function(transaction: RecordTransaction, name: str, tags: ByKey) -> None:
    """Raises ResourceConflict while an update is in progress."""
    latest = transaction.version(name)
    assert latest is not None  # it has tags
    states.check_updatable(latest)
    transaction.set_tags(name, tags)
    transaction.touch(name, str(uuid.uuid4()))
    transaction.changed(name)
