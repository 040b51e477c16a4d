"""The service's own log, on standard error: lines for people, or one JSON object a line for programs.

What belongs to a request carries its id. Headers, payloads, variables and queries are never written, since secrets
travel in them; what a caller has named (a path) is escaped, so that it can't begin a line of its own.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

from lamplighter.model.request import REQUEST

CONSOLE: Final = "%(asctime)s %(levelname)s %(message)s"
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class JsonFormatter(logging.Formatter):
    """`time` (ISO 8601, UTC), `level`, `logger`, `message`; `request_id` and `error` (a traceback) if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := _request_of(record)) is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate, as file names that are not UTF-8 have
            kept = {name: text.encode("utf-8", "replace").decode() for name, text in line.items()}
            return orjson.dumps(kept).decode()


class ConsoleFormatter(logging.Formatter):
    """Lines for people, which name their request if the message doesn't."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        request_id = _request_of(record)
        return text if request_id is None or request_id in text else f"{text} (request {request_id})"


def _request_of(record: logging.LogRecord) -> str | None:
    """As the line has it, or else as the task has it that writes it: there is no queue in between."""
    given: object = record.__dict__.get("request_id")
    return given if isinstance(given, str) else REQUEST.get()


def set_up(form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """`form`: console or json. `level`: debug, info, warning or error; only ours go below info: libraries log what they
    were given."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter(CONSOLE))
    logging.basicConfig(level=max(LEVELS[level], logging.INFO), handlers=[handler])
    logging.getLogger("lamplighter").setLevel(LEVELS[level])
