"""A log group: what is said of it (group.json) and its segments, the last of which is appended to.

Everything here is called by the archive's one writing thread. A group is opened when it is first needed; until then a
service with ten thousand groups has only read their descriptions.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from lamplighter.telemetry.logs import segment as files
from lamplighter.telemetry.logs.segment import Events, Segment, Stream

SEGMENT_SIZE: Final = 16 << 20  # bytes; then the next one begins
DAY: Final = 86_400_000  # ms
DESCRIPTION: Final = "group.json"


@dataclass(slots=True)
class About:
    """What the API shows of a group; times in ms."""

    account: str
    region: str
    name: str
    created: int
    retention: int | None = None  # days
    log_class: str = "STANDARD"
    kms_key: str | None = None
    protected: bool = False
    tags: dict[str, str] = field(default_factory=dict[str, str])
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])  # by filter name

    @property
    def arn(self) -> str:
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.name}"


@dataclass(slots=True)
class Sealed:
    """A segment that is complete. `deleted`: streams whose events in older segments are gone."""

    path: Path
    number: int
    size: int
    first: int
    last: int
    deleted: Sequence[str]


class View(NamedTuple):
    """A segment as a reader gets it: to be read up to `size`, None: all of it. `first`, `last`: times of its events.
    `gone`: streams that were deleted later."""

    path: Path
    number: int
    size: int | None
    first: int
    last: int
    gone: frozenset[str]


class Written(NamedTuple):
    """Events, and where they are now."""

    events: Events
    segment: int
    offset: int


class Group:
    def __init__(self, directory: Path, about: About) -> None:
        self.directory = directory
        self.about = about
        self._sealed: list[Sealed] | None = None  # None: not opened yet
        self._active: Segment | None = None

    @classmethod
    def create(cls, directory: Path, about: About) -> "Group":
        """Durable when it returns. Raises OSError."""
        directory.mkdir(mode=0o700)
        group = cls(directory, about)
        group.save()
        _sync_directory(directory.parent)
        group._sealed = []
        return group

    @classmethod
    def load(cls, directory: Path) -> "Group | None":
        """None: it was never made completely. Raises OSError."""
        try:
            members = orjson.loads((directory / DESCRIPTION).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return cls(directory, About(**members))

    def save(self) -> None:
        """Durable when it returns. Raises OSError."""
        path = self.directory / DESCRIPTION
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(orjson.dumps(asdict(self.about)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync_directory(self.directory)

    # Writing

    def append(self, batches: Sequence[Events], now: int) -> Sequence[Written]:
        """`now`: in ms. Raises OSError, with nothing written."""
        segment = self._segment(now)
        offsets = segment.append(batches, now)
        return [Written(events, segment.number, at) for events, at in zip(batches, offsets, strict=True)]

    def create_stream(self, name: str, now: int) -> None:
        self._segment(now).declare(name, now)

    def delete_stream(self, name: str, now: int) -> None:
        self._segment(now).delete(name, now)

    def expire(self, now: int) -> None:
        """Remove segments whose events are all older than the retention; in their order, since a newer one may say
        what was deleted from an older one. Raises OSError."""
        floor = self.floor(now)
        if floor is None:
            return
        sealed = self._open()
        while sealed and sealed[0].last < floor:
            sealed[0].path.unlink(missing_ok=True)
            del sealed[0]
        active = self._active
        if not sealed and active is not None and active.contents.last is not None and active.contents.last < floor:
            active.close()
            active.path.unlink(missing_ok=True)
            self._active = None

    def sync(self) -> None:
        if self._active is not None:
            self._active.sync()

    def close(self) -> None:
        """Only descriptors."""
        if self._active is not None:
            self._active.close()

    # Looking

    def floor(self, now: int) -> int | None:
        """What is older than this (ms) has expired; None: nothing ever does."""
        return None if self.about.retention is None else now - self.about.retention * DAY

    def size(self) -> int:
        """Bytes on disk, without opening the group."""
        if self._sealed is not None:
            active = self._active.contents.size if self._active is not None else 0
            return sum(each.size for each in self._sealed) + active
        return sum(path.stat().st_size for path in self.directory.glob("*.log"))

    def has_stream(self, name: str) -> bool:
        """Newest segments first: that is where it will be."""
        sealed = self._open()
        gone = False
        if self._active is not None:
            contents = self._active.contents
            if any(stream is not None and stream.name == name for stream in reversed(contents.streams)):
                return True
            gone = name in contents.deleted
        for each in reversed(sealed):
            if gone:
                return False
            if any(stream is not None and stream.name == name for stream in _streams(each)):
                return True
            gone = name in each.deleted
        return False

    def streams(self) -> Mapping[str, Stream]:
        """By name, over all segments."""
        found: dict[str, Stream] = {}
        for each in self._open():
            _merge(found, each.deleted, _streams(each))
        if self._active is not None:
            _merge(found, self._active.contents.deleted, self._active.contents.streams)
        return found

    def snapshot(self, first: int, last: int) -> Sequence[View]:
        """Segments that may have events between these times (ms), as they are now."""
        views: list[View] = []
        gone: set[str] = set()
        sealed = self._open()
        if self._active is not None:
            now = self._active.contents
            if now.first is not None and now.last is not None:
                path, number = self._active.path, self._active.number
                views.append(View(path, number, now.size, now.first, now.last, frozenset()))
            gone.update(now.deleted)
        for each in reversed(sealed):
            views.append(View(each.path, each.number, None, each.first, each.last, frozenset(gone)))
            gone.update(each.deleted)
        return [view for view in views if view.first <= last and view.last >= first]

    # Segments

    def _segment(self, now: int) -> Segment:
        """The one to append to."""
        sealed = self._open()
        active = self._active
        if active is not None and self._is_full(active, now):
            active.seal()
            sealed.append(_sealed(active))
            self._active = active = None
        if active is None:
            number = max(now, sealed[-1].number + 1 if sealed else 0)
            active = self._active = Segment.create(self.directory / files.name_of(number))
            _sync_directory(self.directory)
        return active

    def _is_full(self, active: Segment, now: int) -> bool:
        if active.contents.size >= SEGMENT_SIZE:
            return True
        retention = self.about.retention
        # What expires has to leave with its segment, so segments span only a part of the retention.
        return bool(
            retention and active.contents.first is not None and now - active.number > max(DAY, retention * DAY // 8)
        )

    def _open(self) -> list[Sealed]:
        if self._sealed is not None:
            return self._sealed
        sealed: list[Sealed] = []
        paths = sorted(self.directory.glob("*.log"))
        for path in paths:
            found = files.summary(path)
            if found is None:
                active = Segment(path, files.recover(path))
                if path == paths[-1]:
                    self._active = active
                    break
                active.seal()  # a kill came between two segments
                sealed.append(_sealed(active))
            else:
                first, last = found.first or 0, found.last or 0
                sealed.append(Sealed(path, files.number_of(path), path.stat().st_size, first, last, found.deleted))
        self._sealed = sealed
        return sealed


def _sealed(of: Segment) -> Sealed:
    contents = of.contents
    return Sealed(
        of.path, of.number, of.path.stat().st_size, contents.first or 0, contents.last or 0, tuple(contents.deleted)
    )


def _streams(of: Sealed) -> Sequence[Stream | None]:
    found = files.summary(of.path)
    return found.streams if found is not None else ()


def _merge(found: dict[str, Stream], deleted: Sequence[str], streams: Sequence[Stream | None]) -> None:
    for name in deleted:
        found.pop(name, None)
    for stream in streams:
        if stream is None:
            continue
        known = found.get(stream.name)
        if known is None:
            found[stream.name] = Stream(*(getattr(stream, name) for name in Stream.__slots__))
            continue
        known.first = _least(known.first, stream.first)
        known.last = stream.last if known.last is None else max(known.last, stream.last or 0)
        known.taken = stream.taken or known.taken
        known.size += stream.size


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
