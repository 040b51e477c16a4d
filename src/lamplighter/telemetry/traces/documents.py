"""Segments and subsegments as an SDK sends them to the X-Ray daemon: documents in JSON, read as spans.

They come from functions, so nothing about them can be relied on: what is no segment gives nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from lamplighter.model import causes
from lamplighter.telemetry.traces.spans import Span, Value, is_id, trace_id

PARTS: Final = 1000  # segments of one document

_TEXT: Final = 1000  # characters


def read(document: Mapping[str, Any]) -> list[Span]:
    """With all that lies below it."""
    found: list[Span] = []
    waiting = [(document, _text(document, "trace_id"), _text(document, "parent_id"))]
    while waiting and len(found) < PARTS:
        part, root, parent = waiting.pop()
        span = _span(part, root, parent)
        if span is not None:
            found.append(span)
            waiting.extend((child, root, span.id) for child in _mappings(part, "subsegments"))
    return found


def _span(part: Mapping[str, Any], root: str, parent: str) -> Span | None:
    trace, id, began = trace_id(root), _text(part, "id"), _number(part, "start_time")
    if trace is None or began is None or not is_id(id) or not (parent == "" or is_id(parent)):
        return None
    ended = _number(part, "end_time")
    if ended is None:  # in progress: it is sent again when it is done
        return None
    kind = "client" if part.get("namespace") in ("aws", "remote") else "internal"
    name, failure = _text(part, "name")[:200], _failure(part)
    thrown = () if failure is None else causes.read(part.get("cause"))
    return Span(trace, id, parent, name, kind, began, ended, _attributes(part), failure, thrown)


def _failure(part: Mapping[str, Any]) -> str | None:
    named = [name for name in ("fault", "error", "throttle") if part.get(name) is True]
    if not named:
        return None
    for exception in _mappings(_mapping(part, "cause"), "exceptions"):
        if said := _text(exception, "message") or _text(exception, "type"):
            return said[:_TEXT]
    return named[0]


def _attributes(part: Mapping[str, Any]) -> dict[str, Value]:
    """Annotations as they are; of aws, sql and http what is plain."""
    http = _mapping(part, "http")
    return {
        **_plain("", _mapping(part, "annotations")),
        **_plain("aws.", _mapping(part, "aws")),
        **_plain("db.", _mapping(part, "sql")),
        **_plain("http.request.", _mapping(http, "request")),
        **_plain("http.response.", _mapping(http, "response")),
    }


def _plain(prefix: str, values: Mapping[str, Any]) -> dict[str, Value]:
    return {
        prefix + name: value
        for name, value in values.items()
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _TEXT)
    }


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mapping(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _mappings(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = values.get(name)
    if not isinstance(value, list):
        return []
    return [cast(dict[str, Any], item) for item in cast(list[Any], value) if isinstance(item, dict)]
