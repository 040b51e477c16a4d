"""Whether a role may send to the targets that its function is given: checked when they are configured, so that nobody
finds out by a record that never came (AWS: spec 5, 9; texts as AWS's users report them).

`Allows` says what a role may do (`role_policies`). Where nothing is known of a role, nothing is refused.
"""

from collections.abc import Callable
from typing import Final

from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.targets import Target, TargetService

# Whether the role with this ARN may do this action with the resource of this ARN.
Allows = Callable[[str, str, str], bool]


def everything(role: str, action: str, resource: str) -> bool:
    """What is allowed where nobody has said what roles may do."""
    return True


ACTIONS: Final[dict[TargetService, str]] = {
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "events": "events:PutEvents",
    "lambda": "lambda:InvokeFunction",
    "s3": "s3:PutObject",
}


def check_destination(role: str, target: Target, allows: Allows) -> None:
    """Raises InvalidParameterValueException."""
    if not _may_send(role, target, allows):
        operation = ACTIONS[target.service].partition(":")[2]
        raise InvalidParameterValueException(
            f"The function's execution role does not have permissions to call {operation} on {target.arn}"
        )


def check_dead_letter(role: str, target: Target, allows: Allows) -> None:
    """Raises InvalidParameterValueException."""
    if not _may_send(role, target, allows):
        service, _, operation = ACTIONS[target.service].partition(":")
        raise InvalidParameterValueException(
            f"The provided execution role does not have permissions to call {operation} on {service.upper()}"
        )


def _may_send(role: str, target: Target, allows: Allows) -> bool:
    resource = f"{target.arn}/*" if target.service == "s3" else target.arn  # objects, not the bucket
    return allows(role, ACTIONS[target.service], resource)
