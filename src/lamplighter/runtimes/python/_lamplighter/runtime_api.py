"""The Runtime API over one kept-alive connection (AWS: spec 3.3).

An answer and the request for the next event leave in one send; the server may answer both in one go. So a warm
invocation costs two system calls. Nothing here has a time-out: waiting for work is what a runtime does, and the service
ends the process when it is no longer wanted.
"""

from __future__ import annotations

import re
import sys
import time
from _socket import AF_INET, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, socket  # the plain module would import a lot more
from typing import NoReturn

_ROOT = "/2018-06-01/runtime/"
_ALONE_FROM = 128 * 1024  # bytes; a larger answer may be refused for its size, so it is not sent with what follows it
_CAUSE_LIMIT = 1024 * 1024

# What the service says of nearly every invocation, known at a glance; whatever differs is read header by header.
_ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}'
_NAMES = (
    b"Content-Type",
    b"Lambda-Runtime-Aws-Request-Id",
    b"Lambda-Runtime-Deadline-Ms",
    b"Lambda-Runtime-Invoked-Function-Arn",
    b"Lambda-Runtime-Trace-Id",
)
_USUAL = re.compile(
    rb"HTTP/1\.1 200 OK\r\n"
    + b"".join(name + rb": (\S+)\r\n" for name in _NAMES)
    + rb"Content-Length: ([0-9]+)\r\n\r\n"
)
_KEYS = tuple(name.lower() for name in _NAMES)


class Event:
    """One invocation as delivered; header names in lower case."""

    __slots__ = ("_headers", "body")

    def __init__(self, headers: dict[bytes, bytes], body: bytes) -> None:
        self._headers = headers
        self.body = body

    def header(self, name: bytes) -> str:
        """Empty if absent."""
        return self._headers.get(name, b"").decode()


