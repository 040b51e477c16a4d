"""The dispatcher: takes queued events to the invoker, and says what becomes of each (AWS: spec 5).

One attempt at a time, with the rules as they are now; what follows from it (a retry, a record for a destination, a dead
letter) is the verdict, which `rounds` writes in one transaction.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from lamplighter.events import destinations
from lamplighter.events.contract import Again, Done, Hold, Measure, Verdict
from lamplighter.events.envelope import PREFIX, State, invocation_event, read_invocation, read_state, with_state
from lamplighter.events.records import Condition, Ending, Refusal, Response
from lamplighter.events.retry import after_error, after_refusal, stopped
from lamplighter.events.rules import Rules
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.lineage import mark_of, pass_through
from lamplighter.model.clock import Clock
from lamplighter.model.errors import (
    RecursiveInvocationException,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
)
from lamplighter.model.event_invoke import EventRules
from lamplighter.model.events import Event
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.model.targets import Target
from lamplighter.store.contract import Records, StoreFailed
from lamplighter.worker.contract import WorkerError

LARGEST_EVENT: Final = 1_048_576  # bytes of a payload (AWS: spec 2.1)

_log = logging.getLogger(__name__)


class Dispatcher:
    """Implements Work for the queues of functions."""

    def __init__(
        self, invoker: Invoker, limits: Limits, records: Records, rules: Rules, clock: Clock, measure: Measure
    ) -> None:
        self._invoker = invoker
        self._limits = limits
        self._records = records
        self._rules = rules
        self._clock = clock
        self._measure = measure

    async def run(self, event: Event) -> Verdict:
        attempt = _Attempt(event, self._rules.of)
        try:
            function = await self._invoker.resolve(attempt.id, attempt.qualifier)
        except ResourceNotFoundException as error:
            return self._nothing_to_run(attempt, error)
        except ServiceError as error:
            return self._refused(attempt, error, dead_letter=self._dead_letter(attempt.id))
        now, share = self._clock.now(), self._limits.share(attempt.id)
        if (condition := stopped(attempt.rules, event.accepted, now, share.reserved)) is not None:
            return self._ended(attempt, condition, function.dead_letter_arn)
        self._measure("AsyncEventAge", attempt.id, (now - event.accepted) * 1000)
        try:
            outcome = await self._invoker.invoke(function, attempt.invocation)
        except TooManyRequestsException:
            return Hold(share.when_free)
        except RecursiveInvocationException as error:
            self._measure("RecursiveInvocationsDropped", attempt.id, 1.0)
            attempt.refused(error.status, error.message or "")
            return self._ended(attempt, "RecursiveInvocation", function.dead_letter_arn)
        except ServiceError as error:
            return self._refused(attempt, error, dead_letter=function.dead_letter_arn)
        except WorkerError as error:
            _log.error("event %s: no environment: %s", event.id, error)
            return self._refused(attempt, error, dead_letter=function.dead_letter_arn)
        attempt.ran(Response(outcome.payload, function.version, outcome.error))
        if outcome.error is None:
            return self._ended(attempt, "Success", None)
        return self._failed(attempt, function)

    def _failed(self, attempt: "_Attempt", function: FunctionVersion) -> Verdict:
        event = attempt.event
        rules = self._rules.of(attempt.id, attempt.qualifier)  # they may have changed meanwhile
        decided = after_error(rules, event.accepted, self._clock.now(), attempt.count)
        if isinstance(decided, str):
            return self._ended(attempt, decided, function.dead_letter_arn)
        return Again(with_state(event, attempt.state, decided, attempt.count))

    def _refused(self, attempt: "_Attempt", error: ServiceError | WorkerError, dead_letter: str | None) -> Verdict:
        """Nothing of the function's doing: it doesn't count, and is tried again for as long as the event lives."""
        event, now = attempt.event, self._clock.now()
        status, message = (error.status, error.message or "") if isinstance(error, ServiceError) else (500, "")
        attempt.refused(status, message)
        if stopped(attempt.rules, event.accepted, now, None):
            return self._ended(attempt, "EventAgeExceeded", dead_letter)
        if 400 <= status < 500 and status != 409:
            return self._ended(attempt, "RetriesExhausted", dead_letter)  # will be refused for ever
        due = after_refusal(attempt.rules, event.accepted, now, attempt.state.refusals)
        # What no environment can be made for would else be tried event by event, as fast as it fails.
        pause = isinstance(error, (WorkerError, StoreFailed))
        return Again(with_state(event, attempt.state, due, attempt.count), pause)

    def _nothing_to_run(self, attempt: "_Attempt", error: ResourceNotFoundException) -> Verdict:
        """A qualifier that is gone has left its function's dead-letter queue; a function that is gone, nothing."""
        attempt.refused(error.status, error.message or "")
        if self._records.view(attempt.id.account, attempt.id.region).version(attempt.id.name) is None:
            self._measure("AsyncEventsDropped", attempt.id, 1.0)
            return Done(died="FunctionNotFound")
        return self._ended(attempt, "RetriesExhausted", self._dead_letter(attempt.id))

    def _dead_letter(self, id: FunctionId) -> str | None:
        latest = self._records.view(id.account, id.region).version(id.name)
        return None if latest is None else latest.dead_letter_arn

    def _ended(self, attempt: "_Attempt", condition: Condition, dead_letter: str | None) -> Done:
        succeeded, now = condition == "Success", self._clock.now()
        rules = self._rules.of(attempt.id, attempt.qualifier)
        destination = rules.destinations.get("OnSuccess" if succeeded else "OnFailure")
        died = None if succeeded else condition
        if died:
            self._measure("AsyncEventsDropped", attempt.id, 1.0)
        if not destination and not dead_letter:
            return Done(died=died)
        ending = attempt.ending(condition, now)
        then = destinations.follow(ending, destination, dead_letter, next_invocation, now)
        return Done(self._acceptable(attempt, then), died)

    def _acceptable(self, attempt: "_Attempt", then: Sequence[Event]) -> Sequence[Event]:
        """A function as destination takes no larger events than any other."""
        kept = [e for e in then if not (e.queue.startswith(PREFIX) and len(e.payload) > LARGEST_EVENT)]
        if len(kept) < len(then):
            _log.warning("event %s: its record is too large for a function", attempt.event.id)
            self._measure("DestinationDeliveryFailures", attempt.id, 1.0)
        return kept


