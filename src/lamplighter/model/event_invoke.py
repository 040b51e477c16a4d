"""What becomes of asynchronous events, as a record: the control plane writes it, the dispatcher obeys it, so its form
is defined here (AWS: spec 1.11, 5).

It hangs on its function, under the qualifier it is for; what is invoked without one is $LATEST's. There is none, or a
member of it is None, where AWS's defaults hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KIND: Final = "event_invoke"  # of the record
DEFAULT_RETRIES: Final = 2
DEFAULT_AGE: Final = 21_600  # seconds


@dataclass(frozen=True, slots=True)
class EventRules:
    """`destinations`: ARNs by OnSuccess and OnFailure."""

    retries: int = DEFAULT_RETRIES  # 0-2, after a function error
    age: int = DEFAULT_AGE  # seconds, 60-21,600
    destinations: Mapping[str, str] = field(default_factory=dict[str, str])


def from_document(document: Mapping[str, Any] | None) -> EventRules:
    if document is None:
        return EventRules()
    retries, age = document.get("retries"), document.get("age")
    return EventRules(
        DEFAULT_RETRIES if retries is None else retries,
        DEFAULT_AGE if age is None else age,
        document.get("destinations") or {},
    )
