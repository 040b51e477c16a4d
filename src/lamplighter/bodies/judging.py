"""Whether a payload is JSON, as AWS takes it."""

import json

import orjson


def is_json(payload: bytes) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    else:
        return True
    try:  # AWS takes lone surrogates, which orjson does not
        json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    """NaN and Infinity, which Python takes and JSON does not know."""
    raise ValueError(name)
