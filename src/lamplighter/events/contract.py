"""What the events room asks of its own parts and of those who give it something to do.

`Work` is what one kind of queue is for: running functions (dispatcher), bringing records to targets (deliveries), and
whatever else will stand on queues. It gets an event and says what becomes of it; `rounds` sees to it that it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lamplighter.model.events import Event
from lamplighter.model.functions import FunctionId

# Counts one value of a metric of AWS/Lambda for a function, in the metric's own unit, under the ARN as it was invoked
# (AWS: spec 10.2).
Measure = Callable[[str, FunctionId, float, str], None]


@dataclass(frozen=True, slots=True)
class Done:
    """The event is settled, and what follows is in its queue in the same transaction. `died`: why without success."""

    then: Sequence[Event] = ()
    died: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """To be tried again as it is now. `pause`: so should nothing else of its queue, for a while."""

    event: Event
    pause: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing of this queue can run now: it rests for a while, or until `when_free` calls back. The event is as it
    was."""

    when_free: Callable[[Callable[[], None]], None]


Verdict = Done | Again | Hold


class Work(Protocol):
    async def run(self, event: Event) -> Verdict:
        """What an exception means: a bug; the event is tried again later."""
        ...
