"""Cuts what comes from a pipe into whole lines. A guest decides what that is, so a line has a bound: what is longer
than a log event may be (AWS: 1 MB, spec 3.6) becomes several.
"""

from typing import Final

from lamplighter.worker.log_frames import RECORD_LIMIT

LONGEST: Final = RECORD_LIMIT  # bytes, with the line end


class Lines:
    """Bytes in, whole lines out, several together."""

    __slots__ = ("_longest", "partial")

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self.partial = bytearray()  # of a line that has not ended; shorter than the longest

    def take(self, data: bytes) -> bytes:
        """`data`: shorter than the longest line."""
        end = data.rfind(b"\n") + 1
        partial = self.partial
        if not partial:
            if end < len(data):
                partial += data[end:]
            return data[:end]
        if not end:
            partial += data
            return self._cut() if len(partial) >= self._longest else b""
        rest = data.find(b"\n") + 1  # the only line that may be too long is the one that had begun before
        partial += data[:rest]
        lines = self._cut() + self.finish() + data[rest:end]
        partial += data[end:]
        return lines

    def finish(self) -> bytes:
        """What is left, as a line of its own."""
        if not self.partial:
            return b""
        line = bytes(self.partial)
        self.partial.clear()
        return line if line.endswith(b"\n") else line + b"\n"

    def _cut(self) -> bytes:
        """Pieces of the line that are as long as one may be."""
        partial, longest, at, pieces = self.partial, self._longest, 0, bytearray()
        while len(partial) - at > longest or (len(partial) - at == longest and not partial.endswith(b"\n")):
            pieces += partial[at : at + longest - 1] + b"\n"
            at += longest - 1
        del partial[:at]
        return bytes(pieces)
