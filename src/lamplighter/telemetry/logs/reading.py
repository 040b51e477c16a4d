"""Finds events: of a group, between two times, of some streams, that match a pattern; in the order of their times.

What can't match is skipped as early as possible: segments by their times, blocks by theirs and by texts that the
pattern wants, records likewise; only what is left is taken apart. A page ends when it is full or when it has taken long
enough, and says where the next one begins. Called by reading threads, on snapshots.
"""

import heapq
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter.telemetry.logs import segment
from lamplighter.telemetry.logs.group import View
from lamplighter.telemetry.logs.pattern import EVERYTHING, Pattern
from lamplighter.telemetry.logs.segment import MESSAGE, RECORD, Block, Contents

PAGE_SIZE: Final = 1 << 20  # bytes of messages
BUDGET: Final = 0.7  # seconds of looking for one page
KEPT: Final = 100_000  # blocks whose places are remembered, of all segments together
SPARE: Final = 1000  # events that are found beyond what a page can have, before they are looked through
_MOST_LINES: Final = 10**10 - 1
_WIDTHS: Final = (13, 13, 10, 10, 10)  # digits of a key's parts in an event id: 56 as AWS has


class Key(NamedTuple):
    """Where an event is, and its place in the order of all of its group."""

    time: int  # ms
    segment: int
    offset: int
    record: int
    line: int

    @property
    def id(self) -> str:
        return "".join(f"{part:0{width}d}" for part, width in zip(self, _WIDTHS, strict=True))

    @classmethod
    def of(cls, id: str) -> "Key":
        """Raises ValueError."""
        if len(id) != sum(_WIDTHS) or not id.isascii() or not id.isdecimal():
            raise ValueError(id)
        parts: list[int] = []
        at = 0
        for width in _WIDTHS:
            parts.append(int(id[at : at + width]))
            at += width
        return cls(*parts)

    def beside(self, step: int) -> "Key":
        """The place right behind (1) or in front of it (-1)."""
        return Key.of(f"{max(0, int(self.id) + step):0{sum(_WIDTHS)}d}")

    @classmethod
    def before(cls, time: int) -> "Key":
        """In front of every event of this time."""
        return cls(time, 0, 0, 0, 0) if time <= 0 else cls(time - 1, *(10**width - 1 for width in _WIDTHS[1:]))

    @classmethod
    def behind(cls, time: int) -> "Key":
        return cls(time + 1, 0, 0, 0, 0)


class Event(NamedTuple):
    key: Key
    stream: str
    taken: int  # when it was written, ms
    message: bytes


@dataclass(frozen=True, slots=True)
class Query:
    """`first`, `last`: times (ms), both included. `wanted`: of a stream's name. `after`: only events behind this one,
    or, `backwards`, in front of it."""

    first: int
    last: int
    wanted: Callable[[str], bool] = lambda name: True
    pattern: Pattern = EVERYTHING
    after: Key | None = None
    backwards: bool = False
    limit: int = 10_000


class Page(NamedTuple):
    """`events` in the order asked for. `next`: go on behind this one; None: there was nothing more."""

    events: Sequence[Event]
    next: Key | None


