"""Values as AWS prints them in validation texts: Java's toString of lists, maps, numbers and generated classes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

HIDDEN = "*** Sensitive Data Redacted ***"


def lower_first(name: str) -> str:
    """Member names as Java has them: `KMSKeyArn` becomes `kMSKeyArn`."""
    return name[:1].lower() + name[1:]


def double(value: float) -> str:
    """Java's Double.toString: plain from 10^-3 up to 10^7, else d.dddE±n."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    digits, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"


def show(value: Any, shape: str, definitions: Mapping[str, Any]) -> str:
    """One value of a shape. Sensitive parts stay hidden."""
    definition: Mapping[str, Any] = definitions[shape]
    if value is None:
        return "null"
    if definition.get("sensitive"):
        return HIDDEN
    kind: str = definition["type"]
    if kind == "list":
        item = definition["member"]["shape"]
        return "[" + ", ".join(show(each, item, definitions) for each in value) + "]"
    if kind == "map":
        key, item = definition["key"]["shape"], definition["value"]["shape"]
        entries = cast(Mapping[str, Any], value).items()
        return "{" + ", ".join(f"{show(k, key, definitions)}={show(v, item, definitions)}" for k, v in entries) + "}"
    if kind == "structure":
        members: Mapping[str, Any] = definition.get("members", {})
        shown = (f"{lower_first(m)}={show(value.get(m), members[m]['shape'], definitions)}" for m in members)
        return f"{shape}({', '.join(shown)})"
    return show_scalar(value)


def show_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return double(value)
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%a %b %d %H:%M:%S UTC %Y")
    return str(value)
