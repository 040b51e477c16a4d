"""Which functions a chain of calls has passed, and how often: told by the trace header, which SDKs hand on from an
invocation to what it calls (AWS: spec 5, 10.3).

`Lineage=a87bd80c:1|68fd508a:5`: a function's mark and its passes. Callers may send what they like, so whatever is no
such entry is dropped, and the number of entries is bounded: the chain goes on, only its oldest part is forgotten.
"""

import hashlib
import re
from typing import Final, NamedTuple

from lamplighter.model.functions import FunctionId

PASSES: Final = 16  # of one function in one chain; the next is a loop

_ENTRIES: Final = 32
_LINEAGE: Final = re.compile(r";?\s*Lineage=([^;]*)")
# AWS has put a number in front of the mark at times.
_ENTRY: Final = re.compile(r"(?:[0-9]{1,5}:)?(?P<mark>[0-9a-f]{8}):(?P<passes>[0-9]{1,5})", re.ASCII)


class Passed(NamedTuple):
    trace: str  # for what the function calls in turn
    passes: int  # of this function, this one included


def mark_of(function: FunctionId) -> str:
    return hashlib.blake2b(function.arn.encode(), digest_size=4).hexdigest()


def pass_through(trace: str, mark: str) -> Passed:
    """One pass more of the function with this mark. `trace`: the header as it came."""
    if "Lineage=" not in trace:
        return Passed(f"{trace};Lineage={mark}:1", 1)
    found: dict[str, int] = {}
    for lineage in _LINEAGE.findall(trace):
        for text in lineage.split("|"):
            if entry := _ENTRY.fullmatch(text.strip()):
                found[entry["mark"]] = max(int(entry["passes"]), found.get(entry["mark"], 0))
    passes = found.pop(mark, 0) + 1
    found[mark] = passes  # the last, which is forgotten last
    entries = [f"{mark}:{passes}" for mark, passes in found.items()][-_ENTRIES:]
    return Passed(f"{_LINEAGE.sub('', trace)};Lineage={'|'.join(entries)}", passes)
