"""Application log levels of functions that log in JSON: what is below the function's level is not kept (AWS: spec 3.6).

Runtimes filter what goes through their loggers themselves. Here the rest is judged: what a function prints, and what
custom runtimes write. A record without a valid level counts as INFO.
"""

import orjson

from lamplighter.model.functions import FunctionVersion

LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50, "CRITICAL": 50}


def least_level(function: FunctionVersion) -> int | None:
    """Below which a record is dropped; None: nothing is (text, or the lowest level)."""
    if function.log_format != "JSON":
        return None
    least = LEVELS.get(function.application_log_level or "INFO", LEVELS["INFO"])
    return least if least > LEVELS["TRACE"] else None


def passes(level: str | None, least: int) -> bool:
    return LEVELS.get(level or "INFO", LEVELS["INFO"]) >= least


def passing(lines: bytes, least: int) -> bytes:
    """Of whole lines, those that are at least of that level."""
    if least <= LEVELS["INFO"] and b'"level"' not in lines:
        return lines
    return b"".join(line for line in _split(lines) if passes(_level(line), least))


def _split(lines: bytes) -> list[bytes]:
    parts = lines.split(b"\n")
    last = parts.pop()
    return [part + b"\n" for part in parts] + ([last] if last else [])


def _level(line: bytes) -> str | None:
    if not line.startswith(b"{") or b'"level"' not in line:
        return None
    try:
        level = orjson.loads(line).get("level")
    except orjson.JSONDecodeError:
        return None
    return level.upper() if isinstance(level, str) else None
