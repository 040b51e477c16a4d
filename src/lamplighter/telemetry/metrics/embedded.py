"""The embedded metric format: log lines of functions that are JSON with `_aws` become metrics.

Whatever a line says is hostile until it has been looked at: what is too large, too much or not as it should be is left
a log line and nothing else. Namespaces of AWS's own are not for functions. Called in the writing thread of the logs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeGuard, cast

import orjson

from lamplighter.telemetry.metrics.collector import Value
from lamplighter.telemetry.metrics.distribution import Distribution
from lamplighter.telemetry.metrics.store import Series, sorted_dimensions

LARGEST: Final = 262_144  # bytes of a line
DIRECTIVES: Final = 10
METRICS: Final = 100  # definitions of one directive
SETS: Final = 30  # dimension sets
DIMENSIONS: Final = 30
VALUES: Final = 100  # in an array
SERIES: Final = 1_000  # different metrics that one log group may name in an hour
_SIZES: Final = [f"{much}{what}" for much in ("", "Kilo", "Mega", "Giga", "Tera") for what in ("bytes", "bits")]
UNITS: Final = frozenset(
    ["None", "Percent", "Count", "Count/Second", "Seconds", "Milliseconds", "Microseconds"]
    + [size.capitalize() for size in _SIZES]
    + [f"{size.capitalize()}/Second" for size in _SIZES]
)
GREATEST: Final = 2.0**360
_AGE: Final = 14 * 86_400.0  # seconds that a time may be in the past
_AHEAD: Final = 7200.0  # and in the future


class Embedded:
    """`take`: where the values go."""

    def __init__(self, put: Callable[[Sequence[Value]], None], series: int = SERIES) -> None:
        self._put = put
        self._bound = series
        self._seen: dict[tuple[str, str, str], set[Series]] = {}
        self._hour = 0

    def lines(self, account: str, region: str, group: str, now: float, data: bytes) -> None:
        """Lines as they were written; `now`: when, in seconds since the epoch."""
        if int(now) // 3600 != self._hour:
            self._hour = int(now) // 3600
            self._seen.clear()
        found: list[Value] = []
        for line in data.split(b"\n"):
            if b'"_aws"' in line and len(line) <= LARGEST:
                found += values_of(line, account, region, now)
        seen = self._seen.setdefault((account, region, group), set())
        kept: list[Value] = []
        for value in found:
            if value.series in seen or len(seen) < self._bound:
                seen.add(value.series)
                kept.append(value)
        if kept:
            self._put(kept)


def values_of(line: bytes, account: str, region: str, now: float) -> Sequence[Value]:
    start = line.find(b"{")
    try:
        document: Any = orjson.loads(line[max(start, 0) :])
    except orjson.JSONDecodeError:
        return ()
    root = _map(document)
    head = _map(root.get("_aws"))
    stamp = head.get("Timestamp")
    at = stamp / 1000 if type(stamp) is int else now
    if not now - _AGE <= at <= now + _AHEAD:
        return ()
    found: list[Value] = []
    for directive in _list(head.get("CloudWatchMetrics"), DIRECTIVES):
        found += _directive(_map(directive), root, account, region, at)
    return found


def _directive(directive: dict[str, Any], root: dict[str, Any], account: str, region: str, at: float) -> list[Value]:
    namespace = directive.get("Namespace")
    if not _text(namespace, 255) or namespace.startswith(("AWS/", ":")):
        return []
    sets = [
        sorted_dimensions((name, root[name]) for name in names)
        for names in (_list(each, DIMENSIONS) for each in _list(directive.get("Dimensions"), SETS))
        if all(_text(name, 250) and _text(root.get(name), 1024) for name in names) and len(set(names)) == len(names)
    ]
    found: list[Value] = []
    for definition in map(_map, _list(directive.get("Metrics"), METRICS)):
        name, unit = definition.get("Name"), definition.get("Unit", "None")
        if not _text(name, 255) or type(unit) is not str or unit not in UNITS:
            continue
        given = root.get(name)
        numbers = _list(given, VALUES) if isinstance(given, list) else [given]
        if not numbers or not all(map(_number, numbers)):
            continue
        distribution = Distribution()
        for number in numbers:
            distribution.add(float(cast(float, number)))
        found += [Value(Series(account, region, namespace, name, each, unit), at, distribution) for each in sets]
    return found


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= GREATEST


def _text(value: Any, longest: int) -> TypeGuard[str]:
    return type(value) is str and 0 < len(value) <= longest


def _map(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _list(value: Any, longest: int) -> list[Any]:
    """Empty if it is too long, or no list."""
    return cast(list[Any], value) if isinstance(value, list) and len(cast(list[Any], value)) <= longest else []
