"""Log groups: create, delete, describe, retention, tags."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.logs.names import arn_of, group_of
from lamplighter.model.clock import Clock
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.errors import InvalidParameterException, TooManyTagsException, ValidationException
from lamplighter.telemetry.logs.group import About

Members = dict[str, Any]

PAGE: Final = 50
MOST_TAGS: Final = 50
RETENTIONS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180),
    *(365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class GroupOperations:
    """`flush`: what functions have written so far is to be found once it returns."""

    def __init__(self, archive: Archive, clock: Clock, flush: Callable[[], Awaitable[None]]) -> None:
        self._archive = archive
        self._clock = clock
        self._flush = flush

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateLogGroup": self.create,
            "DeleteLogGroup": self.delete,
            "DescribeLogGroups": self.describe,
            "PutRetentionPolicy": self.put_retention,
            "DeleteRetentionPolicy": self.delete_retention,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
            "TagLogGroup": self.tag,
            "UntagLogGroup": self.untag,
            "ListTagsLogGroup": self.list_tags,
        }

    async def create(self, call: Call, members: Members) -> Members:
        await self._archive.create(
            About(
                *(call.account, call.region, members["logGroupName"], int(self._clock.now() * 1000)),
                log_class=members.get("logGroupClass", "STANDARD"),
                kms_key=members.get("kmsKeyId"),
                protected=members.get("deletionProtectionEnabled", False),
                tags=members.get("tags", {}),
            )
        )
        return {}

    async def delete(self, call: Call, members: Members) -> Members:
        id = group_of(call, members)
        if await self._archive.look(id, lambda group: group.about.protected):
            raise ValidationException("The log group is protected from deletion.")
        await self._archive.delete(id)
        return {}

    async def describe(self, call: Call, members: Members) -> Members:
        prefix, part = members.get("logGroupNamePrefix"), members.get("logGroupNamePattern")
        if prefix and part:
            raise InvalidParameterException(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        after, limit = members.get("nextToken", ""), members.get("limit", PAGE)
        await self._flush()
        log_class, named = members.get("logGroupClass"), members.get("logGroupIdentifiers")
        found = [
            (about, size)
            for about, size in await self._archive.all(call.account, call.region)
            if about.name > after
            and about.name.startswith(prefix or "")
            and (part or "") in about.name
            and log_class in (None, about.log_class)
            and (named is None or about.name in named or about.arn in named)
        ]
        page = found[:limit]
        return {
            "logGroups": [_described(about, size) for about, size in page],
            "nextToken": page[-1][0].name if len(found) > limit else None,
        }

    async def put_retention(self, call: Call, members: Members) -> Members:
        days: int = members["retentionInDays"]
        if days not in RETENTIONS:
            raise InvalidParameterException(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(map(str, RETENTIONS))}]"
            )
        return await self._set_retention(group_of(call, members), days)

    async def delete_retention(self, call: Call, members: Members) -> Members:
        return await self._set_retention(group_of(call, members), None)

    async def _set_retention(self, id: GroupId, days: int | None) -> Members:
        def change(about: About) -> None:
            about.retention = days

        await self._archive.change(id, change)
        return {}

    # Tags, of the operations on resources and of the older ones on log groups

    async def tag(self, call: Call, members: Members) -> Members:
        def change(about: About) -> None:
            about.tags.update(members["tags"])
            if len(about.tags) > MOST_TAGS:
                raise TooManyTagsException(
                    "The maximum number of tags that can be applied to a resource has been exceeded."
                )

        await self._archive.change(_tagged(call, members), change)
        return {}

    async def untag(self, call: Call, members: Members) -> Members:
        names: list[str] = members.get("tagKeys") or members.get("tags") or []

        def change(about: About) -> None:
            for name in names:
                about.tags.pop(name, None)

        await self._archive.change(_tagged(call, members), change)
        return {}

    async def list_tags(self, call: Call, members: Members) -> Members:
        return {"tags": await self._archive.look(_tagged(call, members), lambda group: dict(group.about.tags))}


def _tagged(call: Call, members: Members) -> GroupId:
    arn = members.get("resourceArn")
    return group_of(call, members) if arn is None else arn_of(call, arn)


def _described(about: About, size: int) -> Members:
    return {
        "logGroupName": about.name,
        "creationTime": about.created,
        "retentionInDays": about.retention,
        "metricFilterCount": 0,
        "arn": f"{about.arn}:*",
        "logGroupArn": about.arn,
        "storedBytes": size,
        "kmsKeyId": about.kms_key,
        "logGroupClass": about.log_class,
        "deletionProtectionEnabled": about.protected or None,
    }
