"""Function versions as text in a column, and back.

The columns of a table are what is searched for; the rest of a value travels as one JSON document, so that a new member
of FunctionVersion (which must have a default) needs no migration and older documents stay readable.
"""

from typing import Any, Final

import orjson

from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion, LayerRef

LARGEST_NUMBER: Final = 2**63 - 1  # of a column


def to_text(function: FunctionVersion) -> str:
    return orjson.dumps(function).decode()


def from_text(text: str) -> FunctionVersion:
    members: dict[str, Any] = orjson.loads(text)
    members["id"] = FunctionId(**members["id"])
    members["code"] = CodePackage(**members["code"])
    members["architectures"] = tuple(members["architectures"])
    members["layers"] = tuple(LayerRef(layer["arn"], CodePackage(**layer["package"])) for layer in members["layers"])
    return FunctionVersion(**members)


def packages(function: FunctionVersion) -> dict[str, int]:
    """The digests of what must be kept for this version to run, and the bytes that count as storage: those of a layer
    count once, where it was published."""
    return {**{layer.package.digest: 0 for layer in function.layers}, function.code.digest: function.code.size}


def is_settled(function: FunctionVersion) -> bool:
    return function.state != "Pending" and function.last_update_status != "InProgress"


def number(version: str) -> int:
    """The order of versions: $LATEST is 0. A marker may name any number: those too large to be one are behind all."""
    if not version.isdecimal():
        return 0
    return int(version) if len(version) < len(str(LARGEST_NUMBER)) else LARGEST_NUMBER
