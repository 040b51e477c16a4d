"""Why something failed, as X-Ray's documents tell it: in the header of a posted error and in segments of an SDK.

A function's word, so nothing about it can be relied on, and what is kept of it is bounded.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from lamplighter.model.usage import Thrown

LIMIT: Final = 1 << 20  # bytes of the header (AWS: spec 3.3)
EXCEPTIONS: Final = 4  # the outermost and what caused it; each is 6 KB at most
_TEXT: Final = 1000  # characters of a type or a message
_STACK: Final = 4000  # of a stack
_LIST: Final = 1000  # that are looked at


def read_header(value: bytes) -> tuple[Thrown, ...]:
    """Nothing for what is no such document, or too large."""
    if len(value) > LIMIT:
        return ()
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return ()
    return read(cast(object, said))


def read(cause: object) -> tuple[Thrown, ...]:
    """A segment's `cause`."""
    found = [_thrown(exception) for exception in _mappings(_mapping(cause).get("exceptions"))[:EXCEPTIONS]]
    return tuple(thrown for thrown in found if thrown.type or thrown.message)


def _thrown(exception: Mapping[str, Any]) -> Thrown:
    lines: list[str] = []
    room = _STACK
    for frame in _mappings(exception.get("stack")):
        line = f"at {_text(frame, 'label')} ({_text(frame, 'path')}:{_line(frame)})"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return Thrown(_text(exception, "type"), _text(exception, "message"), "\n".join(lines))


def _line(frame: Mapping[str, Any]) -> int:
    line = frame.get("line")
    return line if type(line) is int else 0


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value[:_TEXT] if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    items = cast(list[object], value) if isinstance(value, list) else []
    return [cast(dict[str, Any], item) for item in items[:_LIST] if isinstance(item, dict)]
