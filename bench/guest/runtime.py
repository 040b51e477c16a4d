"""The least that a Python runtime must do: take an event, parse it, call the handler, send the answer as JSON.

One connection, and the answer leaves together with the request for the next event: two system calls per invocation.
Run as a program with the handler's name; `AWS_LAMBDA_RUNTIME_API` says where. Ends when the other side is gone.
"""

import importlib
import json
import os
import socket
import sys

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: floor\r\n\r\n"
ANSWER = b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: floor\r\nContent-Length: %d\r\n\r\n"
ID = b"Lambda-Runtime-Aws-Request-Id: "
LENGTH = b"Content-Length: "


def field(head: bytes, name: bytes) -> bytes:
    start = head.index(name) + len(name)
    return head[start : head.index(b"\r\n", start)]


def main() -> None:
    module, _, name = sys.argv[1].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(NEXT)
        received = bytearray()
        while data := connection.recv(1 << 18):
            received += data
            while (end := received.find(b"\r\n\r\n")) >= 0:
                head = bytes(received[: end + 2])
                whole = end + 4 + int(field(head, LENGTH))
                if len(received) < whole:
                    break
                body = received[end + 4 : whole]
                del received[:whole]
                if head.startswith(b"HTTP/1.1 200"):
                    answer = json.dumps(handler(json.loads(body), None)).encode()
                    connection.sendall(ANSWER % (field(head, ID), len(answer)) + answer + NEXT)


if __name__ == "__main__":
    main()
