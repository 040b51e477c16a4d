"""Ids that every invocation needs, made cheaply: request ids (UUID version 4) and X-Ray trace headers (AWS: spec 2.1).

Randomness comes from the system in one call for many ids; an id costs a few slices of text.
"""

import os

from lamplighter.model.clock import Clock

_BATCH = 256  # ids per call
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Ids:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hex = ""
        self._at = 0

    def request_id(self) -> str:
        h = self._take(32)
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"

    def trace(self) -> str:
        """The X-Amzn-Trace-Id of a caller who sent none; whether it is sampled is still open."""
        h = self._take(40)
        return f"Root=1-{int(self._clock.now()):08x}-{h[:24]};Parent={h[24:]}"

    def segment(self) -> str:
        """The id of a segment of a trace."""
        return self._take(16)

    def _take(self, digits: int) -> str:
        at = self._at
        if at + digits > len(self._hex):
            self._hex = os.urandom(_BATCH * 16).hex()
            at = 0
        self._at = at + digits
        return self._hex[at : at + digits]
