"""What a bill is made of: counters by function version, hour, architecture and kind of concurrency.

All are whole numbers (milliseconds, bytes, MB times milliseconds), so that sums are exact; prices are for others.
"""

import re
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from lamplighter.model.usage import Cached, Initialized, Provisioned, Ran, Restored, Runs

Kind = Literal["on-demand", "provisioned"]

HOUR: Final = 3600  # seconds
_MONTH: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
INCLUDED_STORAGE: Final = 512  # MB of /tmp that cost nothing (AWS: spec 10.4)
INCLUDED_STREAM: Final = 6 << 20  # bytes of one streamed answer
FIRST_CHUNK: Final = 256 << 10  # bytes of an event that are one request
CHUNK: Final = 64 << 10  # bytes of it that are another


class Key(NamedTuple):
    """`function` "": what could not be told apart any more. `hour`: since the epoch, the one in which it ended."""

    account: str
    region: str
    function: str
    version: str
    hour: int
    architecture: str
    kind: Kind


class Totals(NamedTuple):
    requests: int = 0  # with those that large events count as
    chunks: int = 0  # of these: for what an event is larger than its first 256 KB
    billed: int = 0  # milliseconds, the sum of the REPORT lines
    init: int = 0  # of these: milliseconds of init
    unnamed: int = 0  # milliseconds of init that no REPORT names, billed too
    memory: int = 0  # MB times milliseconds, of both
    storage: int = 0  # the same of /tmp above what is included
    streamed: int = 0  # bytes above what is included in each answer
    provisioned: int = 0  # milliseconds of environments that were kept ready
    provisioned_memory: int = 0  # MB times milliseconds of these
    restores: int = 0  # environments that began as copies
    restored_memory: int = 0  # MB of these
    cached: int = 0  # milliseconds of snapshots that were kept
    cached_memory: int = 0  # MB times milliseconds of these


def kind_of(usage: Ran | Runs | Initialized | Provisioned | Restored | Cached) -> Kind:
    """Which price its time has: what runs over the provisioned concurrency has that of all others (AWS: spec 10.4)."""
    if isinstance(usage, Restored | Cached):
        return "on-demand"
    if isinstance(usage, Provisioned) or usage.initialization == "provisioned-concurrency":
        return "provisioned"
    return "on-demand"


def chunks_of(usage: Ran) -> int:
    """Requests beyond the first, of an event that came through the queue. Each attempt counts."""
    if usage.source != "async" or usage.payload <= FIRST_CHUNK:
        return 0
    return -((FIRST_CHUNK - usage.payload) // CHUNK)


def month_of(name: str) -> tuple[int, int] | None:
    """The first hour of a month in UTC, such as 2026-11, and the first of the next; None: it is no month."""
    match = _MONTH.fullmatch(name)
    if match is None or not 1970 <= (year := int(match[1])) < 9999:
        return None
    month = int(match[2])
    begin = datetime(year, month, 1, tzinfo=UTC)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return int(begin.timestamp()) // HOUR, int(end.timestamp()) // HOUR
