"""The whole way of an invocation in one process: front door, invoker, assignment, worker; functions are plain
subprocesses, and the store is a dictionary."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lamplighter.api.http import Call, Caller, Operation, Request, Response, StreamingOperation
from lamplighter.api.invoke import Accept, InvokeApi
from lamplighter.api.invoke_stream import InvokeStreamOperation
from lamplighter.api.protocol import Wire
from lamplighter.api.server import FrontDoor
from lamplighter.invoke.assignment import InProcessAssignment
from lamplighter.invoke.invoker import Invoker
from lamplighter.invoke.limits import Limits
from lamplighter.invoke.pace import Pace
from lamplighter.model.clock import SystemClock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.parcels import Carrier
from lamplighter.worker.worker import Worker
from support.environments import version
from support.raw_http import Client
from support.sandboxes import LEAN, PlainSandboxes

ACCOUNT, REGION = "000000000000", "us-east-1"
ROOT = Caller("AKIDEXAMPLE", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")


class DictionaryStore:
    """Functions, Records (there are none) and Changes, as far as invocations need them."""

    def __init__(self) -> None:
        self.versions: dict[tuple[FunctionId, str], FunctionVersion] = {}
        self.reads = 0
        self._listeners: list[Callable[[FunctionId], None]] = []

    def put(self, function: FunctionVersion) -> None:
        self.versions[function.id, function.version] = function
        self.changed(function.id)

    def remove(self, function: FunctionVersion) -> None:
        del self.versions[function.id, function.version]
        self.changed(function.id)

    def changed(self, id: FunctionId) -> None:
        for listener in self._listeners:
            listener(id)

    async def serving(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.versions.get((id, version))

    def listen(self, callback: Callable[[FunctionId], None]) -> None:
        self._listeners.append(callback)

    def view(self, account: str, region: str) -> "DictionaryStore":
        return self

    def get(self, kind: str, *key: str) -> Mapping[str, Any] | None:
        return None


class House:
    """A front door and everything behind it; `port` is where it listens."""

    def __init__(
        self,
        task: Path,
        *,
        limit: int = 1000,
        command: Sequence[str] = LEAN,
        verify: Callable[[Request], Caller] = lambda _: ROOT,
        accept: Accept | None = None,
        raw: Mapping[str, Callable[[Request], Awaitable[Response]]] | None = None,
        pace: Callable[[], Pace] | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        clock, wire = SystemClock(), Wire()
        ids = Ids(clock)
        self.store: Any = DictionaryStore()
        self.sandboxes = PlainSandboxes(task, command)
        self.limits = Limits(limit)
        self.worker = Worker(self.sandboxes, clock)
        self.assignment = InProcessAssignment(self.worker, clock, self.limits)
        self.invoker = Invoker(self.store, self.store, self.store, self.assignment)
        self.calls: list[tuple[Call, dict[str, Any]]] = []
        operations: dict[str, Operation | StreamingOperation] = {
            **{name: self._operation(name) for name in wire.operations},
            **InvokeStreamOperation(self.invoker, ids, pace or partial(Pace, clock)).operations(),
        }
        invoke = InvokeApi(wire, self.invoker, ids, REGION, accept, carrier)
        self.door = FrontDoor(wire, verify, operations, invoke, raw or {}, clock, ids, REGION, carrier=carrier)
        self.port = 0

    def _operation(self, name: str) -> Operation:
        async def note(call: Call, values: dict[str, Any]) -> dict[str, Any]:
            if values.get("FunctionName") == "bug":
                raise ZeroDivisionError("a bug")
            self.calls.append((call, values))
            return {"FunctionName": values.get("FunctionName")}

        return note

    def deploy(self, source: str, name: str = "f", handler: str = "handler", **members: object) -> FunctionVersion:
        module = f"{name}_{len(self.store.versions)}"
        (self.sandboxes.task / f"{module}.py").write_text(source)
        function = version(name, handler=f"{module}.{handler}", **members)
        self.store.put(function)
        return function

    async def __aenter__(self) -> "House":
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        await self.door.listen(listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.door.drain(0)
        await self.invoker.close()
        await self.assignment.close()
        await self.worker.close()
        assert not self.limits.running
        assert all(sandbox.ended for sandbox in self.sandboxes.started)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        client = await Client.connect(self.port)
        try:
            yield client
        finally:
            await client.close()


def invoke_path(name: str = "f", query: str = "") -> str:
    return f"/2015-03-31/functions/{name}/invocations{'?' + query if query else ''}"


def message(body: bytes) -> str:
    """Of a refusal, in either spelling."""
    members = json.loads(body)
    return members.get("Message") or members["message"]
