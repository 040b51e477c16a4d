"""Log records in frames, as runtimes write them to their telemetry descriptor (AWS: spec 3.2): one frame is one log
event, whatever lines it has, with its own time and level.

A guest may write anything there. What is no frame ends the framing, not the environment: from then on its bytes are
taken for ordinary lines. A frame is at most as long as a log event may be; what is beyond is not kept.
"""

import struct
from dataclasses import dataclass

RECORD_LIMIT = 1_048_550  # bytes of one log event (CloudWatch Logs: 1 MB, of which 26 bytes are its own)

_HEAD = struct.Struct(">IIQ")  # type, length, microseconds since the epoch
_MARK = 0xA55A0000
_MARK_BITS = 0xFFFF0000
LEVELS = {0: None, 1: "TRACE", 2: "DEBUG", 3: "INFO", 4: "WARN", 5: "ERROR", 6: "FATAL"}


@dataclass(frozen=True, slots=True)
class Record:
    """`time`: seconds since the epoch, as the guest says; `level` None: it did not say."""

    time: float
    level: str | None
    text: bytes


class LogFrames:
    """Bytes in, records out."""

    __slots__ = ("_pending", "_skip", "broken")

    def __init__(self) -> None:
        self._pending: bytes = b""
        self._skip = 0  # bytes of an overlong frame still to come
        self.broken = False  # what comes from now on are no frames

    def take(self, data: bytes) -> tuple[list[Record], bytes]:
        """The records that are complete now, and what is no frame."""
        if self.broken:
            return [], data
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        data = self._pending + data if self._pending else data
        records: list[Record] = []
        at = 0
        while len(data) - at >= _HEAD.size:
            kind, length, time = _HEAD.unpack_from(data, at)
            level = (kind & 0xFFFF) >> 2
            if kind & _MARK_BITS != _MARK or kind & 3 not in (2, 3) or level not in LEVELS:
                self.broken = True
                self._pending = b""
                return records, data[at:]
            kept = min(length, RECORD_LIMIT)
            begin = at + _HEAD.size
            if len(data) - begin < kept:
                break
            records.append(Record(time / 1e6, LEVELS[level], data[begin : begin + kept]))
            self._skip = max(0, begin + length - len(data))
            at = min(begin + length, len(data))
        self._pending = data[at:]
        return records, b""

    def rest(self) -> bytes:
        """What is left when nothing more comes: a part of a frame, without its head."""
        rest, self._pending = self._pending, b""
        return rest[_HEAD.size :]
