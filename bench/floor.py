"""The floor: the least that a service of this kind must do, to compare ours with.

One asyncio process with a C HTTP parser relays between callers and runtimes, both of whom speak HTTP on kept-alive
connections. No isolation, no rules, no signatures, no log, no clock; runtimes are plain processes started beforehand,
as many as there are callers. The most recently used is taken first, and an answer's receipt waits for the next event
when the runtime has already asked for it, since a lean service does the same.

What it relays is AWS's wire: any caller of Invoke and any runtime client work, AWS's own awslambdaric too.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import httptools
import uvloop

from bench.load import HOST
from bench.program import Program

GUEST = Path(__file__).parent / "guest"
CLIENTS = {"lean": ("-S", str(GUEST / "runtime.py")), "awslambdaric": ("-m", "awslambdaric")}
READY = r"The floor is ready at http://127\.0\.0\.1:(\d+)"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
EVENT = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %d\r\n"
    b"Lambda-Runtime-Deadline-Ms: 4102444800000\r\nLambda-Runtime-Invoked-Function-Arn: arn:floor\r\n"
    b"Content-Length: %d\r\n\r\n"
)


class Floor:
    """A running floor, as callers see it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def requests(self, names: Sequence[str], bodies: Iterable[bytes]) -> tuple[bytes, ...]:
        """One Invoke for each body, of the functions in turn; unsigned, since nobody looks."""
        host = f"HTTP/1.1\r\nHost: {HOST}:{self.port}"
        head = f"POST /2015-03-31/functions/%s/invocations {host}\r\nContent-Length: %d\r\n\r\n"
        return tuple(
            (head % (names[index % len(names)], len(body))).encode() + body for index, body in enumerate(bodies)
        )


@contextmanager
def floor(
    names: Sequence[str], runtimes: int, client: str = "lean", handler: str = "handlers.echo"
) -> Generator[Floor]:
    """A floor in a process of its own, with so many runtimes for each function, all waiting for work."""
    command = [sys.executable, "-m", "bench.floor", "--runtimes", str(runtimes), "--client", client]
    command += ["--handler", handler, *names]
    with Program(command, READY, directory=Path(__file__).parents[1]) as program:
        assert program.match
        yield Floor(int(program.match[1]))


class Function:
    """Its idle runtimes, and calls that wait for one."""

    def __init__(self) -> None:
        self.idle: list[Runtime] = []
        self.waiting: deque[tuple[Caller, bytes]] = deque()

    def call(self, caller: "Caller", body: bytes) -> None:
        if self.idle:
            self.idle.pop().give(caller, body)
        else:
            self.waiting.append((caller, body))

    def free(self, runtime: "Runtime") -> None:
        if self.waiting:
            runtime.give(*self.waiting.popleft())
        else:
            self.idle.append(runtime)


class Connection(asyncio.Protocol, ABC):
    """Collects one message after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are, in all but name

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = self._body
        self._body = []
        self.serve(self._url, body[0] if len(body) == 1 else b"".join(body))

    @abstractmethod
    def serve(self, url: bytes, body: bytes) -> None:
        """One whole message has come."""


class Caller(Connection):
    """A connection to the front door."""

    def __init__(self, functions: dict[bytes, Function]) -> None:
        super().__init__()
        self._functions = functions

    def serve(self, url: bytes, body: bytes) -> None:
        """/2015-03-31/functions/NAME/invocations"""
        function = self._functions.get(url[22:-12])
        if function:
            function.call(self, body)
        else:
            self.transport.write(UNKNOWN)

    def answer(self, body: bytes) -> None:
        self.transport.writelines((ANSWER % len(body), body))


class Runtime(Connection):
    """A runtime's connection: GET …/next waits for an event, POST …/response answers it."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._function = function
        self._receipt = b""
        self._invocations = 0
        self._asks = False
        self._caller: Caller | None = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._asks:
            self._asks = False
            self._function.free(self)
        elif self._receipt:
            self.transport.write(self._receipt)
            self._receipt = b""

    def serve(self, url: bytes, body: bytes) -> None:
        if url.endswith(b"/next"):
            self._asks = True
        elif self._caller:
            self._receipt = ACCEPTED
            self._caller.answer(body)
            self._caller = None

    def give(self, caller: Caller, body: bytes) -> None:
        self._caller = caller
        self._invocations += 1
        self.transport.writelines((self._receipt + EVENT % (self._invocations, len(body)), body))
        self._receipt = b""


def start_runtime(port: int, client: str, handler: str) -> subprocess.Popen[bytes]:
    variables = {**os.environ, "AWS_LAMBDA_RUNTIME_API": f"{HOST}:{port}", "LAMBDA_TASK_ROOT": str(GUEST)}
    return subprocess.Popen([sys.executable, *CLIENTS[client], handler], cwd=GUEST, env=variables)


async def serve(names: Sequence[str], runtimes: int, client: str, handler: str) -> None:
    """Until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    functions = {name.encode(): Function() for name in names}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for function in functions.values():
            api = await loop.create_server(lambda function=function: Runtime(function), HOST, 0)
            port: int = api.sockets[0].getsockname()[1]
            processes += [start_runtime(port, client, handler) for _ in range(runtimes)]
        front = await loop.create_server(lambda: Caller(functions), HOST, 0)
        # Not an event, since every call would pay for it.
        while sum(len(function.idle) for function in functions.values()) < len(processes) and not stop.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # whoever started us has a deadline
        if not stop.is_set():
            print(f"The floor is ready at http://{HOST}:{front.sockets[0].getsockname()[1]}", flush=True)
        await stop.wait()
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description="The bare relay, by itself.")
    parser.add_argument("names", nargs="+", help="functions")
    parser.add_argument("--runtimes", type=int, default=1, help="for each function")
    parser.add_argument("--client", choices=sorted(CLIENTS), default="lean")
    parser.add_argument("--handler", default="handlers.echo")
    options = parser.parse_args()
    uvloop.run(serve(options.names, options.runtimes, options.client, options.handler))


if __name__ == "__main__":
    main()