class Reader:
    """`monotonic`: seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._indexes: OrderedDict[Path, Contents] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, snapshot: Sequence[View], query: Query) -> Page:
        """Raises OSError."""
        sign = -1 if query.backwards else 1
        after = None if query.after is None else _signed(query.after, sign)
        deadline = self._monotonic() + BUDGET
        filling = _Filling(query, sign, after)
        looked = False
        with _Files() as files:
            for bound, place in self._places(snapshot, query):
                if (full := filling.up_to((bound,))) is not None:
                    return full
                if looked and self._monotonic() > deadline:
                    here = Key.behind(-bound) if query.backwards else Key.before(bound)
                    if after is None or _signed(here, sign) > after:
                        return Page(filling.events, here)
                looked = True
                filling.look(place, files.payload(place))
        return filling.up_to(None) or Page(filling.events, None)

    def forget(self, directory: Path) -> None:
        """A group is gone; another may come in its place."""
        with self._lock:
            for path in [path for path in self._indexes if path.parent == directory]:
                del self._indexes[path]

    def _places(self, snapshot: Sequence[View], query: Query) -> "Iterator[tuple[int, _Place]]":
        """Blocks that may have events, each with the first time (backwards: the last, negated) that it has one of, in
        the order of these. A segment is looked into when its turn comes: the page may be full before."""
        first, last = query.first, query.last
        if query.after is not None:
            if query.backwards:
                last = min(last, query.after.time)
            else:
                first = max(first, query.after.time)
        views = [view for view in snapshot if view.first <= last and view.last >= first]
        views.sort(key=lambda view: -view.last if query.backwards else view.first, reverse=True)
        open: list[tuple[int, int, int, list[tuple[int, _Place]]]] = []  # bound, segment, where in its places
        while views or open:
            while views and (not open or (-views[-1].last if query.backwards else views[-1].first) <= open[0][0]):
                view = views.pop()
                places = self._places_in(view, query, first, last)
                if places:
                    heapq.heappush(open, (places[0][0], view.number, 0, places))
            if open:
                _, number, at, places = open[0]
                yield places[at]
                if at + 1 < len(places):
                    heapq.heapreplace(open, (places[at + 1][0], number, at + 1, places))
                else:
                    heapq.heappop(open)

    def _places_in(self, view: View, query: Query, first: int, last: int) -> "list[tuple[int, _Place]]":
        with self._lock:
            contents = self._contents(view)
            if contents is None:
                return []
            names = {
                number: stream.name
                for number, stream in enumerate(contents.streams)
                if stream is not None and stream.name not in view.gone and query.wanted(stream.name)
            }
            size = contents.size if view.size is None else view.size
            places = [
                (-block.last if query.backwards else block.first, _Place(view.path, view.number, block, name))
                for block in contents.blocks
                if block.last >= first
                and block.first <= last
                and (name := names.get(block.stream)) is not None
                and block.offset < size
            ]
        places.sort(key=lambda place: place[0])
        return places

    def _contents(self, view: View) -> Contents | None:
        """What is in a segment, looked up only once; None: it has expired meanwhile."""
        known = self._indexes.get(view.path)
        if known is None or (view.size is not None and known.size < view.size):
            try:
                known = self._indexes[view.path] = segment.scan(view.path, view.size, known)
            except FileNotFoundError:
                return None
            while len(self._indexes) > 1 and sum(len(each.blocks) for each in self._indexes.values()) > KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(view.path)
        return known


class _Filling:
    """A page as it fills. No more is kept than may come to be in it, however many events are of the same time: a block
    is full of empty lines if that is what a function writes."""

    def __init__(self, query: Query, sign: int, after: tuple[int, ...] | None) -> None:
        """`sign`: what keys are multiplied by to have them in the order of the page."""
        self.events: list[Event] = []
        self._query = query
        self._sign = sign
        self._after = after
        self._size = 0
        self._found: list[tuple[tuple[int, ...], Event]] = []  # a heap: what comes first is first
        self._last: tuple[int, ...] | None = None  # what is behind this will not be in the page

    def look(self, place: "_Place", payload: bytes) -> None:
        """At the events of a block."""
        query, pattern, sign, after = self._query, self._query.pattern, self._sign, self._after
        if not pattern.may_match(payload):
            return
        everything = pattern is EVERYTHING
        segment, offset, stream, taken = place.segment, place.block.offset, place.stream, place.block.taken

        def wanted(time: int, record: int) -> bool:
            """Whether any line of a record can be in the page."""
            if sign > 0:
                least, most = (time, segment, offset, record, 0), (time, segment, offset, record, _MOST_LINES)
            else:
                least, most = (-time, -segment, -offset, -record, -_MOST_LINES), (-time, -segment, -offset, -record, 0)
            return (after is None or most > after) and (self._last is None or least <= self._last)

        for time, message, record, line in messages(payload, pattern, query.first, query.last, wanted):
            key = (time, segment, offset, record, line)
            if sign < 0:
                key = (-time, -segment, -offset, -record, -line)
            if (after is not None and key <= after) or (self._last is not None and key > self._last):
                continue
            if everything or pattern.matches(message):
                self._add(key, Event(Key(time, segment, offset, record, line), stream, taken, message))

    def _add(self, key: tuple[int, ...], event: Event) -> None:
        heapq.heappush(self._found, (key, event))
        wanted = self._query.limit - len(self.events) + 1  # one more shows that there is more
        if len(self._found) > 2 * wanted + SPARE:
            self._found = heapq.nsmallest(wanted, self._found)
            self._last = self._found[-1][0]

    def up_to(self, bound: tuple[int, ...] | None) -> Page | None:
        """Move what comes before `bound` (None: all) into the page; the page, if it is full then."""
        found = self._found
        while found and (bound is None or found[0][0] < bound):
            self._size += len(found[0][1].message)
            if self.events and (len(self.events) == self._query.limit or self._size > PAGE_SIZE):
                return Page(self.events, self.events[-1].key)
            self.events.append(heapq.heappop(found)[1])
        return None


class _Place(NamedTuple):
    path: Path
    segment: int
    block: Block
    stream: str


class _Files:
    """The segments that one page reads from, open until it is done."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def payload(self, place: _Place) -> bytes:
        descriptor = self._open.get(place.path)
        if descriptor is None:
            try:
                descriptor = self._open[place.path] = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""  # it has expired meanwhile
        return os.pread(descriptor, place.block.length, place.block.offset)


def messages(
    payload: bytes,
    pattern: Pattern,
    first: int,
    last: int,
    wanted: Callable[[int, int], bool] = lambda time, record: True,
) -> Iterator[tuple[int, bytes, int, int]]:
    """Of a block: time, message, and number of the record and the line in it. What can't match may be left out, and
    what is in records that are not wanted, by time and number."""
    at, record = 0, -1
    while at + RECORD.size <= len(payload):
        length, kind, time = RECORD.unpack_from(payload, at)
        at += RECORD.size
        record += 1
        data = payload[at : at + length]
        at += length
        if not first <= time <= last or not wanted(time, record):
            continue
        if kind == MESSAGE:
            yield time, data, record, 0
        elif pattern.may_match(data):
            lines = data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for line, text in enumerate(lines):
                yield time, text + b"\n", record, line


def _signed(key: Key, sign: int) -> tuple[int, ...]:
    return key if sign > 0 else tuple(-part for part in key)
