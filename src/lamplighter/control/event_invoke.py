"""What becomes of asynchronous events: how often and how long they are tried, and where their records go (AWS: spec
1.11, 5). A configuration belongs to one qualifier; without one, to $LATEST.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lamplighter.control import aliases, markers
from lamplighter.control.target_permissions import Allows, check_destination, everything
from lamplighter.model.clock import Clock
from lamplighter.model.errors import InvalidParameterValueException, ResourceNotFoundException
from lamplighter.model.event_invoke import KIND
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.names import FunctionRef, is_alias
from lamplighter.model.targets import Target, parse_target
from lamplighter.store.contract import Document, Records, RecordTransaction, RecordView

LARGEST_PAGE: Final = 50

Side = Literal["OnSuccess", "OnFailure"]
SIDES: Final[tuple[Side, Side]] = ("OnSuccess", "OnFailure")

NO_FUNCTION: Final = "The function doesn't exist."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says. None: nothing. A side without a destination, or with an empty one, is to have none."""

    retries: int | None = None
    age: int | None = None  # seconds
    destinations: Mapping[Side, str | None] | None = None


@dataclass(frozen=True, slots=True)
class EventInvokeConfig:
    """`function`: with its qualifier. `modified`: seconds since the epoch. None: AWS's default (2 retries, 6 hours)."""

    function: FunctionRef
    modified: float
    retries: int | None = None
    age: int | None = None  # seconds
    destinations: Mapping[Side, str] = field(default_factory=dict[Side, str])


class EventInvokeConfigs:
    """A FunctionRef without qualifier stands for $LATEST. `allows`: what execution roles may do."""

    def __init__(self, records: Records, clock: Clock, allows: Allows = everything) -> None:
        self._records = records
        self._clock = clock
        self._allows = allows

    async def put(self, function: FunctionRef, wanted: Wanted) -> EventInvokeConfig:
        """Instead of whatever there was."""
        return await self._write(function, wanted, lambda _: EventInvokeConfig(function, 0.0))

    async def update(self, function: FunctionRef, wanted: Wanted) -> EventInvokeConfig:
        """What the request doesn't name stays as it is."""
        return await self._write(function, wanted, lambda view: _existing(view, function))

    async def get(self, function: FunctionRef) -> EventInvokeConfig:
        return _existing(self._records.view(function.id.account, function.id.region), function)

    async def delete(self, function: FunctionRef) -> None:
        def run(transaction: RecordTransaction) -> None:
            if transaction.delete(KIND, function.id.name, _qualifier(function)) is None:
                raise _missing(function)
            transaction.changed(function.id.name)

        await self._records.transact(function.id.account, function.id.region, run)

    async def page(
        self, id: FunctionId, marker: str | None, limit: int | None
    ) -> tuple[Sequence[EventInvokeConfig], str | None]:
        """$LATEST and aliases by name, then versions by number; and the marker of the next page."""
        view = self._records.view(id.account, id.region)
        limit = min(limit or LARGEST_PAGE, LARGEST_PAGE)
        after = markers.read("ListFunctionEventInvokeConfigs", marker, 1)[0] if marker else ""
        _version(view, FunctionRef(id))
        records = view.page(KIND, id.name, (id.name, after), limit + 1)
        page = records[:limit]
        more = len(records) > limit
        return (
            [_from_document(FunctionRef(id, record.key), record.document) for record in page],
            markers.make("ListFunctionEventInvokeConfigs", page[-1].key) if more else None,
        )

    async def _write(
        self, function: FunctionRef, wanted: Wanted, start: Callable[[RecordView], EventInvokeConfig]
    ) -> EventInvokeConfig:
        if wanted == Wanted():
            raise InvalidParameterValueException(
                "You must specify at least one of error handling or destination setting."
            )
        now = self._clock.now()

        def run(transaction: RecordTransaction) -> EventInvokeConfig:
            before = start(transaction)
            role = _version(transaction, function).role
            for target in _checked(transaction, function, wanted.destinations or {}):
                check_destination(role, target, self._allows)
            together: dict[Side, str | None] = {**before.destinations, **(wanted.destinations or {})}
            config = EventInvokeConfig(
                FunctionRef(function.id, _qualifier(function)),
                now,
                before.retries if wanted.retries is None else wanted.retries,
                before.age if wanted.age is None else wanted.age,
                {side: arn for side, arn in together.items() if arn},
            )
            transaction.put(KIND, function.id.name, _qualifier(function), _to_document(config))
            transaction.changed(function.id.name)
            return config

        return await self._records.transact(function.id.account, function.id.region, run)


