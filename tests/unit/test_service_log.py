"""The service's own log as JSON: whatever is in a message, a line is one object, with the id of its request."""

import io
import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from lamplighter.model.request import REQUEST
from lamplighter.telemetry.service_log import CONSOLE, ConsoleFormatter, JsonFormatter


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


def test_what_a_request_has_logged_on_its_way_has_its_id_too() -> None:
    record = logging.LogRecord("lamplighter.x", logging.ERROR, "x.py", 1, "S3 is away", (), None)
    forms = JsonFormatter(), ConsoleFormatter(CONSOLE)
    assert not any("r-7" in form.format(record) for form in forms)
    token = REQUEST.set("r-7")
    try:
        as_json, for_people = (form.format(record) for form in forms)
        named = logging.LogRecord("lamplighter.x", logging.ERROR, "x.py", 1, "request r-7 failed", (), None)
        assert forms[1].format(named).endswith("request r-7 failed")
    finally:
        REQUEST.reset(token)
    assert json.loads(as_json)["request_id"] == "r-7"
    assert for_people.endswith("ERROR S3 is away (request r-7)")
