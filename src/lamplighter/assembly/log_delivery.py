"""Log events of subscription filters on their way to functions, while the functions' policies let them in.

A policy that lets them in no more refuses each delivery, many a second where many lines come. The operator is told
once, and again when the policy was changed and still refuses: more lines would say nothing new, and hide others.
"""

import logging
from typing import Final

from lamplighter.assembly.stores import Stores
from lamplighter.control.permissions import KIND
from lamplighter.control.service_permissions import ServiceCall, may_invoke
from lamplighter.events import envelope
from lamplighter.events.accept import Acceptance
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation

_REMEMBERED: Final = 1000  # refusals that were told

_log = logging.getLogger("lamplighter")


async def lets_logs(stores: Stores, arn: str, source: str) -> bool:
    """Whether there is such a function, and its policy lets events of this log group (its ARN) be brought to it."""
    id, qualifier = envelope.function_of(arn)
    service = ServiceCall((f"logs.{id.region}.amazonaws.com", "logs.amazonaws.com"), f"{source}:*", id.account)
    return await stores.functions.serving(id) is not None and may_invoke(stores.records, id, qualifier, service)


class LogDelivery:
    def __init__(self, stores: Stores, acceptance: Acceptance, ids: Ids) -> None:
        self._stores = stores
        self._acceptance = acceptance
        self._ids = ids
        self._told: dict[tuple[str, str], object] = {}  # the policy that refused, by the function's and the group's ARN

    async def deliver(self, arn: str, source: str, payload: bytes) -> None:
        """An event for the function; durable when it returns, unless the function is not to have it."""
        function = await self._stores.functions.serving(envelope.function_of(arn)[0])
        if function is None or not await lets_logs(self._stores, arn, source):
            self._refused(arn, source)
            return
        self._told.pop((arn, source), None)
        await self._acceptance.accept(function, Invocation(self._ids.request_id(), payload, arn, self._ids.trace()))

    def _refused(self, arn: str, source: str) -> None:
        id, qualifier = envelope.function_of(arn)
        policy = self._stores.records.view(id.account, id.region).get(KIND, id.name, qualifier or "")
        key = arn, source
        if key in self._told and self._told[key] == policy:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.pop(next(iter(self._told)))
        self._told[key] = policy
        _log.warning("logs of %s are not brought to %s: it is gone, or its policy does not let them in", source, arn)
