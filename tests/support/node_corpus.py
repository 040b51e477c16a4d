"""The corpus: what a Node.js runtime client is asked to do, as sessions of one process each.

The handlers are in `node_handlers/`; a session with `files` puts these beside them.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.python_corpus import CLIENT_CONTEXT, JSON, Session, invocation
from support.runtime_api import Invocation

HANDLERS = Path(__file__).parent / "node_handlers"
FIRST_MODERN = 24  # the first release that knows no callbacks


def _cases(file: str) -> tuple[str, ...]:
    """The names in a handler file's table `cases`."""
    text = (HANDLERS / file).read_text()
    table = text[text.index("const cases = {") : text.index("\n};")]
    return tuple(re.findall(r"^  (\w+):", table, re.MULTILINE))


def _all(file: str, but: tuple[str, ...] = ()) -> tuple[Invocation, ...]:
    return tuple(invocation(case, number) for number, case in enumerate(_cases(file)) if case not in but)


ANSWERS = (*_all("answers.js"), invocation("echo", 91, deep=[[[{}]]], text="ü\x00\x7f", big=2**70, real=1e-7))
FAILURES = _all("failures.js", but=("without_prototype",))
LOGS = _all("logs.js")
CALLBACKS = _all("callbacks.js", but=("done_unserialisable",))

