"""Log groups as requests name them: by name, by ARN, or by either."""

import re
from typing import Any, Final

from lamplighter.api.http import Call
from lamplighter.telemetry.logs.archive import GroupId
from lamplighter.telemetry.logs.errors import InvalidParameterException, no_group

_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:logs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):log-group:(?P<name>[^:*]+)(:\*)?", re.ASCII
)


def group_of(call: Call, members: dict[str, Any]) -> GroupId:
    """By logGroupName or logGroupIdentifier, of which there must be one."""
    name, identifier = members.get("logGroupName"), members.get("logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise InvalidParameterException("Exactly one of logGroupName and logGroupIdentifier must be given.")
    return GroupId(call.account, call.region, name) if name is not None else identified(call, identifier or "")


def identified(call: Call, identifier: str) -> GroupId:
    """A name or an ARN."""
    return arn_of(call, identifier) if identifier.startswith("arn:") else GroupId(call.account, call.region, identifier)


def arn_of(call: Call, arn: str) -> GroupId:
    match = _ARN.fullmatch(arn)
    if match is None:
        raise InvalidParameterException(f"'{arn}' is not the ARN of a log group.")
    id = GroupId(match["account"], match["region"], match["name"])
    if id[:2] != (call.account, call.region):
        raise no_group()
    return id
