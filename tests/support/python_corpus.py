"""The corpus: what both Python runtime clients are asked to do, as sessions of one process each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.runtime_api import Invocation

CLIENT_CONTEXT = {
    "custom": {"a": [1, "ü"]},
    "env": {"locale": "de"},
    "client": {"installation_id": "i-1", "app_title": "title", "app_version_name": "v", "other": "dropped"},
    "w3c": {"traceparent": "00-abc", "tracestate": 7, "other": "x"},
}
JSON = {"AWS_LAMBDA_LOG_FORMAT": "JSON"}
PYTHON_312 = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}  # from here on, JSON text is not escaped


@dataclass(frozen=True)
class Session:
    """One process: its handler, its variables, and the invocations it gets. `files` go into the task root, too."""

    name: str
    handler: str
    invocations: tuple[Invocation, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    refuse: Mapping[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    ends: bool = False  # the process ends of its own accord
    terminate: bool = False  # send it SIGTERM at the end


def invocation(case: str, number: int = 0, headers: Mapping[str, str | None] | None = None, **event: Any) -> Invocation:
    body = json.dumps({"case": case, **event}).encode()
    return Invocation(f"{number:08}-{case}", body, headers=headers or {})


def _all(*cases: str) -> tuple[Invocation, ...]:
    return tuple(invocation(case, number) for number, case in enumerate(cases))


ANSWERS = (
    *_all(
        "nothing", "echo", "scalars", "a_string", "unicode_text", "some_bytes", "empty_bytes", "bytes_inside",
        "bad_bytes_inside", "bytearray_answer", "decimals", "a_decimal_key", "not_a_number", "huge_int",
        "int_of_too_many_digits", "key_kinds", "a_tuple_key", "a_set", "a_set_deep_inside", "a_datetime", "a_uuid",
        "an_object", "a_dataclass", "a_generator", "a_dict_view", "a_class", "a_named_tuple", "something_with_asdict",
        "asdict_that_needs_arguments", "asdict_of_the_wrong_kind", "subclasses", "a_plain_enum", "circular",
        "the_same_thing_twice", "deeply_nested", "nested_within_reason", "raises_while_it_is_written", "a_coroutine",
        "json_text", "a_proxy_answer", "no_such_case",
    ),
    invocation("nested_within_reason", 90, slow=True),
    invocation("surrogate_pair_from_event", 91, text="\U0001f600 \u2028"),
    invocation("echo", 92, big=2**70, real=1e-7, deep=[[[{}]]], text="ü\x00\x7f"),
)  # fmt: skip

FAILURES = _all(
    "raise_value_error", "raise_without_text", "raise_several_arguments", "raise_key_error", "raise_own_error",
    "raise_empty_text", "raise_lines", "raise_unicode", "raise_chained", "raise_in_except", "raise_group", "raise_deep",
    "raise_multi_line_statement", "raise_from_library", "raise_from_generated_code", "raise_from_lambda",
    "raise_with_note", "raise_os_error", "raise_stop_iteration", "assertion", "raise_class_of_long_name",
    "raise_long_text", "name_error", "wrong_arguments", "async_failure", "recursion",
)  # fmt: skip

LOGS = _all(
    "print_lines", "write_streams", "log_levels", "log_after_set_level", "log_extra", "log_exception", "log_lines",
    "log_bad_format", "log_handlers", "basic_config", "own_handler", "log_in_thread", "log_in_task", "captured_stdout",
    "warn", "log_surrogate", "raise_value_error", "a_set",
)  # fmt: skip

CONTEXTS = (
    *_all(
        "context_members", "context_client", "context_time", "context_log", "context_of_no_such_attribute",
        "context_attributes_can_be_set", "variables", "local_time", "search_path", "count", "count", "leave_a_thread",
        "leave_a_task", "modules_of_the_runtime", "count",
    ),
    invocation("context_client", 40, {"Lambda-Runtime-Client-Context": json.dumps(CLIENT_CONTEXT, ensure_ascii=False)}),
    invocation("context_client", 41, {"Lambda-Runtime-Client-Context": "{}"}),
    invocation("context_client", 42, {"Lambda-Runtime-Client-Context": '{"client": null, "w3c": "text"}'}),
    invocation("context_client", 43, {"Lambda-Runtime-Client-Context": "{not json"}),
    invocation("context_client", 44, {"Lambda-Runtime-Client-Context": '{"w3c": {"baggage": "b"}}'}),
    invocation(
        "context_client", 45,
        {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "id-1", "cognitoIdentityPoolId": "pool-1"}'},
    ),
    invocation("context_client", 46, {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "only"}'}),
    invocation("context_client", 47, {"Lambda-Runtime-Cognito-Identity": "nonsense"}),
    invocation("context_client", 48, {"Lambda-Runtime-Aws-Tenant-Id": "tenant/1"}),
    invocation("log_with_tenant", 49, {"Lambda-Runtime-Aws-Tenant-Id": "tenant/1"}),
    invocation("echo", 50, {"Lambda-Runtime-Invocation-Id": "delivery-1"}),
    invocation("raise_value_error", 51, {"Lambda-Runtime-Invocation-Id": "delivery-2"}),
    invocation("variables", 52, {"Lambda-Runtime-Trace-Id": None}),
    invocation("variables", 53),
    invocation("context_no_time", 54, {"Lambda-Runtime-Deadline-Ms": "1000"}),
)  # fmt: skip

_RAW_EVENTS: tuple[tuple[bytes, dict[str, str | None]], ...] = (
    (b"{}", {}),
    (b"null", {}),
    (b'"text"', {}),
    (b" [1, 2.50, 1e3, -0, true] \n", {}),
    (b'{"a": 1, "a": 2}', {}),
    ('{"ü": "☃ \\ud83d\\ude00"}'.encode(), {}),
    (b'{"lone": "\\ud800"}', {}),
    (b"12345678901234567890123", {}),
    (b'"' + b"x" * 300_000 + b'"', {}),
    (b"", {}),
    (b"not json", {}),
    (b"NaN", {}),
    (b'"\xff"', {}),
    (b"raw \xff bytes", {"Content-Type": "text/plain"}),
    (b'{"a": 1}', {"Content-Type": "application/json; charset=utf-8"}),
)
EVENTS = tuple(
    Invocation(f"event-{number}", event, headers=headers) for number, (event, headers) in enumerate(_RAW_EVENTS)
)

_ONCE = (Invocation("only-one", b'{"case": "echo", "x": 1}'),)


def _loading(name: str, handler: str, source: str | None = None, file: str = "broken.py", **more: Any) -> Session:
    return Session(name, handler, files={} if source is None else {file: source}, ends=True, **more)


def _ending(name: str, **event: Any) -> Session:
    return Session(name, "endings.handler", (Invocation("last", json.dumps(event).encode()),), ends=True)


SESSIONS = (
    Session("answers", "cases.handler", ANSWERS),
    Session("answers of 3.12", "cases.handler", ANSWERS, PYTHON_312),
    Session("failures", "cases.handler", FAILURES),
    Session("failures of 3.12", "cases.handler", FAILURES, PYTHON_312),
    Session("failures in JSON", "cases.handler", FAILURES, {**PYTHON_312, **JSON}),
    Session("logs", "cases.handler", LOGS),
    Session("logs at debug", "cases.handler", LOGS, {"AWS_LAMBDA_LOG_LEVEL": "TRACE"}),
    Session("logs at fatal", "cases.handler", LOGS, {"AWS_LAMBDA_LOG_LEVEL": "FATAL"}),
    Session("logs at nonsense", "cases.handler", LOGS, {"AWS_LAMBDA_LOG_LEVEL": "loud"}),
    Session("logs in JSON", "cases.handler", LOGS, JSON),
    Session("logs in JSON at info", "cases.handler", LOGS, {**JSON, "AWS_LAMBDA_LOG_LEVEL": "INFO"}),
    Session("logs in JSON at error", "cases.handler", LOGS, {**JSON, **PYTHON_312, "AWS_LAMBDA_LOG_LEVEL": "ERROR"}),
    Session("logs in JSON, lower case", "cases.handler", LOGS, {"AWS_LAMBDA_LOG_FORMAT": "json"}),
    Session("framed logs", "cases.handler", LOGS, {"_LAMBDA_TELEMETRY_LOG_FD": "1"}),
    Session("framed logs in JSON", "cases.handler", LOGS, {**JSON, "_LAMBDA_TELEMETRY_LOG_FD": "1"}),
    Session("contexts", "cases.handler", CONTEXTS),
    Session("contexts in JSON", "cases.handler", CONTEXTS, {**JSON, **PYTHON_312}),
    Session("events", "echo.handler", EVENTS, files={"echo.py": "def handler(e, c): return [str(type(e)), repr(e)]"}),
    Session("handler in a package", "pkg.module.handler", _ONCE),
    Session("handler in a package, slashed", "pkg/module.handler", _ONCE),
    Session("handler in a deeper folder", "pkg/deep/inner.handler", _ONCE),
    Session("handler is a partial", "cases.partially", _ONCE),
    Session("handler is a lambda", "cases.anonymous", _ONCE),
    Session("handler is an instance", "cases.instance", _ONCE),
    Session("handler is a class", "cases.AsClass", _ONCE),
    Session("handler is not callable", "cases.not_callable", _ONCE),
    Session("handler is a coroutine", "cases.coroutine", _ONCE),
    Session("handler takes one argument", "cases.one_argument", _ONCE),
    Session("handler with names of ours", "own_names.handler", _ONCE),
    Session("handler in a module called bootstrap", "bootstrap.handler", _ONCE, files={
        "bootstrap.py": "def handler(e, c): raise ValueError('here')"}),
    Session("import that prints", "noisy_import.handler", _ONCE),
    _loading("no such module", "nope.handler"),
    _loading("no such module, slashed", "no/such/module.handler"),
    _loading("no such handler", "cases.nope"),
    _loading("handler in an instance", "cases.instance.static"),
    _loading("no dot", "cases"),
    _loading("only a dot", "."),
    _loading("leading dot", ".cases.handler"),
    _loading("a built-in module", "sys.exit"),
    _loading("a built-in package", "time.zone.handler"),
    _loading("syntax error", "broken.handler", "def handler(event, context)\n    return 1\n"),
    _loading("indentation error", "broken.handler", "def handler():\nreturn 1\n"),
    _loading("syntax error elsewhere", "outer.handler", "import broken\n", "outer.py"),
    _loading("null byte", "broken.handler", "x = '\x00'\n"),
    _loading("missing dependency", "broken.handler", "import not_there\n"),
    _loading("missing name", "broken.handler", "from json import not_there\n"),
    _loading("raises at import", "broken.handler", "def f():\n    raise ValueError('at import')\n\nf()\n"),
    _loading("raises at import of 3.12", "broken.handler", "raise ValueError('at\\nimport')\n", variables=PYTHON_312),
    _loading("raises at import in JSON", "broken.handler", "raise ValueError('at import')\n", variables=JSON),
    _loading("raises at import, framed", "broken.handler", "1/0\n", variables={"_LAMBDA_TELEMETRY_LOG_FD": "1"}),
    _loading("import error without text", "broken.handler", "raise ImportError\n"),
    _loading("recursion at import", "broken.handler", "def f(): f()\nf()\n"),
    _loading("exits at import", "broken.handler", "import sys\nprint('bye')\nsys.exit(5)\n"),
    _loading("ends at import", "broken.handler", "import os\nos._exit(6)\n"),
    _loading("interrupts at import", "broken.handler", "raise KeyboardInterrupt\n"),
    _loading("init error refused", "nope.handler", refuse={"init/error": (403, b"{}")}),
    _ending("exit 0", how="exit", code=0),
    _ending("exit 3", how="exit", code=3),
    _ending("exit 256", how="exit", code=257),
    _ending("exit with a text", how="exit", code="last words"),
    _ending("exit with a list", how="exit", code=[1, 2]),
    _ending("exit with nothing", how="exit", code=None),
    _ending("exit while a thread runs", how="exit with thread"),
    _ending("SystemExit", how="quit"),
    _ending("_exit", how="_exit", code=7),
    _ending("killed", how="signal", code=9),
    _ending("aborted", how="signal", code=6),
    _ending("segmentation fault", how="signal", code=11),
    _ending("BaseException", how="base exception"),
    _ending("KeyboardInterrupt", how="keyboard interrupt"),
    _ending("SIGINT", how="interrupt signal"),
    _ending("GeneratorExit", how="generator exit"),
    _ending("exception without a text", how="text raises"),
    _ending("own excepthook", how="excepthook"),
    Session("surrogate answer of 3.12", "endings.handler", (Invocation("last", b'{"how": "surrogate"}'),), PYTHON_312,
            ends=True),
    Session("surrogate error of 3.12", "endings.handler", (Invocation("last", b'{"how": "surrogate error"}'),),
            PYTHON_312, ends=True),
    Session("surrogate error", "endings.handler", (Invocation("last", b'{"how": "surrogate error"}'),), ends=True),
    Session("surrogate answer", "endings.handler", (Invocation("last", b'{"how": "surrogate"}'),)),
    Session("answer too large", "cases.handler", _ONCE, refuse={"/response": (413, b'{"errorType": "TooLarge"}')},
            ends=True),
    Session("answer refused", "cases.handler", _ONCE, refuse={"/response": (400, b"{}")}, ends=True),
    Session("error refused", "cases.handler", (invocation("raise_value_error"),), refuse={"/error": (500, b"oops")},
            ends=True),
    Session("SIGTERM with a handler", "endings.handler_with_signal", _ONCE, PYTHON_312, terminate=True),
    Session("SIGTERM", "cases.handler", _ONCE, terminate=True),
)  # fmt: skip
