"""When an event is tried again, and when it is not any more: AWS's rules as pure functions (AWS: spec 5).

What the function itself failed at counts: it is tried again after one minute, then after two. What we could not run
(throttles, failures of the service) does not count: it is tried again and again, at growing intervals, for as long as
the event may live. An event is not kept waiting for an attempt that would come too late.
"""

from collections.abc import Sequence
from typing import Final

from lamplighter.events.records import Condition
from lamplighter.model.event_invoke import EventRules

DELAYS: Final[Sequence[float]] = (60.0, 120.0)  # seconds after the first and the second failure
SHORTEST, LONGEST = 1.0, 300.0  # seconds between attempts that don't count


def stopped(rules: EventRules, accepted: float, now: float, reserved: int | None) -> Condition | None:
    """Why there is to be no attempt now and none later; None: there may be one. `reserved`: of the function."""
    if now - accepted >= rules.age:
        return "EventAgeExceeded"
    return "ZeroReservedConcurrency" if reserved == 0 else None


def after_error(rules: EventRules, accepted: float, now: float, attempts: int) -> float | Condition:
    """When the next attempt is due after so many that failed, the last one now; or why there is none."""
    if attempts > rules.retries:
        return "RetriesExhausted"
    due = now + DELAYS[min(attempts, len(DELAYS)) - 1]
    return "EventAgeExceeded" if due - accepted >= rules.age else due


def after_refusal(rules: EventRules, accepted: float, now: float, refusals: int) -> float:
    """When it is tried again after it could not be run so many times in a row: at the latest when its time is up."""
    return max(now, min(now + backoff(refusals), accepted + rules.age))


def backoff(times: int) -> float:
    """Seconds to wait after something was refused so many times in a row (1: for the first time)."""
    return min(LONGEST, SHORTEST * 2.0 ** min(times - 1, 16))