class RuntimeApi:
    """`address`: host:port, from AWS_LAMBDA_RUNTIME_API.

    What the other side refuses ends the runtime, as on AWS: RuntimeError, after a line in the log with the reason."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket(AF_INET, SOCK_STREAM)
        self._socket.connect((host, int(port)))
        self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._received = b""
        self._host = f" HTTP/1.1\r\nHost: {address}\r\n"
        self._next = f"GET {_ROOT}invocation/next{self._host}\r\n".encode()
        self._answer = b""  # the answer of the invocation before, not sent yet
        self._answer_kind = ""

    def next(self) -> Event:
        """Send what was answered, wait for the next event."""
        answer, self._answer = self._answer, b""
        if answer:
            if len(answer) < _ALONE_FROM:
                self._send(answer + self._next)
                self._expect_accepted()
            else:
                self._send(answer)
                self._expect_accepted()
                self._send(self._next)
        else:
            self._send(self._next)
        try:
            event = self._receive_usual()
            if event is not None:
                return event
            status, headers, body = self._receive()
        except ConnectionError:
            self._fail("Failed to get next invocation. No Response from endpoint", "Failed to get next")
        if status != 200:
            self._fail(f"Failed to get next invocation. Http Response code: {status}", "Failed to get next")
        if b"lambda-runtime-aws-request-id" not in headers:
            missing = "Failed to find header lambda-runtime-aws-request-id in response"
            self._fail(missing, "Failed to get next")
        return Event(headers, body)

    def answer(self, event: Event, body: bytes, content_type: str) -> None:
        """Goes out with the following `next`."""
        self._answer_kind = "response"
        self._answer = self._post_invocation(event, "response", body, f"Content-Type: {content_type}\r\n")

    def answer_error(self, event: Event, body: bytes, cause: str) -> None:
        """Goes out with the following `next`. `cause` is for X-Ray, left out if it is beyond 1 MiB."""
        self._answer_kind = "error"
        headers = "Content-Type: application/json\r\n"
        if len(cause.encode()) < _CAUSE_LIMIT:
            headers += f"Lambda-Runtime-Function-XRay-Error-Cause: {cause}\r\n"
        self._answer = self._post_invocation(event, "error", body, headers)

    def wait_for_restore(self) -> bool:
        """False: the other side makes no copies."""
        self._send(f"GET {_ROOT}restore/next{self._host}\r\n".encode())
        return self._receive()[0] == 200

    def hang_up(self) -> None:
        self._socket.close()

    def fail_init(self, body: bytes, kind: str) -> None:
        self._fail_phase("init/error", body, kind)

    def fail_restore(self, body: bytes, kind: str) -> None:
        self._fail_phase("restore/error", body, kind)

    def _fail_phase(self, path: str, body: bytes, kind: str) -> None:
        self._send(self._post(path, body, f"Lambda-Runtime-Function-Error-Type: {kind}\r\n"))
        status, _, answer = self._receive()
        if status != 202:
            raise RuntimeError(
                f"Request to Lambda Runtime '{_ROOT}{path}' endpoint failed. "
                f"Reason: '{status}'. Response body: '{answer!r}'"
            )

    def _post_invocation(self, event: Event, what: str, body: bytes, headers: str) -> bytes:
        delivery = event.header(b"lambda-runtime-invocation-id")
        if delivery:
            headers += f"Lambda-Runtime-Invocation-Id: {delivery}\r\n"
        request_id = event.header(b"lambda-runtime-aws-request-id")
        return self._post(f"invocation/{request_id}/{what}", body, headers)

    def _post(self, path: str, body: bytes, headers: str) -> bytes:
        head = f"POST {_ROOT}{path}{self._host}{headers}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _receive_usual(self) -> Event | None:
        """An event in the service's own words; None: it is not, or not all there yet, and nothing is taken."""
        received = self._received
        if not received:
            received = self._received = self._receive_some()
        head = _USUAL.match(received)
        if head is None:
            return None
        *values, length = head.groups()
        begin = head.end()
        end = begin + int(length)
        if len(received) < end:
            return None
        self._received = received[end:]
        return Event(dict(zip(_KEYS, values)), received[begin:end])  # noqa: B905  # 3.9 has no `strict`

    def _expect_accepted(self) -> None:
        try:
            if not self._received:
                self._received = self._receive_some()
            if self._received.startswith(_ACCEPTED):
                self._received = self._received[len(_ACCEPTED) :]
                return
            status, _, body = self._receive()
        except ConnectionError:
            status, body = 0, b""
        if not 200 <= status < 300:
            text = body.decode(errors="replace")
            self._fail(
                f"Failed to post handler success response. Http response code: {status}. {text}",
                f"Failed to post invocation {self._answer_kind}",
            )

    def _fail(self, line: str, message: str) -> NoReturn:
        sys.stderr.write(f"[ERROR] [{time.time_ns() // 1_000_000}] LAMBDA_RUNTIME {line}\n")
        raise RuntimeError(message) from None

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except ConnectionError:
            pass  # the other side may have answered before it closed; if not, receiving says so

    def _receive(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """One answer: status, headers with names in lower case, body. Raises ConnectionError if there is none."""
        while True:
            lines = self._receive_until(b"\r\n\r\n").split(b"\r\n")
            status = int(lines[0][9:12])
            if status >= 200:
                break
        headers: dict[bytes, bytes] = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return status, headers, self._receive_chunks()
        return status, headers, self._receive_exactly(int(headers.get(b"content-length", b"0")))

    def _receive_until(self, end: bytes) -> bytes:
        received = self._received
        while (index := received.find(end)) < 0:
            received += self._receive_some()
        self._received = received[index + len(end) :]
        return received[:index]

    def _receive_exactly(self, size: int) -> bytes:
        received = self._received
        if len(received) < size:
            whole = bytearray(received)
            while len(whole) < size:
                whole += self._receive_some()
            received = bytes(whole)
        self._received = received[size:]
        return received[:size]

    def _receive_chunks(self) -> bytes:
        body = b""
        while size := int(self._receive_until(b"\r\n").partition(b";")[0], 16):
            body += self._receive_exactly(size)
            self._receive_until(b"\r\n")
        while self._receive_until(b"\r\n"):
            pass  # trailers
        return body

    def _receive_some(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the Runtime API closed the connection")
        return data
