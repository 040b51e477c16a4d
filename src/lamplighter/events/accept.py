"""Takes events: what it has returned for is on disk, and will be run, or end where its rules say (AWS: spec 5)."""

from lamplighter.events.contract import Measure
from lamplighter.events.envelope import invocation_event
from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.store.contract import EventQueue


class Acceptance:
    def __init__(self, queue: EventQueue, clock: Clock, measure: Measure) -> None:
        self._queue = queue
        self._clock = clock
        self._measure = measure

    async def accept(self, function: FunctionVersion, invocation: Invocation) -> None:
        """Durable when it returns. Which version will run is decided by the qualifier, at each attempt anew.

        Raises StoreFailed, a ServiceException: nothing is kept then."""
        await self._queue.enqueue(invocation_event(function.id, invocation, self._clock.now()))
        self._measure("AsyncEventsReceived", function.id, 1.0, invocation.invoked_arn)
