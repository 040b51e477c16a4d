"""The service's own log as JSON: whatever is in a message, a line is one object, with the id of its request."""

import io
import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.telemetry.service_log import JsonFormatter


def line(message: str, **extra: str) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    record = logging.LogRecord("lamplighter.x", logging.INFO, "x.py", 1, "%s", (message,), None)
    record.__dict__.update(extra)
    handler.emit(record)
    return out.getvalue()


@given(st.text(st.characters(codec=None)))
def test_any_message_is_one_line_and_one_object(message: str) -> None:
    text = line(message)
    assert text.endswith("\n") and text.count("\n") == 1
    read = json.loads(text)
    assert read["message"] == message.encode("utf-8", "replace").decode()
    assert "request_id" not in read


def test_the_request_and_the_error_have_members_of_their_own() -> None:
    assert json.loads(line("m", request_id="r-1"))["request_id"] == "r-1"
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        record = logging.LogRecord("lamplighter.x", logging.ERROR, "x.py", 1, "m", (), sys.exc_info())
    assert "ZeroDivisionError: a bug" in json.loads(JsonFormatter().format(record))["error"]
