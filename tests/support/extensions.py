"""Real extensions in real sandboxes: what a layer's program does is a few lines of Python, after a common beginning."""

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from lamplighter.model.clock import SystemClock
from lamplighter.model.command import Command
from lamplighter.model.functions import CodePackage, FunctionVersion, LayerRef
from lamplighter.model.usage import Ran, Usage
from lamplighter.sandbox.contract import Isolation
from lamplighter.worker.environment import LiveEnvironment
from lamplighter.worker.worker import Worker
from support.environments import version
from support.sandbox_server import Bench, serving

_REAL = os.path.realpath(sys.executable)
PYTHON = ("/usr/bin/" if _REAL.startswith("/usr/bin/") else "/var/lang/bin/") + os.path.basename(_REAL)
BEGINNING = """
import json, os, sys, time, urllib.error, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2020-01-01/extension/"
NAME = os.path.basename(sys.argv[0])
def call(path, body=None, **more):
    head = {name.replace("_", "-"): value for name, value in more.items()}
    with urllib.request.urlopen(urllib.request.Request(API + path, body, head)) as reply:
        return reply.headers, json.loads(reply.read())
def register(*events):
    global ME, TOLD
    body = json.dumps({"events": events}).encode()
    head, TOLD = call("register", body, lambda_extension_name=NAME, lambda_extension_accept_feature="accountId")
    ME = {"lambda_extension_identifier": head["Lambda-Extension-Identifier"]}
def follow():
    head, event = call("event/next", **ME)
    print(NAME, json.dumps(event), flush=True)
    return event
"""
RUNTIME = """
import json, os, signal, sys, time, urllib.request
ROOT = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def leave(*_):
    print("runtime terminated", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
while True:
    with urllib.request.urlopen(ROOT + "next") as event:
        request_id, payload = event.headers["Lambda-Runtime-Aws-Request-Id"], json.load(event)
    exec(payload.get("do", ""))
    print("ran", flush=True)
    urllib.request.urlopen(ROOT + request_id + "/response", data=b"5").read()
"""
WELL = 'register("INVOKE", "SHUTDOWN")\nwhile follow()["eventType"] != "SHUTDOWN":\n    pass\n'


class Layered:
    """A worker whose functions have one layer, with these extensions in it: bodies by name."""

    def __init__(self, bench: Bench, extensions: dict[str, str]) -> None:
        begun = f"#!{PYTHON} -u\n{BEGINNING}"
        files: dict[str, str | bytes] = {
            f"extensions/{name}": body if body.startswith("#!") else begun + body for name, body in extensions.items()
        }
        self._layer = bench.package(files, executable=True)
        self._code = bench.package({"app.py": RUNTIME})
        self.package = bench.package
        self.log: list[str] = []
        self.used: list[Usage] = []
        self.worker = Worker(
            bench.sandboxes,
            SystemClock(),
            None,
            lambda function, stream: self,
            commands=lambda runtime, variables: Command((PYTHON, "/var/task/app.py")),
            observe=self.used.append,
        )

    def many(self, entries: Sequence[tuple[float, bytes]]) -> None:
        for now, data in entries:
            self.lines(now, data)

    def lines(self, now: float, data: bytes) -> None:
        self.log += data.decode().removesuffix("\n").split("\n")

    def message(self, now: float, data: bytes) -> None:
        self.log += data.decode().removesuffix("\n").split("\n")

    @property
    def ran(self) -> list[Ran]:
        return [used for used in self.used if isinstance(used, Ran)]

    def saying(self, text: str) -> list[str]:
        return [line for line in self.log if text in line]

    def function(self, **members: object) -> FunctionVersion:
        package = CodePackage(self._layer, 1)
        layer = LayerRef("arn:aws:lambda:us-east-1:000000000000:layer:l:1", package)
        usual = {"runtime": "python", "code": CodePackage(self._code, 1), "layers": (layer,), "timeout": 20}
        return version(**{**usual, **members})

    async def start(self, **members: object) -> LiveEnvironment:
        return await self.worker.start(self.function(**members))


@asynccontextmanager
async def layered(mode: Isolation = "full", **extensions: str) -> AsyncGenerator[Layered]:
    async with serving(mode) as bench:
        made = Layered(bench, extensions)
        try:
            yield made
        finally:
            await made.worker.close()
