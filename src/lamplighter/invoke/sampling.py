"""Which invocations are traced, and what their trace header says then (AWS: spec 10.3).

A caller's decision holds. Where there is none, a function with active tracing has the first call of each second traced
and one in twenty of the others; any other function follows its caller. A traced function gets a segment of its own,
whose id is the Parent that it sees.
"""

import random
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from lamplighter.model.clock import Clock
from lamplighter.model.ids import Ids

SHARE: Final = 0.05  # of what comes beyond the first in a second

_MEMBER: Final = re.compile(r";?\s*(Parent|Sampled)=([^;]*)")
_SEGMENT: Final = re.compile("[0-9a-f]{16}")


class Decided(NamedTuple):
    """`trace`: the header to hand on. `above`: the id of the segment that a traced invocation belongs below, empty if
    the caller named none; None: it is not traced."""

    trace: str
    above: str | None


class Sampling:
    """`chance`: evenly spread over [0, 1)."""

    def __init__(self, clock: Clock, ids: Ids, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._second = -1

    def decide(self, trace: str, active: bool) -> Decided:
        """`trace`: the header as it came, or as `Ids.trace` made it, without Sampled."""
        if not active:
            return Decided(trace if "Sampled=" in trace else f"{trace};Sampled=0", None)
        members: dict[str, str] = dict(_MEMBER.findall(trace))
        rest = _MEMBER.sub("", trace).lstrip(";")
        parent, given = members.get("Parent", ""), members.get("Sampled", "")
        if not (given == "1" or (given != "0" and self._takes())):
            shown = f";Parent={parent}" if parent else ""
            return Decided(f"{rest}{shown};Sampled=0", None)
        above = parent if _SEGMENT.fullmatch(parent) else ""
        return Decided(f"{rest};Parent={self._ids.segment()};Sampled=1", above)

    def _takes(self) -> bool:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second = second
            return True
        return self._chance() < SHARE
