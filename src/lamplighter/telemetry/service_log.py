"""The service's own log, on standard error: lines for people, or one JSON object a line for programs.

What belongs to a request carries its id. Headers, payloads, variables and queries are never written, since secrets
travel in them; what a caller has named (a path) is escaped, so that it can't begin a line of its own.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import orjson

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
        request_id: object = record.__dict__.get("request_id")
        if isinstance(request_id, str):
            line["request_id"] = request_id
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line).decode()
        except TypeError:  # a lone surrogate, as file names that are not UTF-8 have
            kept = {name: text.encode("utf-8", "replace").decode() for name, text in line.items()}
            return orjson.dumps(kept).decode()


def set_up(form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """`form`: console or json. `level`: debug, info, warning or error; only ours go below info: libraries log what they
    were given."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(CONSOLE))
    logging.basicConfig(level=max(LEVELS[level], logging.INFO), handlers=[handler])
    logging.getLogger("lamplighter").setLevel(LEVELS[level])
