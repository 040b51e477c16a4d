"""A runtime client that streams: a handler gets the event and an `Out`, and what it writes goes out at once.

Run as a program, with AWS's variables in its environment and nothing but the standard library; REAL_HANDLER names the
handler if `_HANDLER` is only what starts us.
"""

import base64
import importlib
import json
import os
import socket
import sys

ROOT = "/2018-06-01/runtime/invocation"


class Out:
    """One streamed answer. Nothing is sent before the first `write` (or `begin`)."""

    def __init__(self, connection: "Connection", request_id: str) -> None:
        self.connection = connection
        self.begun = False
        self._request_id = request_id

    def begin(self, content_type: str | None = None) -> None:
        self.begun = True
        typed = f"Content-Type: {content_type}\r\n" if content_type else ""
        self.connection.socket.sendall(
            f"POST {ROOT}/{self._request_id}/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{typed}"
            "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n".encode()
        )

    def write(self, data: bytes) -> None:
        if not self.begun:
            self.begin()
        self.connection.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, error_type: str | None = None, error: object = None) -> None:
        trailers = ""
        if error_type is not None:
            body = base64.b64encode(json.dumps(error).encode()).decode()
            trailers = f"Lambda-Runtime-Function-Error-Type: {error_type}\r\n"
            trailers += f"Lambda-Runtime-Function-Error-Body: {body}\r\n"
        self.connection.socket.sendall(f"0\r\n{trailers}\r\n".encode())


class Connection:
    def __init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def call(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, dict[str, str], bytes]:
        head = f"{method} {ROOT}/{path} HTTP/1.1\r\nHost: x\r\n{headers}"
        if method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        self.socket.sendall(f"{head}\r\n".encode() + body)
        return self.reply()

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"])
        while len(self._received) < length:
            self._more()
        body, self._received = self._received[:length], self._received[length:]
        return int(first.split()[1]), headers, body

    def _more(self) -> None:
        data = self.socket.recv(262144)
        if not data:
            sys.exit(0)
        self._received += data


def main() -> None:
    connection = Connection()
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = (os.environ.get("REAL_HANDLER") or os.environ["_HANDLER"]).rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    while True:
        status, headers, event = connection.call("GET", "next")
        if status != 200:
            sys.exit(f"next: {status} {event!r}")
        request_id = headers["lambda-runtime-aws-request-id"]
        out = Out(connection, request_id)
        try:
            value = handler(json.loads(event), out)
        except Exception as error:
            described = {"errorMessage": str(error), "errorType": type(error).__name__}
            if out.begun:
                out.end(type(error).__name__, described)
                connection.reply()
            else:
                typed = f"Lambda-Runtime-Function-Error-Type: {type(error).__name__}\r\n"
                connection.call("POST", f"{request_id}/error", json.dumps(described).encode(), typed)
        else:
            if out.begun:
                if value != "left":  # the handler itself has seen to the end
                    out.end()
                    connection.reply()
            else:
                typed = "Content-Type: application/json\r\n"
                connection.call("POST", f"{request_id}/response", json.dumps(value).encode(), typed)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
