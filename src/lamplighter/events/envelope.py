"""An asynchronous invocation as a queued event, and back: its head, which never changes, and its state, which the last
attempt leaves to the next."""

from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from lamplighter.events.records import Refusal, Response
from lamplighter.model.events import Event
from lamplighter.model.functions import FunctionId
from lamplighter.model.invocation import Invocation

PREFIX: Final = "invoke:"  # of the queues' names; what follows is the function's ARN


def invocation_event(function: FunctionId, invocation: Invocation, now: float) -> Event:
    """Accepted and due now, in the queue of its function."""
    head = {
        "arn": invocation.invoked_arn,
        "trace": invocation.trace_id,
        "context": invocation.client_context,
        "identity": invocation.cognito_identity,
        "tenant": invocation.tenant_id,
    }
    head = {name: value for name, value in head.items() if value is not None}
    return Event(invocation.request_id, PREFIX + function.arn, invocation.payload, orjson.dumps(head), now, now)


def read_invocation(event: Event) -> tuple[FunctionId, str | None, Invocation]:
    """The function, the qualifier it was invoked with, and the invocation."""
    head: dict[str, Any] = orjson.loads(event.head)
    function, qualifier = function_of(head["arn"])
    context, identity, tenant = head.get("context"), head.get("identity"), head.get("tenant")
    invocation = Invocation(
        event.id, event.payload, head["arn"], head["trace"], context, identity, tenant, source="async"
    )
    return function, qualifier, invocation


def function_of(arn: str) -> tuple[FunctionId, str | None]:
    """Of a function's ARN, with or without a qualifier."""
    _, _, _, region, account, _, name, *qualifier = arn.split(":")
    return FunctionId(account, region, name), qualifier[0] if qualifier else None


@dataclass(frozen=True, slots=True)
class State:
    """What the attempts so far have left: the response of the last one that ran; and if it was refused since, how
    often, and in which words at last."""

    response: Response | None = None
    refusals: int = 0
    refusal: Refusal | None = None


def read_state(event: Event) -> State:
    if not event.state:
        return State()
    text, _, payload = event.state.partition(b"\n")
    known: dict[str, Any] = orjson.loads(text)
    ran, refused = known["ran"], known["refused"]
    response = None if ran is None else Response(payload, ran["version"], ran["error"])
    return State(response, known["refusals"], None if refused is None else Refusal(**refused))


def with_state(event: Event, state: State, due: float, attempts: int) -> Event:
    response = state.response
    known = {
        "ran": None if response is None else {"version": response.version, "error": response.error},
        "refusals": state.refusals,
        "refused": state.refusal,
    }
    payload = (
        b"" if response is None else response.payload
    )  # apart from the rest: it may be large, and need not be JSON
    return replace(event, due=due, attempts=attempts, state=orjson.dumps(known) + b"\n" + payload)
