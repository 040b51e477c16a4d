"""What a caller may do: everything for the account's own, and a list of actions for functions (decision 0014)."""

from typing import Final

from lamplighter.api.http import Caller
from lamplighter.model.errors import AccessDeniedException

# What a function may do by default: call functions, and what AWS's managed policy for a basic execution role allows.
INVOKE: Final = frozenset(
    ("lambda:InvokeFunction", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
)
_ACTIONS: Final = {  # where an action has another name than the operation (AWS: spec 9)
    **dict.fromkeys(("Invoke", "InvokeAsync", "InvokeWithResponseStream"), "InvokeFunction"),
    "GetLayerVersionByArn": "GetLayerVersion",
}


def authorize(caller: Caller, service: str, operation: str, resource: str) -> None:
    """Raises AccessDeniedException. `resource`: what an ARN has behind the account; "*" is none in particular."""
    if caller.allowed is None:
        return
    action = f"{service}:{_ACTIONS.get(operation, operation)}"
    if action not in caller.allowed:
        raise AccessDeniedException(
            f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} "
            f"because no identity-based policy allows the {action} action"
        )
