"""Markers of paginated lists: opaque to callers, and good for as long as they like.

A marker holds the key of the last item given, so it survives restarts, and items that come and go meanwhile neither
shift the pages nor are seen twice.
"""

import base64
import binascii
from typing import Any

import orjson

from lamplighter.model.errors import InvalidParameterValueException


def make(operation: str, *key: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([operation, *key])).decode()


def read(operation: str, marker: str, length: int) -> tuple[str, ...]:
    """The key of `length` parts. Raises InvalidParameterValue when this is no marker of that operation."""
    try:
        parts: Any = orjson.loads(base64.b64decode(marker.encode(), altchars=b"-_", validate=True))
        first, *key = parts
    except (binascii.Error, ValueError, TypeError) as error:
        raise _invalid() from error
    if first != operation or len(key) != length or not all(isinstance(part, str) for part in key):
        raise _invalid()
    return tuple(key)


def _invalid() -> InvalidParameterValueException:
    return InvalidParameterValueException("Invalid value for Marker. Use the NextMarker of the previous response.")
