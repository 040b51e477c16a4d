"""CBOR (RFC 8949), as far as the protocol rpc-v2-cbor needs it: JSON's values, bytes, and timestamps (tag 1).

What is read is anybody's, so depth is bounded, and no length is believed before the bytes are there. Timestamps are
read as numbers, as JSON has them, so that one set of readers does for both; other tags are passed over.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

CONTENT_TYPE: Final = "application/cbor"
DEEPEST: Final = 32
_SIZES: Final = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}
_INDEFINITE: Final = 31
_BREAK: Final = object()
_SIMPLE: Final[Mapping[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}


class CborError(ValueError):
    """These bytes are no CBOR, or more than is read here."""


def loads(data: bytes) -> Any:
    reader = _Reader(data)
    value = reader.item(0)
    if value is _BREAK or reader.at != len(data):
        raise CborError("one item was expected")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise CborError("it ends too early")
        found = self._data[self.at : self.at + size]
        self.at += size
        return found

    def item(self, depth: int) -> Any:
        """_BREAK at the end of something of indefinite length."""
        if depth > DEEPEST:
            raise CborError("it is nested too deep")
        head = self._take(1)[0]
        kind, detail = head >> 5, head & 31
        if kind == 7:
            return self._simple(detail)
        if detail == _INDEFINITE:
            return self._indefinite(kind, depth)
        size = self._argument(detail)
        match kind:
            case 0:
                return size
            case 1:
                return -1 - size
            case 2:
                return self._take(size)
            case 3:
                return _text(self._take(size))
            case 4:
                return [self._value(depth) for _ in range(self._believed(size))]
            case 5:
                return dict(self._pair(depth) for _ in range(self._believed(size)))
            case _:
                return self._value(depth)  # of a tag

    def _believed(self, size: int) -> int:
        """Each member takes a byte at least."""
        if size > len(self._data) - self.at:
            raise CborError("it ends too early")
        return size

    def _argument(self, detail: int) -> int:
        if detail < 24:
            return detail
        form = _SIZES.get(detail)
        if form is None:
            raise CborError("a length is not well-formed")
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _simple(self, detail: int) -> Any:
        if detail in _SIMPLE:
            return _SIMPLE[detail]
        if detail == _INDEFINITE:
            return _BREAK
        form = _FLOATS.get(detail)
        if form is None:
            raise CborError("a simple value is unknown")
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _value(self, depth: int) -> Any:
        value = self.item(depth + 1)
        if value is _BREAK:
            raise CborError("a break is where no end is due")
        return value

    def _pair(self, depth: int) -> tuple[str, Any]:
        key = self._value(depth)
        if not isinstance(key, str):
            raise CborError("a key is no text")
        return key, self._value(depth)

    def _indefinite(self, kind: int, depth: int) -> Any:
        parts: list[Any] = []
        while (part := self.item(depth + 1)) is not _BREAK:
            parts.append(part)
        if kind == 4:
            return parts
        if kind == 5 and len(parts) % 2 == 0 and all(isinstance(key, str) for key in parts[::2]):
            return dict(zip(parts[::2], parts[1::2], strict=True))
        if kind == 3 and all(isinstance(part, str) for part in parts):
            return "".join(parts)
        if kind == 2 and all(isinstance(part, bytes) for part in parts):
            return b"".join(parts)
        raise CborError("something of indefinite length is not well-formed")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CborError("a text is not UTF-8") from None


def dumps(value: Any) -> bytes:
    """Of None, bool, int, float, str, bytes, datetime (as a timestamp), and sequences and mappings of these."""
    parts: list[bytes] = []
    _write(value, parts.append)
    return b"".join(parts)


def _write(value: Any, put: Callable[[bytes], None]) -> None:
    match value:
        case None:
            put(b"\xf6")
        case bool():
            put(b"\xf5" if value else b"\xf4")
        case int():
            put(_head(0, value) if value >= 0 else _head(1, -1 - value))
        case float():
            put(b"\xf9\x7e\x00" if math.isnan(value) else b"\xfb" + struct.pack(">d", value))
        case str():
            encoded = value.encode("utf-8", "replace")
            put(_head(3, len(encoded)) + encoded)
        case bytes():
            put(_head(2, len(value)) + value)
        case datetime():
            put(b"\xc1")
            _write(value.timestamp(), put)
        case Mapping():
            members = {key: item for key, item in cast(Mapping[str, Any], value).items() if item is not None}
            put(_head(5, len(members)))
            for key, item in members.items():
                _write(key, put)
                _write(item, put)
        case Sequence():
            items = cast(Sequence[Any], value)
            put(_head(4, len(items)))
            for item in items:
                _write(item, put)
        case _:
            raise TypeError(f"no CBOR for {type(value)}")


def _head(kind: int, size: int) -> bytes:
    if size < 24:
        return bytes((kind << 5 | size,))
    for detail, form in _SIZES.items():
        if size < 1 << 8 * struct.calcsize(form):
            return bytes((kind << 5 | detail,)) + struct.pack(form, size)
    raise OverflowError("a number is too large for CBOR")
