"""Our Ruby runtime client answers as AWS's does, on whatever Ruby there is here (3.1 or later).

AWS's own client is not to be had from the registries that tests may use, so what it does is written down here: the
forms of handlers, errors and log lines that AWS documents.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lamplighter.runtimes
from support.python_clients import framed_as_text, run
from support.python_corpus import Session, invocation
from support.runtime_api import RuntimeApi

CLIENT = Path(lamplighter.runtimes.__file__).parent / "ruby" / "bootstrap.rb"
HANDLERS = Path(__file__).parents[1] / "support" / "ruby_handlers"
RUBY = shutil.which("ruby")


def _usable() -> bool:
    return RUBY is not None and subprocess.run([RUBY, "-e", "exit RUBY_VERSION >= '3.1'"]).returncode == 0


pytestmark = pytest.mark.skipif(not _usable(), reason="there is no Ruby 3.1 or later here")


@dataclass(frozen=True)
class Answered:
    code: int
    path: str  # of what was posted last
    headers: dict[str, str]
    body: Any
    log: str


def answered(handler: str, *cases: str, ends: bool = False, **variables: str) -> Answered:
    session = Session("ruby", handler, tuple(invocation(case) for case in cases), variables, ends=ends)
    with RuntimeApi(session.invocations) as api:
        code, log = run(session, HANDLERS, [str(RUBY), str(CLIENT)], api)
    last = api.requests[-1]
    body: Any = last.body
    if last.headers["content-type"] == "application/json":
        body = json.loads(last.body)
    return Answered(code, last.path, dict(last.headers), body, framed_as_text(log).decode())


def case(name: str, ends: bool = False) -> Answered:
    return answered("main.cases", name, ends=ends)


def test_what_is_returned_is_answered_as_json() -> None:
    assert case("echo").body == {"case": "echo"}
    assert case("nothing").body is None
    assert case("text").body == "späti"
    assert case("echo").path.endswith("/response")


def test_a_stream_is_answered_as_it_is() -> None:
    stream = case("stream")
    assert (stream.body, stream.headers["content-type"]) == (b"as it is", "application/unknown")


def test_one_process_answers_one_after_the_other_and_goes_on_after_an_error() -> None:
    assert answered("main.cases", "echo", "raise", "own", "echo").body == {"case": "echo"}


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("main.Outer::Inner.answer", ["Outer::Inner", "echo", "00000000-echo"]),
        ("lib/nested.handler", "other echo"),
    ],
)
def test_handlers_may_be_methods_of_classes_and_files_of_directories(handler: str, expected: object) -> None:
    assert answered(handler, "echo").body == expected


def test_the_context_has_what_aws_documents() -> None:
    assert case("context").body == {
        "id": "00000000-context",
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:corpus",
        "group": "/aws/lambda/corpus",
        "stream": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
        "name": "corpus",
        "memory": "128",
        "version": "$LATEST",
        "identity": None,
        "client": None,
        "deadline": 4_102_444_800_000,
        "left": True,
    }
    assert case("environment").body[0].startswith("Root=1-")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("raise", "RuntimeError", "an error"),
        ("own", "Mine", "of my own"),
        ("cause", "ArgumentError", "second"),
        ("bytes", "RuntimeError", "\ufffd\ufffd"),
        ("unserialisable", "JSON::GeneratorError", None),
        ("broken_text", "JSON::GeneratorError", None),
    ],
)
def test_an_error_is_the_callers_to_see(name: str, kind: str, message: str | None) -> None:
    failed = case(name)
    assert failed.path.endswith(f"/00000000-{name}/error")
    assert failed.headers["lambda-runtime-function-error-type"] == f"Function<{kind}>"
    assert set(failed.body) == {"errorMessage", "errorType", "stackTrace"}
    assert failed.body["errorType"] == f"Function<{kind}>"
    assert message is None or failed.body["errorMessage"] == message
    assert not [line for line in failed.body["stackTrace"] if str(CLIENT.parent) in line]
    assert "Error raised from handler method\n{\n" in failed.log
    assert json.loads(failed.headers["lambda-runtime-function-xray-error-cause"])["exceptions"][0]["type"] == (
        f"Function<{kind}>"
    )


def test_a_stack_begins_where_the_error_was_raised() -> None:
    first = case("raise").body["stackTrace"][0]
    assert re.fullmatch(rf"{re.escape(str(HANDLERS))}/main\.rb:\d+:in .*cases'", first)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("name", "NameError", 1),
        ("method", "NoMethodError", 1),
        ("exit", "SystemExit", 3),
        ("abort", "SystemExit", 1),
        ("load", "LoadError", 1),
        ("deep", "SystemStackError", 1),
    ],
)
def test_what_leaves_the_code_in_doubt_ends_the_process_once_it_is_told(name: str, kind: str, code: int) -> None:
    failed = case(name, ends=True)
    assert (failed.body["errorType"], failed.code) == (f"Function<{kind}>", code)
    assert "Critical exception from handler\n{\n" in failed.log


@pytest.mark.parametrize(
    ("handler", "kind", "code"),
    [
        ("broken.handler", "SyntaxError", 1),
        ("raises.handler", "RuntimeError", 1),
        ("leaves.handler", "SystemExit", 4),
        ("nowhere.handler", "LoadError", 1),
        ("main", "ArgumentError", 1),
        ("a.b.c.d", "ArgumentError", 1),
    ],
)
def test_what_can_not_be_loaded_is_an_error_of_init(handler: str, kind: str, code: int) -> None:
    failed = answered(handler, ends=True)
    assert failed.path.endswith("/runtime/init/error")
    assert (failed.body["errorType"], failed.code) == (f"Init<{kind}>", code)
    assert f"Init error when loading handler {handler}\n" in failed.log


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        ("main.nowhere", "NoMethodError"),
        ("main.Nowhere.answer", "NameError"),
        ("main.without_context", "ArgumentError"),
    ],
)
def test_a_method_that_can_not_be_called_is_an_error_of_the_call(handler: str, kind: str) -> None:
    assert answered(handler, "echo", ends=kind != "ArgumentError").body["errorType"] == f"Function<{kind}>"


def test_loggers_write_the_requests_id() -> None:
    log = case("log").log
    stamp = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} #\d+\]"
    assert re.search(rf"I, {stamp}  INFO RequestId: 00000000-log -- : one\ntwo\n", log)
    assert re.search(rf"W, {stamp}  WARN RequestId: 00000000-log -- : from a block\n", log)
    assert re.search(rf"E, {stamp} ERROR RequestId: 00000000-log -- : an argument \(ArgumentError\)\n", log)
    assert "\nprinted\n" in log
