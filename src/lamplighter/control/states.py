"""The states of a function version as a table without I/O (AWS: spec 1.4).

A version is created Pending and becomes Active; an update leaves it as it is and shows LastUpdateStatus InProgress
until it has succeeded or failed. `after` gives the version as the table says.
"""

from dataclasses import replace
from enum import Enum
from typing import Final

from lamplighter.model.errors import ResourceConflictException
from lamplighter.model.functions import FunctionVersion, State, UpdateStatus


class Event(Enum):
    UPDATED = "an update was accepted"
    SETTLED = "creation or update is done"
    BROKEN = "creation or update failed"


Phase = tuple[State, UpdateStatus | None]

NEXT: Final[dict[tuple[Phase, Event], Phase]] = {
    (("Pending", None), Event.SETTLED): ("Active", "Successful"),
    (("Pending", None), Event.BROKEN): ("Failed", "Failed"),
    (("Active", "Successful"), Event.UPDATED): ("Active", "InProgress"),
    (("Active", "Failed"), Event.UPDATED): ("Active", "InProgress"),
    (("Active", "InProgress"), Event.SETTLED): ("Active", "Successful"),
    (("Active", "InProgress"), Event.BROKEN): ("Active", "Failed"),
    (("Failed", "Failed"), Event.UPDATED): ("Failed", "InProgress"),
    (("Failed", "InProgress"), Event.SETTLED): ("Active", "Successful"),
    (("Failed", "InProgress"), Event.BROKEN): ("Failed", "Failed"),
}

CREATING: Final = "The function is being created."  # AWS says so of updates too


def created(function: FunctionVersion) -> FunctionVersion:
    return replace(
        function,
        state="Pending",
        state_reason=CREATING,
        state_reason_code="Creating",
        last_update_status=None,
        last_update_reason=None,
        last_update_reason_code=None,
    )


def after(function: FunctionVersion, event: Event, reason: str = "", reason_code: str = "") -> FunctionVersion:
    """The version after an event that its state allows; reasons are for BROKEN. Raises KeyError for any other event."""
    state, update = NEXT[(function.state, function.last_update_status), event]
    if event is Event.UPDATED:
        reason, reason_code = CREATING, "Creating"
    if event is Event.SETTLED:
        reason = reason_code = ""
    keeps_state = state == function.state
    return replace(
        function,
        state=state,
        state_reason=function.state_reason if keeps_state else reason or None,
        state_reason_code=function.state_reason_code if keeps_state else reason_code or None,
        last_update_status=update,
        last_update_reason=reason or None,
        last_update_reason_code=reason_code or None,
    )


def check_updatable(function: FunctionVersion) -> None:
    """Raises ResourceConflict while something is in progress."""
    if function.last_update_status == "InProgress":
        raise ResourceConflictException(
            f"The operation cannot be performed at this time. An update is in progress for resource: {function.id.arn}"
        )
    if ((function.state, function.last_update_status), Event.UPDATED) not in NEXT:
        raise ResourceConflictException(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {function.state}"
        )
