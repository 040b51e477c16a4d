"""Brings what ended events have left behind to its targets: tries until it is taken, or can't be any more.

A delivery that waits is a queued event like others, so it survives whatever the service survives. One that is given up
is counted and logged: there is nowhere left to send it.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from lamplighter.events import destinations
from lamplighter.events.contract import Again, Done, Measure, Verdict
from lamplighter.events.destinations import Targets, Undeliverable
from lamplighter.events.envelope import function_of
from lamplighter.events.retry import backoff
from lamplighter.model.clock import Clock
from lamplighter.model.events import Event
from lamplighter.model.functions import LATEST
from lamplighter.model.request import REQUEST

LONGEST: Final = 21_600.0  # seconds that a delivery is tried for
DEADLINE: Final = 60.0  # seconds for one attempt

_log = logging.getLogger(__name__)


class Deliveries:
    """Implements Work for the queues of targets."""

    def __init__(self, targets: Targets, clock: Clock, measure: Measure) -> None:
        self._targets = targets
        self._clock = clock
        self._measure = measure

    async def run(self, event: Event) -> Verdict:
        delivery = destinations.read(event)
        REQUEST.set(delivery.request_id)
        try:
            async with asyncio.timeout(DEADLINE):
                await self._targets.deliver(delivery)
        except TimeoutError:
            failure = Undeliverable(f"no answer within {DEADLINE:.0f} s", again=True)
        except Undeliverable as error:
            failure = error
        else:
            return Done()
        due = self._clock.now() + backoff(event.attempts + 1)
        if failure.again and due - event.accepted < LONGEST:
            _log.info("%s for %s, to be tried again: %s", delivery.kind, delivery.target, failure)
            # What is away for one is away for all: the rest of its queue need not find out by itself.
            return Again(replace(event, due=due, attempts=event.attempts + 1), pause=True)
        _log.warning("%s for %s given up: %s", delivery.kind, delivery.target, failure)
        invoked = delivery.function.removesuffix(f":{LATEST}")
        self._measure(delivery.metric, function_of(invoked)[0], 1.0, invoked)
        return Done(died=delivery.metric)