CONTEXTS = (
    invocation("x", 1),
    invocation("x", 2, {"Lambda-Runtime-Client-Context": json.dumps(CLIENT_CONTEXT, ensure_ascii=False)}),
    invocation("x", 3, {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "id-1"}'}),
    invocation("x", 4, {"Lambda-Runtime-Trace-Id": None}),
    invocation("x", 5),
)

_RAW_EVENTS = (
    b"{}", b"null", b'"text"', b" [1, 2.50, 1e3, -0, true] \n", b'{"a": 1, "a": 2}', b"12345678901234567890123",
    '{"ü": "☃ \\ud83d\\ude00"}'.encode(), b'{"lone": "\\ud800"}', b'{"__proto__": 1}', b'"' + b"x" * 300_000 + b'"',
)  # fmt: skip
EVENTS = tuple(Invocation(f"event-{number}", event) for number, event in enumerate(_RAW_EVENTS))

_ONCE = (invocation("only"),)
_TWICE = (invocation("first", 1), invocation("second", 2))


def _loading(name: str, handler: str, source: str | None = None, file: str = "broken.js", **more: str) -> Session:
    """One that fails; `more`: further files, with __ for / and _ before the extension."""
    files = {} if source is None else {file: source}
    return Session(name, handler, files={**files, **more}, ends=True)


def _works(name: str, handler: str, files: Mapping[str, str] | None = None, case: str = "only") -> Session:
    return Session(name, handler, (invocation(case),), files=files or {})


def _ending(case: str, **event: Any) -> Session:
    return Session(f"ending: {case}", "endings.handler", (invocation(case, **event),), ends=True)


def _stream(name: str) -> Session:
    return Session(f"stream: {name}", f"streams.{name}", (invocation(name, 1), invocation(name, 2)))


SESSIONS = (
    Session("answers", "answers.handler", ANSWERS),
    Session("thenable", "answers.thenable", (invocation("a"),)),
    Session("failures", "failures.handler", FAILURES),
    Session("failures in JSON", "failures.handler", FAILURES, JSON),
    Session("failures of a handler that is not async", "failures.sync", FAILURES),
    Session("failure without a text", "failures.sync", (invocation("without_prototype"),), ends=True),
    Session("logs", "logs.handler", LOGS),
    Session("logs at debug", "logs.handler", LOGS[:1], {"AWS_LAMBDA_LOG_LEVEL": "debug"}),
    Session("logs at fatal", "logs.handler", LOGS[:1], {"AWS_LAMBDA_LOG_LEVEL": "FATAL"}),
    Session("logs at nonsense", "logs.handler", LOGS[:1], {"AWS_LAMBDA_LOG_LEVEL": "loud"}),
    Session("logs in JSON", "logs.handler", LOGS, JSON),
    Session("logs in JSON at warn", "logs.handler", LOGS[:1], {**JSON, "AWS_LAMBDA_LOG_LEVEL": "WARN"}),
    Session("framed logs", "logs.handler", LOGS[:5], {"_LAMBDA_TELEMETRY_LOG_FD": "1"}),
    Session("framed logs in JSON", "logs.handler", LOGS[:5], {**JSON, "_LAMBDA_TELEMETRY_LOG_FD": "1"}),
    Session("contexts", "contexts.handler", CONTEXTS),
    Session("one process", "contexts.counting", _TWICE),
    Session("events", "echo.handler", EVENTS, files={
        "echo.js": "exports.handler = async (event) => [typeof event, event];"}),
    Session("callbacks", "callbacks.handler", CALLBACKS),
    Session("an unserialisable value called back", "endings.unserialisable", _ONCE, ends=True),
    _works("handler in a nested object", "answers.nested.deeper.handler"),
    _works("handler with default parameters", "answers.default_parameter"),
    _works("ES module", "esm.handler"),
    _works("handler in the default export only", "esm.by_default"),
    _works("ES module that waits", "waiting.handler"),
    _works(".cjs", "common.handler"),
    _works("type module", "module_type/app.handler"),
    _works("folder", "folder/deep/app.handler"),
    _works("package", "library.handler"),
    _works("index of a folder", "index/app.handler", {"index/app.js": "exports.handler = async () => 'index';"}),
    _works("broken package.json", "app.handler", {
        "package.json": "{", "app.js": "exports.handler = async () => 'still';"}),
    _works("ES module imports CommonJS", "app.handler", {
        "app.mjs": "import library from 'library'; export const handler = async () => typeof library.handler;"}),
    _works("CommonJS imports an ES module", "app.handler", {
        "app.js": "exports.handler = async () => (await import('./esm.mjs')).default.by_default();"}),
    _loading("no such file", "nowhere.handler"),
    _loading("no such folder", "no/such/file.handler"),
    _loading("no such handler", "answers.nowhere"),
    _loading("no such nested handler", "answers.nested.nowhere.handler"),
    _loading("handler is not a function", "answers.number"),
    _loading("no dot", "answers"),
    _loading("empty", ""),
    _loading("relative", "../answers.handler"),
    _loading("missing dependency", "broken.handler", "require('not-there');"),
    _loading("missing dependency of a dependency", "outer.handler", "require('./inner');", "outer.js",
             **{"inner.js": "require('not-there');"}),
    _loading("missing file", "broken.handler", "require('./not-there');"),
    _loading("missing dependency of an ES module", "broken.handler", "import 'not-there';", "broken.mjs"),
    _loading("missing file of an ES module", "broken.handler", "import './not-there.mjs';", "broken.mjs"),
    _loading("missing export of an ES module", "broken.handler", "import { nowhere } from './esm.mjs';", "broken.mjs"),
    _loading("syntax error", "broken.handler", "exports.handler = async (event) => {\n  return 1 +;\n};\n"),
    _loading("syntax error in an ES module", "broken.handler", "export const handler = async () => {;\n", "broken.mjs"),
    _loading("syntax error elsewhere", "outer.handler", "require('./broken');", "outer.js",
             **{"broken.js": "const = 1;"}),
    _loading("ES module syntax in CommonJS", "broken.handler", "export const handler = async () => 1;\n"),
    _loading("throws while loading", "broken.handler", "function f() {\n  throw TypeError('at import');\n}\nf();\n"),
    _loading("throws a text while loading", "broken.handler", "throw 'at import';\n"),
    _loading("rejects while loading", "broken.handler", "await Promise.reject(new Error('rejected'));\n", "broken.mjs"),
    _loading("exits while loading", "broken.handler", "console.log('bye'); process.exit(5);\n"),
    _loading("wrongly marked for streaming", "streams.wrongly_marked"),
    Session("throws while loading, in JSON", "broken.handler", files={"broken.js": "throw new Error('at import');\n"},
            variables=JSON, ends=True),
    _ending("exit", code=0),
    _ending("exit", code=3),
    _ending("abort"),
    _ending("signal", name="SIGKILL"),
    _ending("uncaught"),
    _ending("uncaught_text"),
    _ending("rejection"),
    _ending("rejection_with_text"),
    *map(_stream, (
        "simple", "end_with_data", "empty", "objects", "piped", "slowly", "http", "large", "throws_first",
        "throws_late", "not_async", "returns", "content_type_too_late",
    )),
)  # fmt: skip

# Where ours differs on purpose. AWS's earlier client stumbles over its own missing name; its later one doesn't report
# an empty handler, and when it falls over, Node.js shows a line of its source.
DIFFERENT = {
    ("classic", "wrongly marked for streaming"),
    ("modern", "empty"),
    ("modern", "failure without a text"),
}


def name_of(session: Session) -> str:
    """Unique among the sessions."""
    if session.name.startswith("ending: exit"):
        return f"{session.name} {json.loads(session.invocations[0].event)['code']}"
    return session.name
