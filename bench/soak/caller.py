"""One of the soak's callers: a connection that knows what it has asked for, and notices what it has not.

An answer counts when it is whole. Bytes that nobody asked for, a connection that breaks off in an answer, and an answer
that doesn't come are faults of the service, told as such.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any, cast

import httptools
from botocore.eventstream import EventStreamBuffer

from bench.load import HOST

PATIENCE = 90.0  # seconds for an answer: more than any time-out of the functions and the limits of the service


class NoAnswer(Exception):
    """A call ended without one; the text says how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers`: names in lower case. `body`: of a stream, the function's payload; `complete`: what its end said."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: dict[str, Any] | None = None

    @property
    def error_type(self) -> str:
        """Of a refusal, or of a function's error; empty if there is none."""
        if self.complete is not None:
            return str(self.complete.get("ErrorCode", ""))
        if self.status < 400:
            return _member(self.body, "errorType") if "x-amz-function-error" in self.headers else ""
        return self.headers.get("x-amzn-errortype", "").partition(":")[0]


class Caller:
    """Asks one thing after the other. Connects again when its connection was closed between two of them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._line: _Line | None = None
        self.faults: list[str] = []

    async def ask(self, request: bytes) -> Answer:
        """Raises NoAnswer."""
        loop = asyncio.get_running_loop()
        if self._line is None or self._line.lost:
            _, self._line = await loop.create_connection(lambda: _Line(self.faults), HOST, self._port)
        answer = self._line.ask(request)
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            raise NoAnswer(f"no answer within {PATIENCE:.0f} s") from None
        finally:
            if not answer.done() or answer.cancelled():
                self.close()

    async def leave(self, request: bytes, seconds: float) -> None:
        """Ask, and hang up before the answer, or in the middle of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ask(request)
        self.close()

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


class _Line(asyncio.Protocol):
    """A connection."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._closed = False
        self.lost = False

    def ask(self, request: bytes) -> "asyncio.Future[Answer]":
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self._closed = True
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are, in all but name

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        if self._answer is None or self._answer.done():
            self._faults.append(f"bytes that nobody asked for: {data[:100]!r}")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._faults.append(f"no HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoAnswer(f"the connection was lost ({exc or 'closed by the service'})"))

    # httptools

    def on_message_begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is None or self._answer.done():
            self._faults.append("an answer that nobody asked for")
            return
        body, complete = b"".join(self._body), None
        if self._headers.get("content-type") == "application/vnd.amazon.eventstream":
            body, complete = _events(body)
        self._answer.set_result(Answer(self._parser.get_status_code(), self._headers, body, complete))


def _events(data: bytes) -> tuple[bytes, dict[str, Any] | None]:
    """The payload of a stream, and its last event."""
    buffer: Any = EventStreamBuffer()  # botocore has no types
    buffer.add_data(data)
    payload, complete = b"", None
    for event in buffer:
        if event.headers[":event-type"] == "PayloadChunk":
            payload += event.payload
        else:
            complete = json.loads(event.payload)
    return payload, complete


def _member(body: bytes, name: str) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(cast(dict[str, Any], found).get(name, "")) if isinstance(found, dict) else ""
