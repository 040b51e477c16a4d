"""Where events go when they have come to their end: destinations and dead-letter queues (AWS: spec 5).

What has to be sent is itself a queued event, written in the transaction that settles the one it tells about, so that
neither is lost without the other. A function of ours needs no sending: the record is its next event, in that same
transaction. Everything else waits in a queue per target, so that one that is away delays no other.

How often a delivery is tried is for whoever takes it from that queue; here it is done once, or said why not.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import orjson

from lamplighter.events import records
from lamplighter.events.records import Ending
from lamplighter.model.events import Event
from lamplighter.model.targets import Target, parse_target
from lamplighter.neighbours.eventbridge import EventBridge
from lamplighter.neighbours.s3 import S3
from lamplighter.neighbours.sns import Sns
from lamplighter.neighbours.sqs import Attribute, Sqs
from lamplighter.neighbours.wire import NeighbourError

T = TypeVar("T")

PREFIX: Final = "deliver:"  # of the queues' names; what follows is the target's ARN

Kind = Literal["destination", "dead_letter"]
METRICS: Final[dict[Kind, str]] = {"destination": "DestinationDeliveryFailures", "dead_letter": "DeadLetterErrors"}

# Makes the event that has a function run: target, payload, request id, trace header, wall time.
Invoke = Callable[[Target, bytes, str, str, float], Event]


class Undeliverable(Exception):
    """The target did not take it; the text says why. `again`: it may later."""

    def __init__(self, reason: str, again: bool) -> None:
        super().__init__(reason)
        self.again = again


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something for a target. `function`: the qualified ARN it is about; `at`: its end, seconds since the epoch;
    `error`: of a dead letter, the code and the message."""

    kind: Kind
    target: str
    body: bytes
    function: str
    request_id: str
    succeeded: bool
    at: float
    trace: str = ""
    error: tuple[int, str] | None = None

    @property
    def metric(self) -> str:
        """What to count when it is given up."""
        return METRICS[self.kind]


def follow(
    ending: Ending, destination: str | None, dead_letter: str | None, invoke: Invoke, now: float
) -> Sequence[Event]:
    """What to put into queues as the event is settled. `destination`: the ARN for this outcome; `dead_letter`: that of
    the dead-letter queue, which hears of failures only, and gets the event itself."""
    following: list[Event] = []
    if destination:
        target, record = parse_target(destination), records.invocation_record(ending)
        if target is not None and target.service == "lambda":
            following.append(invoke(target, record, str(_name(ending.request_id, "next")), ending.trace, now))
        else:
            following.append(_event(_delivery("destination", destination, record, ending), now))
    if dead_letter and not ending.succeeded:
        error = (records.error_code(ending), records.error_message(ending))
        following.append(_event(_delivery("dead_letter", dead_letter, ending.payload, ending, error), now))
    return following


def read(event: Event) -> Delivery:
    """What `follow` queued."""
    head: dict[str, Any] = orjson.loads(event.head)
    error = head.pop("error")
    return Delivery(**head, body=event.payload, error=None if error is None else (error[0], error[1]))


class Targets:
    """Every service that a delivery can go to. None: no endpoint is configured."""

    def __init__(self, sqs: Sqs | None, sns: Sns | None, events: EventBridge | None, s3: S3 | None) -> None:
        self._sqs = sqs
        self._sns = sns
        self._events = events
        self._s3 = s3

    async def deliver(self, delivery: Delivery) -> None:
        """Once. Raises Undeliverable."""
        target = parse_target(delivery.target)
        if target is None or target.service == "lambda":
            raise Undeliverable(f"{delivery.target} is nothing that this can be sent to.", again=False)
        try:
            match target.service:
                case "sqs":
                    await self._to_queue(_configured(self._sqs, "sqs"), target, delivery)
                case "sns":
                    await self._to_topic(_configured(self._sns, "sns"), target, delivery)
                case "events":
                    await self._to_bus(_configured(self._events, "events"), target, delivery)
                case "s3":
                    await self._to_bucket(_configured(self._s3, "s3"), target, delivery)
        except NeighbourError as error:
            raise Undeliverable(str(error), error.again) from error

    async def _to_queue(self, sqs: Sqs, target: Target, delivery: Delivery) -> None:
        queue = (target.region, target.account, target.name)
        await sqs.send(queue, records.fit(delivery.body), message_attributes(delivery), delivery.trace)

    async def _to_topic(self, sns: Sns, target: Target, delivery: Delivery) -> None:
        message = records.fit(delivery.body)
        await sns.publish(target.region, target.arn, message, message_attributes(delivery), delivery.trace)

    async def _to_bus(self, events: EventBridge, target: Target, delivery: Delivery) -> None:
        await events.put(
            target.region,
            target.arn,
            "lambda",
            f"Lambda Function Invocation Result - {'Success' if delivery.succeeded else 'Failure'}",
            (target.arn, delivery.function),
            delivery.body.decode(errors="replace"),
            delivery.at,
            delivery.trace,
        )

    async def _to_bucket(self, s3: S3, target: Target, delivery: Delivery) -> None:
        # The same name at every attempt: if only the answer was lost, there still is one object.
        name, parts = _name(delivery.request_id, "object"), delivery.function.split(":")
        region, function = parts[3], parts[6]
        key = records.object_key(function, delivery.at, name)
        await s3.put(target.name, key, delivery.body, "application/json", region)


def _configured(client: T | None, service: str) -> T:
    if client is None:
        raise Undeliverable(f"No endpoint is configured for it (option {service}_endpoint).", again=True)
    return client


def _delivery(kind: Kind, target: str, body: bytes, ending: Ending, error: tuple[int, str] | None = None) -> Delivery:
    return Delivery(kind, target, body, ending.arn, ending.request_id, ending.succeeded, ending.at, ending.trace, error)


def _event(delivery: Delivery, now: float) -> Event:
    head = {
        "kind": delivery.kind,
        "target": delivery.target,
        "function": delivery.function,
        "request_id": delivery.request_id,
        "succeeded": delivery.succeeded,
        "at": delivery.at,
        "trace": delivery.trace,
        "error": delivery.error,
    }
    id, queue = f"{delivery.request_id}:{delivery.kind}", PREFIX + delivery.target
    return Event(id, queue, delivery.body, orjson.dumps(head), now, now)


def message_attributes(delivery: Delivery) -> dict[str, Attribute] | None:
    """Of a dead letter; a record has none."""
    if delivery.error is None:
        return None
    code, message = delivery.error
    return {
        "RequestID": Attribute("String", delivery.request_id),
        "ErrorCode": Attribute("Number", str(code)),
        "ErrorMessage": Attribute("String", message),
    }


def _name(request_id: str, purpose: str) -> uuid.UUID:
    """As good as a random one, and the same every time."""
    return uuid.UUID(bytes=hashlib.sha256(f"{purpose} {request_id}".encode()).digest()[:16], version=4)
