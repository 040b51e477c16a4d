"""Segment files: a log group's events on disk, as blocks that are only ever appended.

    file    = magic, block…, [footer, trailer]         the last two once nothing more is appended
    block   = head, payload                            the head has a checksum of the rest and the times within
    events  = record…, all of one stream               a record is one message, or whole lines of the same moment

A block that was not written whole, or was damaged, is known by its checksum. Whoever appends cuts a torn end off first
(`recover`), so the file is always whole blocks up to the size that `Segment` knows; readers never look beyond that.

Threads: one thread appends. Readers are given a size, and find out themselves what is in the file up to there
(`scan`); who appends keeps only what is known of the streams, as there may be many more blocks than anyone asks for.
"""

import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

import orjson

MAGIC: Final = b"LLLOG1\r\n"
MESSAGE: Final = 0  # kinds of records: the data is one message
LINES: Final = 1  # the data is lines, each with its line end but maybe the last, and each is a message
RECORD: Final = Struct("<IBq")  # length of the data, kind, time (ms)

STREAM, EVENTS, DELETED, FOOTER = 1, 2, 3, 4  # kinds of blocks
HEAD: Final = Struct("<IIHBIIqqq")  # checksum, length of the payload, mark, kind, stream, records, first, last, taken
MARK: Final = 0x4C4C
TRAILER: Final = Struct("<Q8s")  # where the footer is

_log = logging.getLogger(__name__)


class Block(NamedTuple):
    """Where a block of events is. `first`, `last`: times of its events (ms); `taken`: when it was written."""

    offset: int  # of the payload
    length: int
    stream: int
    first: int
    last: int
    taken: int


@dataclass(slots=True)
class Stream:
    """One log stream within a segment; times in ms, None: no events yet."""

    name: str
    created: int
    first: int | None = None
    last: int | None = None
    taken: int | None = None
    size: int = 0


@dataclass(slots=True)
class Contents:
    """What is in a segment up to `size`. A stream's number is its place in `streams`; None: it was deleted here.
    `blocks` is for readers only. `first` and `last`: times of all events; None: there are none."""

    size: int = len(MAGIC)
    streams: list[Stream | None] = field(default_factory=list[Stream | None])
    blocks: list[Block] = field(default_factory=list[Block])
    deleted: list[str] = field(default_factory=list[str])  # names whose events in older segments are gone too
    first: int | None = None
    last: int | None = None

    def see(self, block: Block) -> None:
        self.first = block.first if self.first is None else min(self.first, block.first)
        self.last = block.last if self.last is None else max(self.last, block.last)
        stream = self.streams[block.stream] if block.stream < len(self.streams) else None
        if stream is not None:
            stream.first = block.first if stream.first is None else min(stream.first, block.first)
            stream.last = block.last if stream.last is None else max(stream.last, block.last)
            stream.taken = block.taken
            stream.size += block.length

    def forget(self, name: str) -> None:
        """The stream and its events; one of the same name may come again."""
        for number, stream in enumerate(self.streams):
            if stream is not None and stream.name == name:
                self.streams[number] = None


class Events(NamedTuple):
    """Records of one stream, ready to be written together."""

    stream: str
    first: int
    last: int
    records: int
    payload: bytes


