"""Operations that are on the wire, but whose rules come with a later change: the one place that lists them.

They are parsed and validated like all others, then refused with UnknownOperationException, 404: how AWS answers for an
operation that an endpoint does not do. No SDK retries it (as it would a 5xx or a throttle), and no tool takes it for a
word about the caller's input (InvalidParameterValueException) or about a resource (ResourceNotFoundException). An
operation leaves this table together with its rules.
"""

from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.model.errors import UnknownOperationException

UNAVAILABLE: dict[str, tuple[str, ...]] = {
    "event source mappings": (
        "CreateEventSourceMapping",
        "DeleteEventSourceMapping",
        "GetEventSourceMapping",
        "ListEventSourceMappings",
        "UpdateEventSourceMapping",
    ),
    "capacity providers": (
        "CreateCapacityProvider",
        "DeleteCapacityProvider",
        "GetCapacityProvider",
        "ListCapacityProviders",
        "ListFunctionVersionsByCapacityProvider",
        "UpdateCapacityProvider",
    ),
    "durable functions": (
        "CheckpointDurableExecution",
        "DeleteDurableExecution",
        "GetDurableExecution",
        "GetDurableExecutionHistory",
        "GetDurableExecutionState",
        "ListDurableExecutionsByFunction",
        "PauseDurableExecution",
        "ResumeDurableExecution",
        "SendDurableExecutionCallbackFailure",
        "SendDurableExecutionCallbackHeartbeat",
        "SendDurableExecutionCallbackSuccess",
        "StopDurableExecution",
    ),
}


def unavailable(operation: str) -> Operation:
    """What stands in for an operation without rules: of this table, or one that a newer service model has brought."""

    async def refuse(call: Call, values: dict[str, Any]) -> dict[str, Any]:
        raise UnknownOperationException(f"The operation {operation} is not available in this version of Lamplighter.")

    return refuse