def find(view: RecordView, function: FunctionRef) -> EventInvokeConfig | None:
    reference = FunctionRef(function.id, _qualifier(function))
    document = view.get(KIND, function.id.name, _qualifier(function))
    return None if document is None else _from_document(reference, document)


def _existing(view: RecordView, function: FunctionRef) -> EventInvokeConfig:
    config = find(view, function)
    if config is None:
        raise _missing(function)
    return config


def _missing(function: FunctionRef) -> ResourceNotFoundException:
    return ResourceNotFoundException(
        f"The function {function.id.arn}:{_qualifier(function)} doesn't have an EventInvokeConfig"
    )


def _qualifier(function: FunctionRef) -> str:
    return function.qualifier or LATEST


def _find_version(view: RecordView, id: FunctionId, qualifier: str) -> FunctionVersion | None:
    """That it names; of an alias between two, the first: they have the same role."""
    if is_alias(qualifier):
        alias = aliases.find(view, id, qualifier)
        return None if alias is None else view.version(id.name, alias.version)
    return view.version(id.name, qualifier)


def _version(view: RecordView, function: FunctionRef) -> FunctionVersion:
    found = _find_version(view, function.id, _qualifier(function))
    if found is None:
        raise ResourceNotFoundException(NO_FUNCTION)
    return found


def _checked(view: RecordView, function: FunctionRef, destinations: Mapping[Side, str | None]) -> Generator[Target]:
    """Where records can go. Queues, topics, buses and buckets are not looked for: they may come later."""
    for side, arn in destinations.items():
        if not arn:
            continue
        target = parse_target(arn)
        if target is None or (target.service == "s3" and side == "OnSuccess"):
            raise InvalidParameterValueException(
                f"The provided destination config {_as_aws_prints(destinations)} is invalid."
            )
        if target.service == "lambda":
            _check_function(view, function, target)
        yield target


def _check_function(view: RecordView, function: FunctionRef, target: Target) -> None:
    """A function as destination: of this region, another than the one it is for, and, if it is of this account, there.
    Another account's is for that account to know."""
    own = target.account == function.id.account
    if own and target.region == function.id.region and target.name == function.id.name:
        raise InvalidParameterValueException("You can't specify the function as a destination for itself.")
    there = FunctionId(target.account, target.region, target.name)
    missing = own and _find_version(view, there, target.qualifier or LATEST) is None
    if missing or target.region != function.id.region:
        raise InvalidParameterValueException(f"The destination ARN {target.arn} is invalid.")


def _as_aws_prints(destinations: Mapping[Side, str | None]) -> str:
    """DestinationConfig(onSuccess=OnSuccess(destination=arn:…), onFailure=null)"""

    def printed(side: Side) -> str:
        if side not in destinations:
            return "null"
        arn = destinations[side]
        return f"{side}(destination={'null' if arn is None else arn})"

    return f"DestinationConfig(onSuccess={printed('OnSuccess')}, onFailure={printed('OnFailure')})"


def _to_document(config: EventInvokeConfig) -> Document:
    return {
        "modified": config.modified,
        "retries": config.retries,
        "age": config.age,
        "destinations": dict(config.destinations),
    }


def _from_document(function: FunctionRef, document: Document) -> EventInvokeConfig:
    return EventInvokeConfig(function, **document)
