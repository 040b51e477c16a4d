"""Log streams: create, delete, describe."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lamplighter.api.http import Call, Operation
from lamplighter.api.logs.groups import PAGE
from lamplighter.api.logs.names import group_of
from lamplighter.telemetry.logs.archive import Archive, GroupId
from lamplighter.telemetry.logs.errors import InvalidParameterException
from lamplighter.telemetry.logs.segment import Stream

Members = dict[str, Any]


class StreamOperations:
    """`flush`: what functions have written so far is to be found once it returns."""

    def __init__(self, archive: Archive, flush: Callable[[], Awaitable[None]]) -> None:
        self._archive = archive
        self._flush = flush

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateLogStream": self.create,
            "DeleteLogStream": self.delete,
            "DescribeLogStreams": self.describe,
        }

    async def create(self, call: Call, members: Members) -> Members:
        await self._archive.create_stream(group_of(call, members), members["logStreamName"])
        return {}

    async def delete(self, call: Call, members: Members) -> Members:
        await self._archive.delete_stream(group_of(call, members), members["logStreamName"])
        return {}

    async def describe(self, call: Call, members: Members) -> Members:
        """The token is the sort key of the page's last stream, so pages stay right while streams come and go."""
        id = group_of(call, members)
        prefix, by_time = members.get("logStreamNamePrefix"), members.get("orderBy") == "LastEventTime"
        if prefix and by_time:
            raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
        descending, limit = members.get("descending", False), members.get("limit", PAGE)
        await self._flush()
        keyed = sorted(
            (
                (f"{stream.last or 0:013d} {stream.name}" if by_time else stream.name, stream)
                for stream in (await self._archive.streams(id)).values()
                if stream.name.startswith(prefix or "")
            ),
            key=lambda pair: pair[0],
            reverse=descending,
        )
        after: str | None = members.get("nextToken")
        if after is not None:
            keyed = [pair for pair in keyed if (pair[0] < after if descending else pair[0] > after)]
        page = keyed[:limit]
        return {
            "logStreams": [_described(id, stream) for _, stream in page],
            "nextToken": page[-1][0] if len(keyed) > limit else None,
        }


def _described(id: GroupId, stream: Stream) -> Members:
    return {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "firstEventTimestamp": stream.first,
        "lastEventTimestamp": stream.last,
        "lastIngestionTime": stream.taken,
        "arn": f"arn:aws:logs:{id.region}:{id.account}:log-group:{id.name}:log-stream:{stream.name}",
        "storedBytes": 0,  # AWS has stopped telling
    }
