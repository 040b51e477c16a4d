"""A Runtime API for tests: hands out prepared invocations over real sockets and remembers what a runtime sends.

It is the judge between two runtime clients, so it parses HTTP strictly, keeps every byte, and decides nothing.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import BinaryIO, Self

ROOT = "/2018-06-01/runtime"
SPLIT = "split"  # send the answer in two pieces
CHUNKED = "chunked"  # send the body in chunks
TOGETHER = "together"  # hold a 202 until the next invocation is known, then send both at once
CLOSE = "close"  # close the connection instead of answering GET next


@dataclass(frozen=True)
class Invocation:
    """What GET next answers. Headers beside the usual ones go into `headers`; a value of None leaves one out."""

    request_id: str
    event: bytes = b"{}"
    deadline_ms: int = 4_102_444_800_000
    headers: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    status: int = 200

    def answer_headers(self) -> dict[str, str]:
        usual: dict[str, str | None] = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": self.request_id,
            "Lambda-Runtime-Deadline-Ms": str(self.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:corpus",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        }
        return {name: value for name, value in {**usual, **self.headers}.items() if value is not None}


@dataclass(frozen=True)
class Request:
    """One request as it came; header names in lower case, trailers among them."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class RuntimeApi:
    """Serves the invocations in order; `requests` holds all that came in but GET next. Use it with `with`.

    `refuse`: path suffix -> (status, body) to answer instead of 202. `manner`: how bytes go out, see the constants.
    After the last invocation, GET next waits until the server is closed. With several runtimes, each gets one.
    """

    def __init__(
        self,
        invocations: Iterable[Invocation] = (),
        *,
        refuse: Mapping[str, tuple[int, bytes]] | None = None,
        manner: str = "",
        runtimes: int = 1,
    ) -> None:
        self.requests: list[Request] = []
        self.idle = threading.Event()  # every runtime waits for more, or has closed its connection
        self._runtimes = runtimes
        self._idle_ones = 0
        self._served: set[threading.Thread] = set()
        self._queue: SimpleQueue[Invocation] = SimpleQueue()
        for invocation in invocations:
            self._queue.put(invocation)
        self._refuse = refuse or {}
        self._manner = manner
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the runtime was faster
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                self._answer_all(connection, stream)
            except ConnectionError:
                pass  # the runtime's death is a legitimate answer
            self._is_idle()

    def _answer_all(self, connection: socket.socket, stream: BinaryIO) -> None:
        held = b""
        while (request := _read(stream)) is not None:
            if request.method == "GET" and request.path == f"{ROOT}/invocation/next":
                if self._manner == CLOSE:
                    return
                answer = self._next()
                if answer is None:
                    return
            else:
                self.requests.append(request)
                status, body = next(
                    (value for suffix, value in self._refuse.items() if request.path.endswith(suffix)),
                    (202, b'{"status":"OK"}'),
                )
                answer = self._encode(status, {"Content-Type": "application/json"}, body)
                if self._manner == TOGETHER and "/invocation/" in request.path:
                    held = answer
                    continue
            self._send(connection, held + answer)
            held = b""

    def _next(self) -> bytes | None:
        """None once the server is closed."""
        had_one = threading.current_thread() in self._served
        self._served.add(threading.current_thread())
        invocation = None if self._runtimes > 1 and had_one else self._take()
        if invocation is None:
            self._is_idle()
            self._closing.wait()
            return None
        return self._encode(invocation.status, invocation.answer_headers(), invocation.event)

    def _take(self) -> Invocation | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _is_idle(self) -> None:
        self._idle_ones += 1
        if self._idle_ones >= self._runtimes:
            self.idle.set()

    def _encode(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"HTTP/1.1 {status} Whatever"] + [f"{name}: {value}" for name, value in headers.items()]
        if self._manner == CHUNKED and body:
            lines.append("Transfer-Encoding: chunked")
            half = len(body) // 2 or 1
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
            body += b"0\r\n\r\n"
        else:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def _send(self, connection: socket.socket, answer: bytes) -> None:
        if self._manner != SPLIT:
            connection.sendall(answer)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(answer), 31):
            connection.sendall(answer[start : start + 31])


def _read(stream: BinaryIO) -> Request | None:
    line = stream.readline()
    if not line:
        return None
    method, path, version = line.decode().split()
    assert version == "HTTP/1.1", line
    headers: dict[str, str] = {}
    _read_fields(stream, headers)
    if headers.get("transfer-encoding") != "chunked":
        return Request(method, path, headers, stream.read(int(headers.get("content-length", 0))))
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        assert stream.read(2) == b"\r\n"
    _read_fields(stream, headers)
    return Request(method, path, headers, body)


def _read_fields(stream: BinaryIO, headers: dict[str, str]) -> None:
    """Headers, or trailers, which are kept among them."""
    while (line := stream.readline()) != b"\r\n":
        assert line.endswith(b"\r\n"), line
        name, _, value = line.decode().partition(":")
        assert name.lower() not in headers or name.lower() == "trailer", f"{name} came twice"
        headers[name.lower()] = value.strip()
