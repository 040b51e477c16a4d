"""Where events go when they have come to their end: destinations and dead-letter queues (AWS: spec 5).

`Deliveries` says what is to be brought where; it is queued in the transaction that settles the event, so that neither is
lost without the other. `NeighbourTargets` brings it there, once, or says why not: patience is for whoever takes it from
the queue. A target that is a function of ours never gets that far, since its record is queued as its next event.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import TypeVar

from lamplighter.events import records
from lamplighter.events.contract import Delivery, DeliveryFailed, Ended
from lamplighter.model.event_invoke import EventRules
from lamplighter.model.functions import FunctionId
from lamplighter.model.targets import Target, parse_target
from lamplighter.neighbours.eventbridge import EventBridge
from lamplighter.neighbours.s3 import S3
from lamplighter.neighbours.sns import Sns
from lamplighter.neighbours.sqs import Attribute, Sqs
from lamplighter.neighbours.wire import NeighbourError

T = TypeVar("T")


class Deliveries:
    """Implements Deliverer."""

    def deliveries(self, ended: Ended, rules: EventRules, dead_letter_arn: str | None) -> Sequence[Delivery]:
        """The record for the destination, and the event itself for the dead-letter queue, which hears of failures
        only. Both, if both are configured."""
        succeeded = ended.condition == records.SUCCESS
        found: list[Delivery] = []
        if destination := rules.destinations.get("OnSuccess" if succeeded else "OnFailure"):
            record = records.invocation_record(ended)
            found.append(Delivery("destination", destination, record, trace=ended.trace_id))
        if dead_letter_arn and not succeeded:
            attributes = records.message_attributes(ended)
            found.append(Delivery("dead letter", dead_letter_arn, ended.payload, attributes, ended.trace_id))
        return found


class NeighbourTargets:
    """Implements Targets: every service that a delivery can go to. None: no endpoint is configured."""

    def __init__(self, sqs: Sqs | None, sns: Sns | None, events: EventBridge | None, s3: S3 | None) -> None:
        self._sqs = sqs
        self._sns = sns
        self._events = events
        self._s3 = s3

    async def send(self, delivery: Delivery, function: FunctionId, delivery_id: str) -> None:
        target = parse_target(delivery.target)
        if target is None or target.service == "lambda":
            raise DeliveryFailed(f"{delivery.target} is nothing that this can be sent to.", final=True)
        try:
            match target.service:
                case "sqs":
                    await self._to_queue(_configured(self._sqs, "sqs"), target, delivery)
                case "sns":
                    await self._to_topic(_configured(self._sns, "sns"), target, delivery)
                case "events":
                    await self._to_bus(_configured(self._events, "events"), target, delivery)
                case "s3":
                    await self._to_bucket(_configured(self._s3, "s3"), target, delivery, function, delivery_id)
        except NeighbourError as error:
            raise DeliveryFailed(str(error), final=not error.again) from error

    async def _to_queue(self, sqs: Sqs, target: Target, delivery: Delivery) -> None:
        queue = (target.region, target.account, target.name)
        await sqs.send(queue, records.fit(delivery.body), _attributes(delivery), delivery.trace)

    async def _to_topic(self, sns: Sns, target: Target, delivery: Delivery) -> None:
        message = records.fit(delivery.body)
        await sns.publish(target.region, target.arn, message, _attributes(delivery), delivery.trace)

    async def _to_bus(self, events: EventBridge, target: Target, delivery: Delivery) -> None:
        head = records.read_head(delivery.body)
        await events.put(
            target.region,
            target.arn,
            "lambda",
            f"Lambda Function Invocation Result - {'Success' if head.succeeded else 'Failure'}",
            (target.arn, head.function_arn),
            delivery.body.decode(),
            records.seconds(head.timestamp),
            delivery.trace,
        )

    async def _to_bucket(
        self, s3: S3, target: Target, delivery: Delivery, function: FunctionId, delivery_id: str
    ) -> None:
        key = object_key(function, records.read_head(delivery.body).timestamp, delivery_id)
        await s3.put(target.name, key, delivery.body, "application/json", function.region)


def object_key(function: FunctionId, timestamp: str, delivery_id: str) -> str:
    """The same at every attempt: if only the answer to the first was lost, there still is one object."""
    name = uuid.UUID(bytes=hashlib.sha256(delivery_id.encode()).digest()[:16], version=4)
    day, second = timestamp[:10], timestamp[:19]
    return f"aws/lambda/async/{function.name}/{day.replace('-', '/')}/{second.replace(':', '.')}-{name}"


def _configured(client: T | None, service: str) -> T:
    if client is None:
        raise DeliveryFailed(f"No endpoint is configured for it (option {service}_endpoint).")
    return client


def _attributes(delivery: Delivery) -> dict[str, Attribute]:
    return {name: Attribute(kind, value) for name, (kind, value) in delivery.attributes.items()}
