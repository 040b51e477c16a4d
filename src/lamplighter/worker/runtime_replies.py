"""What a runtime is told by the Runtime API, as bytes: the replies that are always the same (AWS: spec 3.3)."""

import orjson

from lamplighter.worker.failures import RESPONSE_LIMIT
from lamplighter.worker.stream import STREAM_LIMIT


def reply(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def refusal(status: str, error_type: str, message: str) -> bytes:
    return reply(status, orjson.dumps({"errorMessage": message, "errorType": error_type}))


RESTORED = reply("200 OK", b"")
ACCEPTED = reply("202 Accepted", b'{"status":"OK"}')
PONG = reply("200 OK", b"pong", "text/plain; charset=utf-8")
SUBSCRIBED = reply("200 OK", b'"OK"')
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_FOUND = reply("404 Not Found", b"404 page not found\n", "text/plain; charset=utf-8")
WRONG_METHOD = reply("405 Method Not Allowed", b"")
MALFORMED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
WRONG_ID = refusal("400 Bad Request", "InvalidRequestID", "Invalid request ID")
WRONG_MODE = refusal("400 Bad Request", "InvalidFunctionResponseMode", "Invalid function response mode")


def too_large(limit: int) -> bytes:
    message = f"Exceeded maximum allowed payload size ({limit} bytes)."
    return refusal("413 Request Entity Too Large", "RequestEntityTooLarge", message)


TOO_LARGE = too_large(RESPONSE_LIMIT)
STREAM_TOO_LARGE = too_large(STREAM_LIMIT)
