"""Subscription filters: which events of a group are brought to which function."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.logs.groups import PAGE
from lamplighter.api.logs.names import group_of
from lamplighter.model.clock import Clock
from lamplighter.model.targets import parse_target
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.errors import (
    InvalidParameterException,
    LimitExceededException,
    ResourceNotFoundException,
)
from lamplighter.telemetry.logs.group import About
from lamplighter.telemetry.logs.pattern import parse_pattern

Members = dict[str, Any]

MOST: Final = 2  # of one group


# Whether the function of the first ARN is there and lets events of the log group of the other be brought to it.
Lets = Callable[[str, str], Awaitable[bool]]


class SubscriptionOperations:
    def __init__(self, archive: Archive, clock: Clock, lets: Lets) -> None:
        self._archive = archive
        self._clock = clock
        self._lets = lets

    def operations(self) -> Mapping[str, Operation]:
        return {
            "PutSubscriptionFilter": self.put,
            "DescribeSubscriptionFilters": self.describe,
            "DeleteSubscriptionFilter": self.delete,
        }

    async def put(self, call: Call, members: Members) -> Members:
        id, name, target = group_of(call, members), members["filterName"], members["destinationArn"]
        parse_pattern(members["filterPattern"])
        function = parse_target(target)
        if function is None or function.service != "lambda":
            raise InvalidParameterException(
                "destinationArn must be the ARN of a function in this version of Lamplighter."
            )
        if id.name == f"/aws/lambda/{function.name}":
            raise InvalidParameterException(
                "The log group provided is reserved for the function logs of the destination function."
            )
        source = await self._archive.look(id, lambda group: group.about.arn)
        here = (function.account, function.region) == (call.account, call.region)
        if not here or not await self._lets(target, source):
            raise InvalidParameterException(
                "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute "
                "your function."
            )
        kept = {
            "filterPattern": members["filterPattern"],
            "destinationArn": target,
            "distribution": members.get("distribution", "ByLogStream"),
            "roleArn": members.get("roleArn"),
        }

        def change(about: About) -> None:
            created = about.subscriptions.get(name, {}).get("creationTime", int(self._clock.now() * 1000))
            about.subscriptions[name] = {**kept, "creationTime": created}
            if len(about.subscriptions) > MOST:
                raise LimitExceededException("Resource limit exceeded.")

        await self._archive.change(id, change)
        return {}

    async def describe(self, call: Call, members: Members) -> Members:
        id = group_of(call, members)
        found = await self._archive.look(id, lambda group: dict(group.about.subscriptions))
        after, limit, prefix = members.get("nextToken", ""), members.get("limit", PAGE), members.get("filterNamePrefix")
        names = [name for name in sorted(found) if name > after and name.startswith(prefix or "")]
        return {
            "subscriptionFilters": [
                {"filterName": name, "logGroupName": id.name, **found[name]} for name in names[:limit]
            ],
            "nextToken": names[limit - 1] if len(names) > limit else None,
        }

    async def delete(self, call: Call, members: Members) -> Members:
        def change(about: About) -> None:
            if about.subscriptions.pop(members["filterName"], None) is None:
                raise ResourceNotFoundException("The specified subscription filter does not exist.")

        await self._archive.change(group_of(call, members), change)
        return {}
