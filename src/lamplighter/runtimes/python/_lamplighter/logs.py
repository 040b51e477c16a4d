"""Where log records, error lines and prints go, and in which form (AWS: spec 3.6).

Records go through one handler at the root logger, in text or JSON, to stdout or, if the service gave a descriptor for
framed records, there (AWS: spec 3.2). The class names of handlers and streams are AWS's, as functions look at them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any

_TEXT_LINE = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
_TEXT_TIME = "%Y-%m-%dT%H:%M:%S"
_JSON_TIME = "%Y-%m-%dT%H:%M:%SZ"
_INDENT = "\u00a0"  # error lines are indented with no-break spaces and joined by CR, so that they stay one log event

_FRAME_LEVELS = {level: index * 4 for index, level in enumerate((10, 20, 30, 40, 50), start=2)}  # DEBUG 8 … CRITICAL 24
_FRAME_TEXT = 0xA55A0003
_FRAME_JSON = 0xA55A0002

_LEVELS = ("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET")

# What every record has, or what appears under another name; anything else came from `extra` and is shown as it is.
_KNOWN = frozenset(logging.makeLogRecord({}).__dict__) - {"taskName"} | {"aws_request_id", "tenant_id", "_frame_type"}


class Current:
    """The invocation that runs now; the filter below stamps records with it."""

    __slots__ = ("request_id", "tenant_id")

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.tenant_id: str | None = None


class Unbuffered:
    """A stream that is never behind: a function can be frozen or killed after any write."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> Unbuffered:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, msg: str) -> None:
        self.stream.write(msg)
        self.stream.flush()

    def writelines(self, msgs: Any) -> None:
        self.stream.writelines(msgs)
        self.stream.flush()


class StandardLogSink:
    """Writes to whatever sys.stdout is at the moment."""

    def log(self, msg: str, frame_type: int | None = None) -> None:
        sys.stdout.write(msg)

    def log_error(self, lines: list[str], frame_type: int) -> None:
        sys.stdout.write("\r".join(lines) + "\n")


class FramedTelemetryLogSink:
    """Writes records in frames of type, length, time in microseconds (big-endian: 4, 4, 8 bytes) and text."""

    def __init__(self, fd: int) -> None:
        self.file = os.fdopen(fd, "wb", 0)

    def log(self, msg: str, frame_type: int | None = None) -> None:
        text = msg.encode()
        head = (frame_type or _FRAME_TEXT).to_bytes(4, "big") + len(text).to_bytes(4, "big")
        self.file.write(head + (time.time_ns() // 1000).to_bytes(8, "big") + text)

    def log_error(self, lines: list[str], frame_type: int) -> None:
        self.log("\n".join(lines), frame_type)


class LambdaLoggerHandler(logging.Handler):
    def __init__(self, log_sink: Any) -> None:
        super().__init__()
        self.log_sink = log_sink

    def emit(self, record: logging.LogRecord) -> None:
        self.log_sink.log(self.format(record))


class LambdaLoggerHandlerWithFrameType(LambdaLoggerHandler):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        self.log_sink.log(text, getattr(record, "_frame_type", None) or _frame_type(_FRAME_TEXT, _level(record)))


class LambdaLoggerFilter(logging.Filter):
    def __init__(self, current: Current) -> None:
        super().__init__()
        self._current = current

    def filter(self, record: Any) -> bool:
        record.aws_request_id = self._current.request_id or ""
        record.tenant_id = self._current.tenant_id
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record: fixed members first, then those of `extra`; what is None is left out."""

    def __init__(self) -> None:
        super().__init__(datefmt=_JSON_TIME)

    def format(self, record: Any) -> str:
        record.levelno = _level(record)
        record.levelname = logging.getLevelName(record.levelno)
        record._frame_type = _frame_type(_FRAME_JSON, record.levelno)
        failure = record.exc_info or None
        message: Any = record.msg
        if not isinstance(message, dict) or record.args:
            message = record.getMessage()
        members: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": message,
            "logger": record.name,
            "stackTrace": failure and traceback.format_tb(failure[2]),
            "errorType": failure and failure[0].__name__,
            "errorMessage": failure and str(failure[1]),
            "requestId": getattr(record, "aws_request_id", None),
            "location": failure and f"{record.pathname}:{record.funcName}:{record.lineno}",
        }
        if getattr(record, "tenant_id", None) is not None:
            members["tenantId"] = record.tenant_id
        for name, value in record.__dict__.items():
            if name not in _KNOWN:
                members.setdefault(name, value)
        shown = {name: value for name, value in members.items() if value is not None}
        return json.dumps(shown, ensure_ascii=False, default=str) + "\n"


class Log:
    """Sets the root logger up for this environment and writes error lines. `encode`: the runtime's JSON encoder."""

    def __init__(self, environ: Any, encode: Any) -> None:
        self.current = Current()
        self._encode = encode
        self._json = environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
        level = environ.get("AWS_LAMBDA_LOG_LEVEL", "")
        self._level = "DEBUG" if level == "TRACE" else level.upper()
        framed = environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
        self._sink: Any = StandardLogSink() if framed is None else FramedTelemetryLogSink(int(framed))

    def set_up(self) -> None:
        sys.stdout = Unbuffered(sys.stdout)
        sys.stderr = Unbuffered(sys.stderr)
        logging.Formatter.converter = time.gmtime
        framed = self._json or self._level
        handler = (LambdaLoggerHandlerWithFrameType if framed else LambdaLoggerHandler)(self._sink)
        handler.setFormatter(JsonFormatter() if self._json else logging.Formatter(_TEXT_LINE, _TEXT_TIME))
        handler.addFilter(LambdaLoggerFilter(self.current))
        root = logging.getLogger()
        if self._level and self._level in _LEVELS:
            root.setLevel(self._level)
        root.addHandler(handler)

    def error(self, payload: dict[str, Any]) -> None:
        """The line for a failure that nobody caught. Its form is AWS's, down to the no-break spaces."""
        if self._json:
            stamp = time.strftime(_JSON_TIME, logging.Formatter.converter(time.time()))  # noqa: TID251  # no Clock in here
            line = self._encode({"timestamp": stamp, "level": "ERROR", **payload})
            self._sink.log_error([line], _frame_type(_FRAME_JSON, logging.ERROR))
        else:
            self._sink.log_error(_error_lines(payload), _frame_type(_FRAME_TEXT, logging.ERROR))


def _error_lines(payload: dict[str, Any]) -> list[str]:
    kind, message = payload["errorType"], payload["errorMessage"]
    head = (
        "[ERROR]"
        + (f" {kind}" if kind else "")
        + (":" if kind and message else "")
        + (f" {message}" if message else "")
    )
    lines = [head, "Traceback (most recent call last):"]
    for entry in payload["stackTrace"]:
        for line in entry.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append(_INDENT * (len(line) - len(text)) + text)
    return lines


def _level(record: logging.LogRecord) -> int:
    """The standard level at or below the record's own."""
    return min(50, max(0, record.levelno)) // 10 * 10


def _frame_type(base: int, level: int) -> int:
    return base + _FRAME_LEVELS.get(level, 0)
