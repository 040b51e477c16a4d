"""Events and answers as JSON, the way awslambdaric's encoder (simplejson) writes them.

Plain values take the interpreter's C encoder. What that would write differently or refuse (decimals, bytes within a
structure, named tuples, subclasses) takes the slow encoder below. `marshal` tells the two apart at C speed: it refuses
everything that is not exactly a built-in type, and everything that contains itself.
"""

from __future__ import annotations

import json
import marshal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INFINITY = float("inf")
_CONSTANTS = {None: "null", True: "true", False: "false"}


def load(event: bytes) -> Any:
    """Raises ValueError for what is not JSON in UTF-8, NaN and the infinities included."""
    text = event.decode()

    def refuse(constant: str) -> NoReturn:
        raise json.JSONDecodeError("Expecting value", text, text.find(constant))

    if "N" in text or "I" in text:  # the decoder with a hook is made only where it might be called
        return json.loads(text, parse_constant=refuse)
    return json.loads(text)


class Encoder:
    """`escape`: write everything but ASCII as \\u escapes, which AWS does up to python3.11."""

    def __init__(self, escape: bool) -> None:
        self._plain = json.JSONEncoder(check_circular=False, ensure_ascii=escape).encode
        self._string: Callable[[str], str] = encode_basestring_ascii if escape else encode_basestring

    def encode(self, value: Any) -> str:
        """Raises TypeError, ValueError, or whatever the value's own methods raise."""
        try:
            marshal.dumps(value, 2)  # version 2 keeps no table of references: shared values are not worth one
            return self._plain(value)
        except Exception:  # whatever it was, the slow encoder either does it or says in AWS's words why not
            chunks: list[str] = []
            try:
                self._write(value, chunks.append, {})
            except RecursionError:
                raise RecursionError("maximum recursion depth exceeded while encoding a JSON object") from None
            return "".join(chunks)

    def _write(self, value: Any, write: Callable[[str], None], inside: dict[int, Any]) -> None:
        """One function, since each level of the value may cost only one of the stack."""
        scalar = self._scalar(value)
        if scalar is not None:
            write(scalar)
            return
        identity = id(value)
        if identity in inside:
            raise ValueError("Circular reference detected")
        members = _members(value)
        inside[identity] = value  # also keeps it alive, so that the id stays its own
        if members is not None:
            separator, end = "{", "}"
            for key, item in members.items():
                write(f"{separator}{self._string(_key(key))}: ")
                self._write(item, write, inside)
                separator = ", "
        else:
            separator, end = "[", "]"
            for item in _items(value):
                write(separator)
                self._write(item, write, inside)
                separator = ", "
        write(end if separator == ", " else separator + end)
        del inside[identity]

    def _scalar(self, value: Any) -> str | None:
        if isinstance(value, str):
            return self._string(str.__str__(value))
        if isinstance(value, bytes):
            return self._string(str(value, "utf-8"))
        if value is None or value is True or value is False:
            return _CONSTANTS[value]
        if isinstance(value, int):
            return str(int(value))
        if isinstance(value, float):
            return _number(value)
        return _decimal(value)


def _members(value: Any) -> dict[Any, Any] | None:
    """Of what becomes an object: mappings, and named tuples or whatever else has an `_asdict` that can be called."""
    method = getattr(value, "_asdict", None)
    if callable(method):
        try:
            members: Any = method()
        except TypeError:
            pass
        else:
            if not isinstance(members, dict):
                raise TypeError(f"_asdict() must return a dict, not {type(members).__name__}")
            return cast("dict[Any, Any]", members)
    return cast("dict[Any, Any]", value) if isinstance(value, dict) else None


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return cast("Sequence[Any]", value)
    raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if isinstance(key, float):
        return _number(key)
    if key is None or key is True or key is False:
        return _CONSTANTS[key]
    if isinstance(key, int):
        return str(int(key))
    raise TypeError(f"keys must be str, int, float, bool or None, not {key.__class__.__name__}")


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (_INFINITY, -_INFINITY):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _decimal(value: Any) -> str | None:
    """A decimal keeps its digits. Told by name: whoever made one has imported the module, so that we need not."""
    for kind in type(value).__mro__:
        if kind.__module__ in ("decimal", "_decimal", "_pydecimal") and kind.__name__ == "Decimal":
            return "NaN" if value.is_nan() else str(value)
    return None
