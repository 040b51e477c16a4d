"""The query protocol: an operation and its input as a form, its output as XML. Older SDKs speak it with CloudWatch.

Shapes say what is what: `MetricData.member.1.Value` is a number of the first member of a list. Values go through the
same readers as JSON's, so both protocols have one set of checks and refusals.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from lamplighter.api.shapes import Shapes
from lamplighter.model.errors import SerializationException

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
FIELDS: Final = 200_000  # of one form: what the largest PutMetricData has
_DEEPEST: Final = 32

Tree = dict[str, Any]  # texts, and trees of these


def form(body: bytes) -> Mapping[str, str]:
    """Raises SerializationException."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise SerializationException("The request body is no form, or too large.") from None
    return dict(pairs)


def read(shapes: Shapes, shape: str, fields: Mapping[str, str]) -> Any:
    """What JSON would have in place of the fields. Raises SerializationException."""
    tree: Tree = {}
    for name, text in fields.items():
        parts = name.split(".")
        if len(parts) > _DEEPEST:
            raise SerializationException(f"The parameter {name[:200]} is nested too deep.")
        place = tree
        for part in parts[:-1]:
            found = place.setdefault(part, {})
            if not isinstance(found, dict):
                raise SerializationException(f"The parameter {name[:200]} is given twice, in different forms.")
            place = cast(Tree, found)
        if isinstance(place.get(parts[-1]), dict):
            raise SerializationException(f"The parameter {name[:200]} is given twice, in different forms.")
        place[parts[-1]] = text
    return _value(shapes, shape, tree)


def _value(shapes: Shapes, shape: str, given: Any) -> Any:
    definition: Mapping[str, Any] = shapes.definitions[shape]
    kind: str = definition["type"]
    if kind not in ("structure", "list", "map"):
        if isinstance(given, dict):
            raise SerializationException("Start of structure or map found where not expected.")
        read = shapes.text_reader(shape)(given)
        return read.timestamp() if isinstance(read, datetime) else read
    if not isinstance(given, dict):
        if given == "" and kind == "list":
            return []
        raise SerializationException(f"Expected {kind} or null")
    tree = cast(Tree, given)
    if kind == "structure":
        members = shapes.members(shape)
        return {name: _value(shapes, members[name]["shape"], each) for name, each in tree.items() if name in members}
    if kind == "map":
        pairs = [cast(Tree, pair) for pair in _ordered(tree.get("entry", {})) if isinstance(pair, dict)]
        return {str(pair.get("key")): _value(shapes, definition["value"]["shape"], pair.get("value")) for pair in pairs}
    return [_value(shapes, definition["member"]["shape"], each) for each in _ordered(tree.get("member", {}))]


def _ordered(given: Any) -> Sequence[Any]:
    """By their numbers, which may leave some out."""
    if not isinstance(given, dict):
        raise SerializationException("Expected list or null")
    numbered = cast(Tree, given)
    if not all(key.isascii() and key.isdigit() and len(key) < 10 for key in numbered):
        raise SerializationException("Members of a list are numbered.")
    return [numbered[key] for key in sorted(numbered, key=int)]


def response(
    name: str, namespace: str, shapes: Shapes, shape: str | None, output: Mapping[str, Any], request_id: str
) -> bytes:
    parts = ['<?xml version="1.0"?>\n', f'<{name}Response xmlns="{namespace}">']
    if shape is not None:
        parts.append(f"<{name}Result>")
        _write(shapes, shape, output, parts)
        parts.append(f"</{name}Result>")
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>")
    return "".join(parts).encode()


def refusal(namespace: str, code: str, message: str, sender: bool, request_id: str) -> bytes:
    kind = "Sender" if sender else "Receiver"
    return (
        f'<?xml version="1.0"?>\n<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type>'
        f"<Code>{_text(code)}</Code><Message>{_text(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _write(shapes: Shapes, shape: str, value: Any, parts: list[str]) -> None:
    definition: Mapping[str, Any] = shapes.definitions[shape]
    match definition["type"]:
        case "structure":
            members = shapes.members(shape)
            for name, each in cast(Mapping[str, Any], value).items():
                if each is not None and name in members:
                    parts.append(f"<{name}>")
                    _write(shapes, members[name]["shape"], each, parts)
                    parts.append(f"</{name}>")
        case "list":
            for each in value:
                parts.append("<member>")
                _write(shapes, definition["member"]["shape"], each, parts)
                parts.append("</member>")
        case "map":
            for key, each in cast(Mapping[str, Any], value).items():
                parts.append(f"<entry><key>{_text(key)}</key><value>")
                _write(shapes, definition["value"]["shape"], each, parts)
                parts.append("</value></entry>")
        case "timestamp":
            moment = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
            parts.append(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        case "boolean":
            parts.append("true" if value else "false")
        case _:
            parts.append(_text(str(value)))


def _text(text: str) -> str:
    """XML has no words for most control characters."""
    return escape(
        "".join(letter if letter.isprintable() or letter in "\t\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    )
