"""Events as they are written, for those who watch: live tails and subscription filters.

Both are told in the writing thread, after the write. Neither may hold it up: what a watcher can't take is dropped and
counted, since it is on disk anyway.
"""

import asyncio
import base64
import gzip
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import orjson

from lamplighter.telemetry.logs.archive import Archive
from lamplighter.telemetry.logs.group import About, Written
from lamplighter.telemetry.logs.pattern import EVERYTHING, Pattern, parse_pattern
from lamplighter.telemetry.logs.reading import Event, Key, messages

PER_SECOND: Final = 500  # events of a live tail; of more, a part
KEPT: Final = 10 * PER_SECOND  # that a slow reader may be behind
KEPT_BYTES: Final = 4 << 20  # of these; one event is kept whatever its size
PAYLOAD: Final = 256 << 10  # bytes of events in one delivery to a subscription, before they are packed
AROUND: Final = 110  # bytes of an event in it beside its message
WAITING: Final = 256  # deliveries
_ALWAYS: Final = 1 << 62

_log = logging.getLogger(__name__)


def events_of(written: Written, now: int, pattern: Pattern) -> Iterator[Event]:
    """Those that match. `now`: when they were written, ms."""
    events, segment, offset = written
    if pattern.may_match(events.payload):
        for time, message, record, line in messages(events.payload, pattern, 0, _ALWAYS):
            if pattern is EVERYTHING or pattern.matches(message):
                yield Event(Key(time, segment, offset, record, line), events.stream, now, message)


class LiveTail:
    """One session: what it watches, collected until it is asked. Use as a context manager."""

    def __init__(
        self, archive: Archive, groups: Sequence[str], wanted: Callable[[str], bool], pattern: Pattern
    ) -> None:
        """`groups`: ARNs."""
        self._archive = archive
        self._groups = frozenset(groups)
        self._wanted = wanted
        self._pattern = pattern
        self._events: deque[tuple[About, Event]] = deque()
        self._came = self._left_out = (
            0  # bytes, and events at which looking ended: only the writing thread counts these
        )
        self._went = self._told = 0  # the same, taken and told: only whoever takes counts these

    def __enter__(self) -> Self:
        self._leave = self._archive.watch(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def take(self) -> tuple[Sequence[tuple[About, Event]], bool]:
        """What has come since the last time, and whether that is only a part of it: evenly, of all that is kept."""
        left_out = self._left_out
        found = [self._events.popleft() for _ in range(len(self._events))]
        self._went += sum(_size(event) for _, event in found)
        step = max(1, math.ceil(len(found) / PER_SECOND))
        sampled, self._told = step > 1 or left_out > self._told, left_out
        return found[::step], sampled

    def _see(self, about: About, written: Sequence[Written], now: int) -> None:
        """When enough waits to be chosen from, no more is looked at until it is taken: a flood costs no more than that,
        nor does a reader who takes nothing."""
        if about.arn in self._groups:
            for each in written:
                if self._wanted(each.events.stream) and (room := KEPT - len(self._events)) > 0:
                    for event in islice(events_of(each, now, self._pattern), room):
                        size, waiting = _size(event), self._came - self._went
                        if waiting and waiting + size > KEPT_BYTES:
                            self._left_out += 1
                            return
                        self._came += size
                        self._events.append((about, event))


def _size(event: Event) -> int:
    return len(event.message) + AROUND


class _Delivery(NamedTuple):
    """`target`, `source`: the ARNs of the function and the group."""

    target: str
    source: str
    payload: bytes


class Subscriptions:
    """Brings what matches a group's subscription filters to functions. Use as an async context manager.

    `deliver`: an event to a function, by its ARN, from a group, by its ARN; durable when it returns."""

    def __init__(self, archive: Archive, deliver: Callable[[str, str, bytes], Awaitable[None]]) -> None:
        self._archive = archive
        self._deliver = deliver
        self._patterns: dict[str, Pattern] = {}
        self._waiting: asyncio.Queue[_Delivery | None] = asyncio.Queue(WAITING)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._leave = self._archive.watch(self._see)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()
        await self._waiting.put(None)
        await self._task

    def _see(self, about: About, written: Sequence[Written], now: int) -> None:
        for name, subscription in about.subscriptions.items():
            pattern = self._pattern(subscription["filterPattern"])
            for each in written:
                for part in _parts(events_of(each, now, pattern)):
                    payload = _payload(about, each.events.stream, name, part)
                    delivery = _Delivery(subscription["destinationArn"], about.arn, payload)
                    self._loop.call_soon_threadsafe(self._put, delivery)

    def _pattern(self, text: str) -> Pattern:
        known = self._patterns.get(text)
        if known is None:
            if len(self._patterns) > 256:
                self._patterns.clear()
            known = self._patterns[text] = parse_pattern(text)
        return known

    def _put(self, delivery: _Delivery) -> None:
        try:
            self._waiting.put_nowait(delivery)
        except asyncio.QueueFull:
            _log.warning("logs for %s come faster than they can be queued; some are left out", delivery.target)

    async def _run(self) -> None:
        while (delivery := await self._waiting.get()) is not None:
            try:
                await self._deliver(*delivery)
            except Exception as error:  # whatever is wrong with one target is no reason to forget the others
                _log.error("logs could not be queued for %s: %s", delivery.target, error)


def _parts(events: Iterable[Event]) -> Iterator[Sequence[Event]]:
    """Events of a delivery each."""
    part: list[Event] = []
    size = 0
    for event in events:
        size += _size(event)
        if part and size > PAYLOAD:
            yield part
            part, size = [], _size(event)
        part.append(event)
    if part:
        yield part


def _payload(about: About, stream: str, subscription: str, events: Sequence[Event]) -> bytes:
    """As a function gets it: JSON, gzipped, in base64, in JSON."""
    message: dict[str, Any] = {
        "messageType": "DATA_MESSAGE",
        "owner": about.account,
        "logGroup": about.name,
        "logStream": stream,
        "subscriptionFilters": [subscription],
        "logEvents": [
            {"id": event.key.id, "timestamp": event.key.time, "message": event.message.decode("utf-8", "replace")}
            for event in events
        ],
    }
    packed = base64.b64encode(gzip.compress(orjson.dumps(message), 1))
    return b'{"awslogs":{"data":"%b"}}' % packed