class _Attempt:
    """One attempt at an event, and what it adds to what is known."""

    def __init__(self, event: Event, rules: Callable[[FunctionId, str | None], EventRules]) -> None:
        self.event = event
        self.id, self.qualifier, self.invocation = read_invocation(event)
        self.rules = rules(self.id, self.qualifier)
        self.state = read_state(event)
        self.count = event.attempts

    def ran(self, response: Response) -> None:
        self.count += 1
        self.state = State(response=response)

    def refused(self, status: int, message: str) -> None:
        self.state = State(self.state.refusals + 1, Refusal(status, message), self.state.response)

    def ending(self, condition: Condition, now: float) -> Ending:
        refusal, response = self.state.refusal, self.state.response
        if refusal is None and response is None:
            refusal = Refusal(429, "Rate Exceeded.")  # it waited for nothing else
        # Whoever gets the record is a link of the chain that this function is in.
        trace = pass_through(self.invocation.trace_id, mark_of(self.id)).trace
        return Ending(
            self.event.id,
            self.id,
            self.qualifier or LATEST,
            condition,
            self.count,
            now,
            self.event.payload,
            response,
            refusal,
            trace,
        )


def next_invocation(target: Target, payload: bytes, request_id: str, trace: str, now: float) -> Event:
    """The event that has a target function run."""
    function = FunctionId(target.account, target.region, target.name)
    return invocation_event(function, Invocation(request_id, payload, target.arn, trace), now)