class Segment:
    """The one that is appended to. `append` either writes everything or leaves the file as it was."""

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self.number = number_of(path)
        self.contents = contents
        self.unsynced = False
        self._numbers = {stream.name: n for n, stream in enumerate(contents.streams) if stream is not None}
        self._descriptor = -1

    @classmethod
    def create(cls, path: Path) -> "Segment":
        """Raises OSError."""
        segment = cls(path, Contents())
        segment._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            segment._write(MAGIC, 0)
        except OSError:
            segment.close()
            path.unlink(missing_ok=True)
            raise
        return segment

    def append(self, batches: Sequence[Events], now: int) -> list[int]:
        """`now`: in ms. Streams that are not there yet begin here. Where each batch's records are. Raises OSError."""
        parts: list[bytes] = []
        seen: list[Block] = []
        begun: list[str] = []
        offset = self.contents.size
        for events in batches:
            number = self._numbers.get(events.stream)
            if number is None:
                number = self._begin(events.stream, now)
                begun.append(events.stream)
                parts.append(block(STREAM, number, 0, now, now, now, events.stream.encode()))
                offset += len(parts[-1])
            parts.append(block(EVENTS, number, events.records, events.first, events.last, now, events.payload))
            seen.append(Block(offset + HEAD.size, len(events.payload), number, events.first, events.last, now))
            offset += len(parts[-1])
        try:
            self._write(b"".join(parts), self.contents.size)
        except OSError:
            for name in reversed(begun):
                del self.contents.streams[self._numbers.pop(name)]
            raise
        self.contents.size = offset
        for each in seen:
            self.contents.see(each)
        return [each.offset for each in seen]

    def declare(self, name: str, created: int) -> None:
        """A stream without events; `created` in ms. Raises OSError."""
        if name in self._numbers:
            return
        number = self._begin(name, created)
        written = block(STREAM, number, 0, created, created, created, name.encode())
        try:
            self._write(written, self.contents.size)
        except OSError:
            del self.contents.streams[self._numbers.pop(name)]
            raise
        self.contents.size += len(written)

    def delete(self, name: str, now: int) -> None:
        """A stream's events, here and in older segments. Raises OSError."""
        written = block(DELETED, 0, 0, now, now, now, name.encode())
        self._write(written, self.contents.size)
        self.contents.size += len(written)
        self.contents.forget(name)
        self.contents.deleted.append(name)
        self._numbers.pop(name, None)

    def seal(self) -> None:
        """Nothing more is appended. Raises OSError; then the segment may be sealed later as well."""
        contents = self.contents
        summary = orjson.dumps(
            {
                "deleted": contents.deleted,
                "streams": [
                    stream and [stream.name, stream.created, stream.first, stream.last, stream.taken, stream.size]
                    for stream in contents.streams
                ],
            }
        )
        first, last = contents.first or 0, contents.last or 0
        footer = block(FOOTER, 0, int(contents.first is not None), first, last, 0, summary)
        self._write(footer + TRAILER.pack(contents.size, MAGIC), contents.size)
        self.sync()
        self.close()

    def sync(self) -> None:
        if self.unsynced:
            os.fdatasync(self._open())
            self.unsynced = False

    def close(self) -> None:
        """Only the descriptor: the next append opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, name: str, created: int) -> int:
        number = self._numbers[name] = len(self.contents.streams)
        self.contents.streams.append(Stream(name, created))
        return number

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._descriptor

    def _write(self, data: bytes, at: int) -> None:
        descriptor = self._open()
        self.unsynced = True
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(descriptor, rest, at + len(data) - len(rest))
                rest = rest[written:]
        except OSError:
            os.ftruncate(descriptor, at)
            raise


def block(kind: int, stream: int, count: int, first: int, last: int, taken: int, payload: bytes) -> bytes:
    head = HEAD.pack(0, len(payload), MARK, kind, stream, count, first, last, taken)
    checksum = zlib.crc32(payload, zlib.crc32(head[4:]))
    return checksum.to_bytes(4, "little") + head[4:] + payload


def record(kind: int, time: int, data: bytes) -> bytes:
    """`time` in ms."""
    return RECORD.pack(len(data), kind, time) + data


def number_of(path: Path) -> int:
    return int(path.stem)


def name_of(number: int) -> str:
    """Numbers are the time of making (ms), so that names sort as segments do."""
    return f"{number:013d}.log"


def recover(path: Path) -> Contents:
    """What is in a segment that is to be appended to; what is not a whole block at its end is cut off. Raises
    OSError."""
    contents = Contents(0)
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        _scan(file.fileno(), size, contents)
        if contents.size < size:
            _log.warning("%s: %d bytes at its end were not written whole and are cut off", path, size - contents.size)
            os.ftruncate(file.fileno(), contents.size)
        if not contents.size:
            os.pwrite(file.fileno(), MAGIC, 0)
            contents.size = len(MAGIC)
    contents.blocks.clear()
    return contents


def scan(path: Path, size: int | None, known: Contents | None = None) -> Contents:
    """What is in a segment up to `size`, or, None, up to its footer. `known`: what an earlier scan has found, which is
    gone on with. Raises OSError."""
    contents = known or Contents(0)
    with path.open("rb") as file:
        descriptor = file.fileno()
        if size is None:
            size = _footer_at(descriptor, os.fstat(descriptor).st_size) or 0
        _scan(descriptor, size, contents)
    return contents


_CHUNK: Final = 1 << 20


def _scan(descriptor: int, size: int, contents: Contents) -> None:
    if not contents.size:
        if os.pread(descriptor, len(MAGIC), 0) != MAGIC:
            return
        contents.size = len(MAGIC)
    for offset, head, payload in _blocks(descriptor, contents.size, size):
        _, length, _, kind, stream, _, first, last, taken = head
        if kind == STREAM:
            contents.streams.append(Stream(payload.decode("utf-8", "replace"), first))
        elif kind == EVENTS and stream < len(contents.streams):
            block = Block(offset + HEAD.size, length, stream, first, last, taken)
            contents.see(block)
            contents.blocks.append(block)
        elif kind == DELETED:
            name = payload.decode("utf-8", "replace")
            contents.forget(name)
            contents.deleted.append(name)
        elif kind == FOOTER:
            return
        contents.size = offset + HEAD.size + length


def _blocks(descriptor: int, at: int, size: int) -> Iterator[tuple[int, tuple[int, ...], bytes]]:
    """Whole and undamaged blocks between two places, until one is not."""
    chunk, base = b"", at
    while at + HEAD.size <= size:
        if at - base + HEAD.size > len(chunk):
            chunk, base = os.pread(descriptor, _CHUNK, at), at
        head = HEAD.unpack_from(chunk, at - base)
        length = head[1]
        if head[2] != MARK or at + HEAD.size + length > size:
            return
        start = at - base
        if start + HEAD.size + length > len(chunk):
            chunk, base, start = os.pread(descriptor, max(_CHUNK, HEAD.size + length), at), at, 0
        payload = chunk[start + HEAD.size : start + HEAD.size + length]
        if zlib.crc32(payload, zlib.crc32(chunk[start + 4 : start + HEAD.size])) != head[0]:
            return
        yield at, head, payload
        at += HEAD.size + length


def _footer_at(descriptor: int, size: int) -> int | None:
    if size < len(MAGIC) + HEAD.size + TRAILER.size:
        return None
    offset, magic = TRAILER.unpack(os.pread(descriptor, TRAILER.size, size - TRAILER.size))
    return offset if magic == MAGIC and len(MAGIC) <= offset <= size - TRAILER.size - HEAD.size else None


class Summary(NamedTuple):
    """A sealed segment by its footer. `first`, `last`: times of its events; None: it has none."""

    first: int | None
    last: int | None
    streams: Sequence[Stream | None]
    deleted: Sequence[str]


def summary(path: Path) -> Summary | None:
    """None: it was never sealed, or its end is damaged. Raises OSError."""
    with path.open("rb") as file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        offset = _footer_at(descriptor, size)
        if offset is None:
            return None
        written = os.pread(descriptor, size - offset - TRAILER.size, offset)
    head = HEAD.unpack_from(written)
    payload = written[HEAD.size :]
    if head[3] != FOOTER or zlib.crc32(payload, zlib.crc32(written[4 : HEAD.size])) != head[0]:
        return None
    members = orjson.loads(payload)
    streams = tuple(each and Stream(*each) for each in members["streams"])
    first, last = (head[6], head[7]) if head[5] else (None, None)
    return Summary(first, last, streams, members["deleted"])
