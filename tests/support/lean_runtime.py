"""The smallest runtime that keeps to the Runtime API: one connection, a response and the next `next` in one go.

Run as a program, with AWS's variables in its environment; functions are found in the current directory. Tests and
benchmarks use it where the runtime itself is not the subject.
"""

import importlib
import json
import os
import socket
import sys
import traceback

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


class Connection:
    def __init__(self) -> None:
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def post(self, path: str, body: bytes, headers: bytes = b"", then: bytes = b"") -> None:
        head = f"POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
        self.socket.sendall(head + headers + b"\r\n" + body + then)

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"])
        self.buffer = rest
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return int(first.split()[1]), headers, body

    def _more(self) -> None:
        data = self.socket.recv(262144)
        if not data:
            sys.exit(0)
        self.buffer += data


def main() -> None:
    connection = Connection()
    sys.path.insert(0, os.getcwd())
    try:
        module, _, name = os.environ["_HANDLER"].rpartition(".")
        handler = getattr(importlib.import_module(module), name)
    except Exception as error:
        connection.post("init/error", _described(error), b"Lambda-Runtime-Function-Error-Type: Runtime.InitBroken\r\n")
        connection.reply()
        sys.exit(1)
    connection.socket.sendall(NEXT)
    while True:
        status, headers, event = connection.reply()
        if status != 200:
            sys.exit(f"next: {status} {event!r}")
        request_id = headers["lambda-runtime-aws-request-id"]
        try:
            answer, kind = json.dumps(handler(json.loads(event), headers)).encode(), "response"
        except Exception as error:
            answer, kind = _described(error), "error"
        sys.stdout.flush()
        connection.post(f"invocation/{request_id}/{kind}", answer, then=NEXT)
        connection.reply()


def _described(error: Exception) -> bytes:
    where = traceback.format_exception_only(error)
    return json.dumps({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": where}).encode()


if __name__ == "__main__":
    main()
