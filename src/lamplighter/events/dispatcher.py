"""The dispatcher: takes queued events to the invoker, and says what becomes of each (AWS: spec 5).

One attempt, with the rules as they are now; what follows from it (a retry, a record for a destination, a dead letter)
is the verdict, which `rounds` writes in one transaction.
"""

import logging
from collections.abc import Sequence
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
    InvalidRuntimeException,
    RecursiveInvocationException,
    ResourceNotFoundException,
    ServiceError,
    TooManyRequestsException,
)
from lamplighter.model.events import Event
from lamplighter.model.functions import LATEST, FunctionId
from lamplighter.model.invocation import Invocation
from lamplighter.model.pieces import whole
from lamplighter.model.targets import Target
from lamplighter.store.contract import Records, StoreFailed
from lamplighter.worker.contract import TooLate, WorkerError

LARGEST: Final = 1_048_576  # bytes of an event's payload (AWS: spec 2.1)

_log = logging.getLogger(__name__)


class _Attempt:
    """What is known of an event, and what this attempt adds to it."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.id, self.qualifier, self.invocation = read_invocation(event)
        self.state = read_state(event)
        self.count = event.attempts
        self.dead_letter: str | None = None

    def refused(self, status: int, message: str) -> None:
        self.state = State(self.state.response, self.state.refusals + 1, Refusal(status, message))

    def tell(self, measure: Measure, name: str, value: float = 1.0) -> None:
        measure(name, self.id, value, self.invocation.invoked_arn)

    def again(self, due: float) -> Event:
        return with_state(self.event, self.state, due, self.count)


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
        attempt = _Attempt(event)
        share = self._limits.share(attempt.id)
        try:
            function = await self._invoker.resolve(attempt.id, attempt.qualifier)
            attempt.dead_letter = function.dead_letter_arn
            if stop := self._stop(attempt, share.reserved):
                return stop
            attempt.tell(self._measure, "AsyncEventAge", (self._clock.now() - event.accepted) * 1000)
            latest = event.accepted + self._rules.of(attempt.id, attempt.qualifier).age
            outcome = await whole(await self._invoker.invoke(function, attempt.invocation._replace(latest=latest)))
        except TooManyRequestsException:
            return Hold(share.when_free)
        except TooLate:
            return self._stopped(attempt, "EventAgeExceeded")
        except ResourceNotFoundException as error:
            return self._nothing_to_run(attempt, error)
        except RecursiveInvocationException as error:
            attempt.refused(error.status, error.message or "")
            return self._ended(attempt, "RecursiveInvocation")
        except (ServiceError, WorkerError) as error:
            return self._refused(attempt, error)
        attempt.count += 1
        attempt.state = State(Response(outcome.payload, function.version, outcome.error))
        return self._ended(attempt, "Success") if outcome.error is None else self._failed(attempt)

    def _stop(self, attempt: _Attempt, reserved: int | None) -> Verdict | None:
        """The end of an event that is not to be run any more."""
        rules = self._rules.of(attempt.id, attempt.qualifier)
        condition = stopped(rules, attempt.event.accepted, self._clock.now(), reserved)
        return None if condition is None else self._stopped(attempt, condition)

    def _stopped(self, attempt: _Attempt, condition: Condition) -> Done:
        if attempt.state == State():
            attempt.refused(429, "Rate Exceeded.")  # it never had a chance, and was waiting for one
        return self._ended(attempt, condition)

    def _failed(self, attempt: _Attempt) -> Verdict:
        rules = self._rules.of(attempt.id, attempt.qualifier)  # as they are now, not as they were when it began
        decided = after_error(rules, attempt.event.accepted, self._clock.now(), attempt.count)
        return self._ended(attempt, decided) if isinstance(decided, str) else Again(attempt.again(decided))

    def _refused(self, attempt: _Attempt, error: ServiceError | WorkerError) -> Verdict:
        """Nothing of the function's doing: it doesn't count, and is tried again for as long as the event may live."""
        status, message = (error.status, error.message or "") if isinstance(error, ServiceError) else (500, "")
        if status >= 500:
            told = {"request_id": attempt.event.id}
            _log.error("event %s of %s could not be run: %s", attempt.event.id, attempt.id.arn, error, extra=told)
        attempt.refused(status, message)
        if attempt.dead_letter is None:
            attempt.dead_letter = self._dead_letter(attempt.id)
        if stop := self._stop(attempt, None):
            return stop
        rules = self._rules.of(attempt.id, attempt.qualifier)
        due = after_refusal(rules, attempt.event.accepted, self._clock.now(), attempt.state.refusals)
        # What no environment can be made for would else be tried event after event, as fast as it fails.
        return Again(attempt.again(due), pause=isinstance(error, (WorkerError, StoreFailed, InvalidRuntimeException)))

    def _nothing_to_run(self, attempt: _Attempt, error: ResourceNotFoundException) -> Verdict:
        """A qualifier that is gone has left its function's dead-letter queue; a function that is gone, nothing."""
        if self._records.view(attempt.id.account, attempt.id.region).version(attempt.id.name) is None:
            attempt.tell(self._measure, "AsyncEventsDropped")
            return Done(died="FunctionNotFound")
        attempt.refused(error.status, error.message or "")
        attempt.dead_letter = self._dead_letter(attempt.id)
        return self._ended(attempt, "RetriesExhausted")

    def _dead_letter(self, id: FunctionId) -> str | None:
        latest = self._records.view(id.account, id.region).version(id.name)
        return None if latest is None else latest.dead_letter_arn

    def _ended(self, attempt: _Attempt, condition: Condition) -> Done:
        died = None if condition == "Success" else condition
        if died:
            attempt.tell(self._measure, "AsyncEventsDropped")
        rules = self._rules.of(attempt.id, attempt.qualifier)
        destination = rules.destinations.get("OnFailure" if died else "OnSuccess")
        dead_letter = attempt.dead_letter if died else None
        if not destination and not dead_letter:
            return Done(died=died)
        now = self._clock.now()
        ending = Ending(
            attempt.event.id,
            attempt.id,
            attempt.qualifier or LATEST,
            condition,
            attempt.count,
            now,
            attempt.event.payload,
            attempt.state.response,
            attempt.state.refusal,
            # Whoever is told is a link of the chain that this function is in.
            pass_through(attempt.invocation.trace_id, mark_of(attempt.id)).trace,
        )
        then = destinations.follow(ending, destination, dead_letter, next_invocation, now)
        return Done(self._acceptable(attempt, then), died)

    def _acceptable(self, attempt: _Attempt, then: Sequence[Event]) -> Sequence[Event]:
        """A function as destination takes no larger events than any other."""
        kept = [event for event in then if len(event.payload) <= LARGEST or not event.queue.startswith(PREFIX)]
        if len(kept) < len(then):
            told = {"request_id": attempt.event.id}
            _log.warning("event %s of %s: its record is too large", attempt.event.id, attempt.id.arn, extra=told)
            attempt.tell(self._measure, "DestinationDeliveryFailures")
        return kept


def next_invocation(target: Target, payload: bytes, request_id: str, trace: str, now: float) -> Event:
    """The event that has a target function run."""
    function = FunctionId(target.account, target.region, target.name)
    return invocation_event(function, Invocation(request_id, payload, target.arn, trace), now)
