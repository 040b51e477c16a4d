"""CloudWatch Logs as one service of the front door."""

from collections.abc import Awaitable, Callable
from typing import Any

from lamplighter.api.http import Caller, Request
from lamplighter.api.logs.events import EventOperations
from lamplighter.api.logs.groups import GroupOperations
from lamplighter.api.logs.live_tail import LiveTailOperation
from lamplighter.api.logs.streams import StreamOperations
from lamplighter.api.logs.subscriptions import Lets, SubscriptionOperations
from lamplighter.api.other_service import OtherService
from lamplighter.model.clock import Clock
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.errors import InvalidParameterException

NAME = "logs"  # in credential scopes, and of the service model
VERSION = "2014-03-28"
PREFIX = "Logs_20140328"


def logs_service(
    archive: Archive,
    clock: Clock,
    flush: Callable[[], Awaitable[None]],
    lets: Lets,
    verify: Callable[[Request], Caller],
    region: str,
) -> OtherService:
    """`flush`: what functions have written is in the archive when it returns; `lets`: see subscriptions."""
    live_tail = LiveTailOperation(archive, clock)
    operations: dict[str, Any] = {
        **GroupOperations(archive, clock, flush).operations(),
        **StreamOperations(archive, flush).operations(),
        **EventOperations(archive, clock, flush).operations(),
        **SubscriptionOperations(archive, clock, lets).operations(),
        **live_tail.operations(),
    }
    return OtherService(
        NAME,
        VERSION,
        PREFIX,
        operations,
        verify,
        region,
        InvalidParameterException,
        closing=live_tail.close,
        large=frozenset(("FilterLogEvents", "GetLogEvents")),
    )
