"""Events as values: a payload that waits in a queue until its consumer is done with it.

Queues are told apart by name, and a name says whose they are: `invoke:` and a function's ARN, `deliver:` and a
target's. What `head` and `state` mean is the consumer's business; a queue keeps them as bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """`accepted` and `due` are wall time, seconds since the epoch: an event's age counts from the first, and nobody is
    given it before the second."""

    id: str  # with `accepted`: what makes enqueueing it twice the same as once
    queue: str
    payload: bytes
    head: bytes  # what else belongs to it; never changes
    accepted: float
    due: float
    attempts: int = 0  # that ended and count
    state: bytes = b""  # what the consumer wants to find again at the next attempt
