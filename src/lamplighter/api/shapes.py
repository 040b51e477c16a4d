"""Compiles shapes of the service model into functions between wire values and Python values, each when first needed.

Reading is typed and strict: what cannot be a value of the shape is a SerializationException in AWS's words, before any
validation. Unknown members are ignored and nulls are absent, as AWS does. Python values: blobs are bytes, timestamps
aware datetimes (UTC), the rest is what JSON has.
"""

import binascii
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from lamplighter.model.errors import SerializationException

Reader = Callable[[Any], Any]
TextReader = Callable[[str], Any]
Writer = Callable[[Any], Any]

# AWS speaks of integers with an "an" and of everything else with an "a".
NOUNS = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "double": "a Double",
    "float": "a Float",
    "boolean": "a Boolean",
    "blob": "a ByteBuffer",
    "timestamp": "a Timestamp",
}
LIMITS = {"integer": 2**31, "long": 2**63}
NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)  # stricter than int() and float()


def mistyped(value: Any, kind: str) -> SerializationException:
    """The refusal of a JSON value that is not of the shape's type."""
    if isinstance(value, dict):
        return SerializationException("Start of structure or map found where not expected.")
    if isinstance(value, list):
        return SerializationException("Start of list found where not expected")
    if kind not in NOUNS:
        return SerializationException(f"Expected {kind} or null")
    if isinstance(value, bool):
        got = "TRUE_VALUE" if value else "FALSE_VALUE"
    else:
        got = "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"
    return SerializationException(f"{got} can not be converted to {NOUNS[kind]}")


def read_string(value: Any) -> str:
    if type(value) is not str:
        raise mistyped(value, "string")
    return value


def read_boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise mistyped(value, "boolean")
    return value


def read_blob(value: Any) -> bytes:
    if type(value) is not str:
        raise mistyped(value, "blob")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        raise mistyped(value, "blob") from None


def read_timestamp(value: Any) -> datetime:
    if type(value) is not int and type(value) is not float:
        raise mistyped(value, "timestamp")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise mistyped(value, "timestamp") from None


def number_reader(kind: str) -> Reader:
    limit = LIMITS.get(kind)

    def read(value: Any) -> int | float:
        if type(value) is float:
            if limit is None:
                return value
            if not value.is_integer():
                raise mistyped(value, kind)
            value = int(value)
        elif type(value) is not int:
            raise mistyped(value, kind)
        if limit is None:
            return float(value)
        if not -limit <= value < limit:
            raise mistyped(value, kind)
        return value

    return read


def text_number_reader(kind: str) -> TextReader:
    read = number_reader(kind)

    def read_text(text: str) -> int | float:
        if not NUMBER.fullmatch(text):
            raise mistyped(text, kind)
        return read(int(text) if text.lstrip("+-").isdigit() else float(text))

    return read_text


def read_text_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise mistyped(text, "boolean")
    return text == "true"


def read_text_timestamp(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise mistyped(text, "timestamp") from None


JSON_READERS: Mapping[str, Reader] = {
    "string": read_string,
    "boolean": read_boolean,
    "blob": read_blob,
    "timestamp": read_timestamp,
} | {kind: number_reader(kind) for kind in ("integer", "long", "double", "float")}

TEXT_READERS: Mapping[str, TextReader] = {
    "string": str,
    "boolean": read_text_boolean,
    "timestamp": read_text_timestamp,
} | {kind: text_number_reader(kind) for kind in ("integer", "long", "double", "float")}


def write_blob(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def write_timestamp(value: datetime | float) -> float:
    """Epoch seconds, the format of rest-json bodies."""
    return value.timestamp() if isinstance(value, datetime) else value


def list_reader(read_item: Reader) -> Reader:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise mistyped(value, "list")
        items = cast(list[Any], value)
        return [None if item is None else read_item(item) for item in items]  # validation refuses the nulls

    return read


def map_reader(read_item: Reader) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise mistyped(value, "map")
        entries = cast(dict[str, Any], value)
        return {key: None if item is None else read_item(item) for key, item in entries.items()}

    return read


def structure_reader(members: Mapping[str, tuple[str, Reader]]) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise mistyped(value, "structure")
        output: dict[str, Any] = {}
        for wire_name, item in cast(dict[str, Any], value).items():
            if item is not None and (member := members.get(wire_name)) is not None:
                output[member[0]] = member[1](item)
        return output

    return read


def structure_writer(members: Mapping[str, tuple[str, Writer | None]]) -> Writer:
    def write(value: Mapping[str, Any]) -> dict[str, Any]:
        output: dict[str, Any] = {}
        for name, item in value.items():
            if item is not None and (member := members.get(name)) is not None:
                output[member[0]] = item if member[1] is None else member[1](item)
        return output

    return write


class Shapes:
    """The readers and writers of one model's shapes."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self.definitions = definitions
        self._readers: dict[str, Reader] = {}
        self._writers: dict[str, Writer | None] = {}

    def members(self, structure: str) -> Mapping[str, Any]:
        return self.definitions[structure].get("members", {})

    def body_members(self, structure: str) -> dict[str, str]:
        """Member -> shape of those that travel in the JSON body, or are the body."""
        return {name: each["shape"] for name, each in self.members(structure).items() if "location" not in each}

    def wire_name(self, structure: str, member: str) -> str:
        return self.members(structure)[member].get("locationName", member)

    def text_reader(self, name: str) -> TextReader:
        """For a label, a header or one query value."""
        return TEXT_READERS[self.definitions[name]["type"]]

    def reader(self, name: str) -> Reader:
        """JSON value -> Python value."""
        if name in self._readers:
            return self._readers[name]
        definition = self.definitions[name]
        kind: str = definition["type"]
        if kind == "list":
            read = list_reader(self.reader(definition["member"]["shape"]))
        elif kind == "map":
            read = map_reader(self.reader(definition["value"]["shape"]))
        elif kind == "structure":
            members: dict[str, tuple[str, Reader]] = {}
            read = self._readers[name] = structure_reader(members)  # known before its members: shapes may recurse
            for member, shape in self.body_members(name).items():
                members[self.wire_name(name, member)] = (member, self.reader(shape))
        else:
            read = JSON_READERS[kind]
        self._readers[name] = read
        return read

    def writer(self, name: str) -> Writer | None:
        """Python value -> what orjson can write; None where they are the same."""
        if name in self._writers:
            return self._writers[name]
        definition = self.definitions[name]
        kind: str = definition["type"]
        write: Writer | None = None
        if kind == "list":
            write = self._list_writer(definition["member"]["shape"])
        elif kind == "map":
            write = self._map_writer(definition["value"]["shape"])
        elif kind == "structure":
            members: dict[str, tuple[str, Writer | None]] = {}
            write = self._writers[name] = structure_writer(members)
            for member, shape in self.body_members(name).items():
                members[member] = (self.wire_name(name, member), self.writer(shape))
        elif kind == "blob":
            write = write_blob
        elif kind == "timestamp":
            write = write_timestamp
        self._writers[name] = write
        return write

    def _list_writer(self, item: str) -> Writer:
        write = self.writer(item)
        return list if write is None else lambda value: [write(item) for item in value]

    def _map_writer(self, item: str) -> Writer:
        write = self.writer(item)
        return dict if write is None else lambda value: {key: write(item) for key, item in value.items()}
