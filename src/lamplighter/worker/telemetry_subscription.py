"""What an extension asks for when it subscribes (AWS: spec 3.5): checked, with AWS's ranges and defaults.

The body is a guest's: everything in it has a bound, and the one thing it names outside of itself, the destination, can
only be a port of its own sandbox's loopback.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson

Api = Literal["telemetry", "logs"]
PATHS: dict[bytes, Api] = {b"/2022-07-01/telemetry": "telemetry", b"/2020-08-15/logs": "logs"}
BODY_LIMIT = 65_536  # bytes

_SCHEMAS = {
    "telemetry": ("2022-07-01", "2022-12-13", "2025-01-29"),
    "logs": ("2020-08-15", "2021-03-18"),
}
_TYPES = ("platform", "function", "extension")
# Least, most, default.
_BUFFERING = {
    "maxItems": (1000, 10_000, 10_000),
    "maxBytes": (262_144, 1_048_576, 262_144),
    "timeoutMs": (25, 30_000, 1000),
}
_HOSTS = r"(?:sandbox\.localdomain|sandbox)"
_URI = re.compile(rf"http://{_HOSTS}(?::(\d{{1,5}}))?(/[!-~]*)?")
_RESERVED = 9001  # the Runtime API's own


class Invalid(ValueError):
    """Why a subscription can't be taken; the text is for the extension."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """`max_bytes`, `max_items` and `timeout` (seconds): how long events may be kept back to be sent together.
    `path`: of the HTTP destination; None: TCP."""

    api: Api
    schema: str
    types: tuple[str, ...]
    port: int
    path: str | None
    max_items: int
    max_bytes: int
    timeout: float


def subscription(api: Api, body: bytes) -> Subscription:
    """Raises Invalid, with all that is wrong."""
    try:
        asked: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Invalid("body is not JSON") from None
    if not isinstance(asked, dict):
        raise Invalid("body is not an object")
    members = cast(dict[str, Any], asked)
    wrong: list[str] = []
    schemas = _SCHEMAS[api]
    schema = members.get("schemaVersion", schemas[0] if api == "logs" else None)
    if schema not in schemas:
        wrong.append(f"schemaVersion should be one of {', '.join(schemas)}")
    types = _types(members.get("types"), wrong)
    port, path = _destination(members.get("destination"), wrong)
    numbers = _buffering(members.get("buffering"), wrong)
    if wrong:
        raise Invalid("; ".join(wrong))
    items, size, timeout = numbers
    return Subscription(api, cast(str, schema), types, port, path, items, size, timeout / 1000)


def _types(given: Any, wrong: list[str]) -> tuple[str, ...]:
    if not isinstance(given, list) or not given:
        wrong.append("types should not be empty")
        return ()
    types = cast(list[Any], given)
    if not all(isinstance(kind, str) and kind in _TYPES for kind in types):
        wrong.append(f"types should be among {', '.join(_TYPES)}")
        return ()
    return tuple(dict.fromkeys(types))


def _destination(given: Any, wrong: list[str]) -> tuple[int, str | None]:
    destination = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    protocol = destination.get("protocol")
    if protocol == "TCP":
        port: Any = destination.get("port")
        path = None
        if type(port) is not int:
            wrong.append("TCP port is not provided")
            return 0, None
    elif protocol == "HTTP":
        uri = destination.get("URI")
        match = _URI.fullmatch(uri) if isinstance(uri, str) and len(uri) <= 2048 else None
        if match is None:
            wrong.append("URI should be of the form http://sandbox.localdomain:port/path")
            return 0, None
        if match[1] is None:
            wrong.append("URI port is not provided")
            return 0, None
        port, path = int(match[1]), match[2] or "/"
        if destination.get("method", "POST") not in ("POST", "PUT") or destination.get("encoding", "JSON") != "JSON":
            wrong.append("HTTP method should be POST and encoding JSON")
    else:
        wrong.append("destination protocol should be HTTP or TCP")
        return 0, None
    if not 1 <= port <= 65_535 or port == _RESERVED:
        wrong.append(f"port {port} cannot be a destination")
    return port, path


def _buffering(given: Any, wrong: list[str]) -> list[int]:
    buffering = cast(dict[str, Any], given) if isinstance(given, dict) else {}
    if given is not None and not isinstance(given, dict):
        wrong.append("buffering should be an object")
    numbers: list[int] = []
    for name, (least, most, default) in _BUFFERING.items():
        number: Any = buffering.get(name, default)
        if type(number) is not int or not least <= number <= most:
            wrong.append(f"{name} should be between {least} and {most}")
        numbers.append(number)
    return numbers
