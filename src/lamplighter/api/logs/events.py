"""Log events: put, get from a stream, filter a group.

Tokens say where to go on: a direction, and the place of an event. They hold for as long as the events do.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from lamplighter.api.http import Call, Operation
from lamplighter.api.logs.names import group_of
from lamplighter.model.clock import Clock
from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.errors import InvalidParameterException
from lamplighter.telemetry.logs.group import DAY
from lamplighter.telemetry.logs.pattern import parse_pattern
from lamplighter.telemetry.logs.reading import Event, Key, Page, Query
from lamplighter.telemetry.logs.segment import MESSAGE, Events, record

Members = dict[str, Any]

BATCH: Final = 1_048_576  # bytes of one PutLogEvents, each event counted as its text and 26 more
EVENT: Final = 1_048_576 - 26
OVERHEAD: Final = 26
EARLIEST, LATEST = 14 * DAY, 2 * 3_600_000  # ms before and after now
_FOREVER: Final = 9_999_999_999_999  # ms


class EventOperations:
    """`flush`: what functions have written so far is to be found once it returns."""

    def __init__(self, archive: Archive, clock: Clock, flush: Callable[[], Awaitable[None]]) -> None:
        self._archive = archive
        self._clock = clock
        self._flush = flush

    def operations(self) -> Mapping[str, Operation]:
        return {"PutLogEvents": self.put, "GetLogEvents": self.get, "FilterLogEvents": self.filter}

    async def put(self, call: Call, members: Members) -> Members:
        id = group_of(call, members)
        given: list[Members] = members["logEvents"]
        now = int(self._clock.now() * 1000)
        times = [event["timestamp"] for event in given]
        texts = [event["message"].encode("utf-8", "replace") for event in given]
        _check_batch(times, texts)
        floor = await self._archive.look(id, lambda group: group.floor(now))
        expired = sum(1 for time in times if floor is not None and time < floor)
        old = sum(1 for time in times if time < now - EARLIEST)
        new = next((index for index, time in enumerate(times) if time > now + LATEST), len(times))
        kept = range(max(expired, old), new)
        if kept:
            if times[kept[-1]] - times[kept[0]] > DAY:
                raise InvalidParameterException(
                    "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
                )
            payload = b"".join(record(MESSAGE, times[index], texts[index]) for index in kept)
            events = Events(members["logStreamName"], times[kept[0]], times[kept[-1]], len(kept), payload)
            await self._archive.put(id, events)
        rejected = {
            "expiredLogEventEndIndex": expired or None,
            "tooOldLogEventEndIndex": old or None,
            "tooNewLogEventStartIndex": new if new < len(times) else None,
        }
        return {
            "nextSequenceToken": f"{now:056d}",  # nobody asks for it any more
            "rejectedLogEventsInfo": rejected if any(value is not None for value in rejected.values()) else None,
        }

    async def get(self, call: Call, members: Members) -> Members:
        id, name = group_of(call, members), members["logStreamName"]
        first, last = min(members.get("startTime", 0), _FOREVER), members.get("endTime", _FOREVER + 1) - 1
        backwards, after = not members.get("startFromHead", False), None
        token: str | None = members.get("nextToken")
        if token is not None:
            backwards, after = read_token(token)
        await self._flush()
        query = Query(first, last, name.__eq__, after=after, backwards=backwards, limit=members.get("limit", 10_000))
        page = await self._archive.page(id, query, name)
        events = page.events[::-1] if backwards else page.events
        behind, before = _edges(events, page, after, backwards, first)
        return {
            "events": [
                {"timestamp": event.key.time, "message": _text(event), "ingestionTime": event.taken} for event in events
            ],
            "nextForwardToken": f"f/{behind.id}",
            "nextBackwardToken": f"b/{before.id}",
        }

    async def filter(self, call: Call, members: Members) -> Members:
        id = group_of(call, members)
        names, prefix = members.get("logStreamNames"), members.get("logStreamNamePrefix")
        if names is not None and prefix is not None:
            raise InvalidParameterException("logStreamNames and logStreamNamePrefix can't both be given.")
        backwards, after = not members.get("startFromHead", True), None
        if (token := members.get("nextToken")) is not None:
            backwards, after = read_token(token)
        query = Query(
            members.get("startTime", 0),
            members.get("endTime", _FOREVER),
            chosen(names, prefix),
            parse_pattern(members.get("filterPattern", "")),
            after,
            backwards,
            members.get("limit", 10_000),
        )
        await self._flush()
        page = await self._archive.page(id, query)
        return {
            "events": [
                {
                    "logStreamName": event.stream,
                    "timestamp": event.key.time,
                    "message": _text(event),
                    "ingestionTime": event.taken,
                    "eventId": event.key.id,
                }
                for event in page.events
            ],
            "searchedLogStreams": [],
            "nextToken": None if page.next is None else f"{'b' if backwards else 'f'}/{page.next.id}",
        }


def chosen(names: Sequence[str] | None, prefix: str | tuple[str, ...] | None) -> Callable[[str], bool]:
    """Whether a stream is among those that a request names. `prefix`: one, or any of several."""
    if names is not None:
        return frozenset(names).__contains__
    return (lambda name: True) if prefix is None else (lambda name: name.startswith(prefix))


def read_token(token: str) -> tuple[bool, Key]:
    """Whether it leads backwards, and from where."""
    direction, _, place = token.partition("/")
    try:
        if direction in ("f", "b"):
            return direction == "b", Key.of(place)
    except ValueError:
        pass
    raise InvalidParameterException("The specified nextToken is invalid.")


def _edges(events: Sequence[Event], page: Page, after: Key | None, backwards: bool, first: int) -> tuple[Key, Key]:
    """Where to go on behind and before a page of one stream. A token that has led nowhere is given again."""
    if events:
        behind, before = events[-1].key, events[0].key
        if page.next is not None:  # where looking ended, which may be farther than the last event
            behind, before = (behind, page.next) if backwards else (page.next, before)
        return behind, before
    here = page.next or after or Key.before(first)
    # The other direction starts on the other side of the same place, so it takes in what is there.
    return (here.beside(-1), here) if backwards else (here, here.beside(1))


def _check_batch(times: Sequence[int], texts: Sequence[bytes]) -> None:
    if any(earlier > later for earlier, later in pairwise(times)):
        raise InvalidParameterException("Log events in a single PutLogEvents request must be in chronological order.")
    for text in texts:
        if len(text) > EVENT:
            raise InvalidParameterException(
                f"Log event too large: {len(text) + OVERHEAD} bytes exceeds limit of {EVENT + OVERHEAD}"
            )
    size = sum(len(text) + OVERHEAD for text in texts)
    if size > BATCH:
        raise InvalidParameterException(f"Upload too large: {size} bytes exceeds limit of {BATCH}")


def _text(event: Event) -> str:
    return event.message.decode("utf-8", "replace")
