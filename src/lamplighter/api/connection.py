"""One HTTP/1.1 connection of the front door: bytes in, whole requests out; responses in, bytes out, in order.

Knows limits, deadlines and back-pressure, and no operation. Parsing is C's (httptools, on llhttp). One request is
answered at a time; what a client pipelines behind it waits, the reading stops when too much does. A response is one
write, or comes piece by piece and no faster than the client takes it. Deadlines are counted in ticks that the server
gives once a second, so that a request sets no timer.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from lamplighter.api.http import Request, Response, Streamed
from lamplighter.api.usual import NAMES, Usual
from lamplighter.bodies.patience import BODY_RATE, BODY_TICKS, WRITE_TICKS
from lamplighter.model.parcels import Carrier, CarrierLost, Parcel, TooSlow, worth_carrying
from lamplighter.model.pieces import TOGETHER

HEAD_LIMIT = 32_768  # bytes of the request line and the headers
IDLE_TICKS = 350  # seconds that a connection may idle between requests
HEAD_TICKS = 30  # for a head, from its first byte
LINGER_TICKS = 10  # for one that was refused to stop sending
PIPELINED = 8  # requests that may wait; then reading stops until they are answered
_SMALL = 65_536  # a body up to this size is copied behind its head, a larger one is written by itself

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED = "Transfer-Encoding: chunked\r\n"

_NAMES = {name.encode(): name.lower() for name in NAMES}  # as most clients spell them; others are decoded
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Door(Protocol):
    """What a connection asks of the server behind it."""

    @property
    def date(self) -> str:
        """Now, as headers have it."""
        ...

    usual: Usual | None  # reads what needs no parser

    @property
    def room(self) -> int:
        """Bytes that large bodies may still take, of all connections together."""
        ...

    @room.setter
    def room(self, left: int) -> None: ...

    def joined(self, connection: "Connection") -> bool:
        """False: there are too many."""
        ...

    def left(self, connection: "Connection") -> None: ...

    def body_limit(self, method: str, path: str) -> int:
        """Bytes of the largest body of such a request."""
        ...

    def carrier(self, method: str, path: str, headers: Mapping[str, str]) -> Carrier | None:
        """Who may read a large body of such a request for the loop, if anybody."""
        ...

    def refuse(self, connection: "Connection", status: int, method: str, path: str) -> None:
        """Respond to a request that can't be read to its end: 400, 408, 413, 431 or 503."""
        ...

    def serve(self, connection: "Connection", request: Request) -> None:
        """Respond, once, whenever."""
        ...


class State(IntEnum):
    IDLE = 0  # between requests
    HEAD = 1
    BODY = 2
    CARRIED = 3  # a large body, which another process reads
    LINGERING = 4  # refused and answered; what still comes is dropped
    CLOSED = 5


class Connection(asyncio.Protocol):
    """`respond` or `stream` must be called once for each request given to the door."""

    __slots__ = (
        "_body",
        "_carried",
        "_door",
        "_fed",
        "_half_closed",
        "_headers",
        "_held",
        "_in_hand",
        "_in_loop",
        "_keep_alive",
        "_left_unread",
        "_length",
        "_limit",
        "_parser",
        "_queue",
        "_size",
        "_state",
        "_ticks",
        "_transport",
        "_url",
        "_wait",
        "_writable",
    )

    _transport: asyncio.Transport

    def __init__(self, door: Door) -> None:
        self._door = door
        self._parser = httptools.HttpRequestParser(self)
        self._state = State.IDLE
        self._ticks = 0
        self._fed = 0  # bytes of the head so far
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._length = 0  # of the body, as the head says
        self._limit = 0
        self._carried: asyncio.Future[Parcel] | None = None
        self._held = 0  # of the door's room
        self._in_hand: Request | int | None = None  # being answered: a request, or the status of a refusal
        self._queue: deque[tuple[Request | int, bool]] = deque()  # behind it, with whether the connection is kept
        self._in_loop = False
        self._keep_alive = True  # after the one in hand
        self._half_closed = False  # by the client, which still waits, or is gone: only writing would tell
        self._left_unread = False  # a refusal was queued: nothing after it is read
        self._writable = True
        self._wait: asyncio.Future[None] | None = None  # of a stream: until the client has taken what was written

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if not self._door.joined(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        # An invocation in hand goes on (AWS: spec 2.1); its response finds nobody.
        self._state = State.CLOSED
        self._queue.clear()
        self._go_on()
        if self._carried is not None:
            self._carried.cancel()
        self._give_room()
        self._door.left(self)

    def data_received(self, data: bytes) -> None:
        if self._left_unread:
            return
        if self._state is State.IDLE:
            usual = self._door.usual
            if usual is not None and self._in_hand is None and self._writable:
                request = usual.read(data)
                if request is not None:
                    self._ticks = 0
                    self._take(request, keep_alive=True)
                    return
            self._state = State.HEAD
            self._ticks = 0
        if self._state is State.HEAD:
            self._fed += len(data)
        rest = data
        while rest:
            try:
                self._parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]  # to what we don't speak: the offer is passed over
            except httptools.HttpParserError:
                self._refuse(400)
                return
        if self._state is State.HEAD and self._fed > HEAD_LIMIT:
            self._refuse(431)
        elif self._state is State.BODY and worth_carrying(self._size, self._length - self._size):
            self._let_carry()

    def eof_received(self) -> bool:
        self._half_closed = self._in_hand is not None
        return self._half_closed

    def pause_writing(self) -> None:
        self._writable = False
        self._ticks = 0

    def resume_writing(self) -> None:
        self._writable = True
        self._go_on()
        self._next()

    def _go_on(self) -> None:
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    # httptools

    def on_message_begin(self) -> None:
        self._state = State.HEAD
        self._url = b""
        self._headers = {}
        self._body = []
        self._size = self._length = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is not State.HEAD:
            return  # a trailer
        headers = self._headers
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        if key in headers:
            text = f"{headers[key]},{text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        self._state = State.BODY
        headers = self._headers
        fed, self._fed = self._fed, 0
        if fed > HEAD_LIMIT and sum(len(name) + len(value) for name, value in headers.items()) > HEAD_LIMIT:
            self._refuse(431)
            return
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return
        length = int(headers.get("content-length", "0"))
        if 0 < length <= _SMALL:
            self._limit = length  # no operation takes less
        else:
            method, path, _ = self._target()
            self._limit = self._door.body_limit(method, path)
        self._length = length
        if length > self._limit:
            self._refuse(413)
        elif not self._take_room(self._limit if "transfer-encoding" in headers else length):
            self._refuse(503)
        elif headers.get("expect", "").lower() == "100-continue" and self._in_hand is None:
            self._transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        if self._left_unread:
            return
        self._size += len(data)
        if self._size > self._limit:
            self._refuse(413)
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._left_unread:
            return
        self._give_room()
        method, path, query = self._target()
        if not path.startswith("/"):
            self._refuse(400)
            return
        body = self._body
        content, pieces = b"", None
        if len(body) == 1:
            content = body[0]
        elif self._size > TOGETHER:  # copied at once they would keep everybody else waiting
            pieces = body
        elif body:
            content = b"".join(body)
        self._body = []
        self._state = State.IDLE
        self._ticks = 0
        request = Request(method, path, query, self._headers, content, None, pieces)
        self._enqueue(request, self._parser.should_keep_alive())

    def _let_carry(self) -> None:
        """Another process reads the rest of the body, and keeps all of it."""
        method, path, _ = self._target()
        carrier = None if self._left_unread else self._door.carrier(method, path, self._headers)
        if carrier is not None and carrier.stands():
            self._state = State.CARRIED
            self._transport.pause_reading()
            first, self._body = b"".join(self._body), []
            self._carried = carrier.take(self._transport, first, self._length - self._size, True)
            self._carried.add_done_callback(self._on_carried)

    def _on_carried(self, carried: asyncio.Future[Parcel]) -> None:
        self._carried = None
        if carried.cancelled():
            return
        error = carried.exception()
        if self._state is State.CLOSED:
            return
        if isinstance(error, CarrierLost):
            self._transport.abort()
            return
        self._transport.resume_reading()
        if error is not None:
            self._refuse(408)
            return
        method, path, query = self._target()
        request = Request(method, path, query, self._headers, b"", parcel=carried.result())
        keep_alive = self._parser.should_keep_alive()
        self._parser = httptools.HttpRequestParser(self)  # the other one waits for the body
        self._give_room()
        self._state = State.IDLE
        self._ticks = 0
        self._enqueue(request, keep_alive)

    def _take_room(self, size: int) -> bool:
        if size > _SMALL:
            if size > self._door.room:
                return False
            self._door.room -= size
            self._held = size
        return True

    def _give_room(self) -> None:
        self._door.room += self._held
        self._held = 0

    # Requests in, one at a time

    def _target(self) -> tuple[str, str, str]:
        """Method, path and query of the request line; also of one that names the host, as for a proxy."""
        url = self._url.decode("latin-1")
        if not url.startswith("/") and "://" in url:
            url = "/" + url.partition("://")[2].partition("/")[2]
        path, _, query = url.partition("?")
        return self._parser.get_method().decode("latin-1"), path, query

    def _enqueue(self, item: Request | int, keep_alive: bool) -> None:
        if self._in_hand is None and self._writable:
            self._take(item, keep_alive)
        else:
            self._queue.append((item, keep_alive))
            if len(self._queue) == PIPELINED:
                self._transport.pause_reading()

    def _take(self, item: Request | int, keep_alive: bool) -> None:
        self._in_hand = item
        self._keep_alive = keep_alive
        if isinstance(item, int):
            method, path, _ = self._target() if self._url else ("", "", "")
            self._door.refuse(self, item, method, path)
        else:
            self._door.serve(self, item)

    def _next(self) -> None:
        if self._in_loop:
            return  # a request that was answered on the spot: the loop below goes on with the next
        self._in_loop = True
        while self._in_hand is None and self._queue and self._writable and self._state is not State.CLOSED:
            if len(self._queue) == PIPELINED:
                self._transport.resume_reading()
            self._take(*self._queue.popleft())
        self._in_loop = False

    def _refuse(self, status: int) -> None:
        """Read no further; say so when it is this request's turn."""
        self._left_unread = True
        self._give_room()
        self._body = []
        self._ticks = 0
        self._enqueue(status, keep_alive=False)

    # Responses out

    def respond(self, response: Response, request_id: str) -> None:
        item = self._in_hand
        if self._state is State.CLOSED:
            self._in_hand = None
            return
        body, pieces = response.body, response.pieces
        size = len(body) if pieces is None else sum(map(len, pieces))
        head = self._head(response, request_id, f"Content-Length: {size}\r\n" if response.status != 204 else "")
        if isinstance(item, Request) and item.method == "HEAD":
            self._transport.write(head)
        elif size <= _SMALL:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body) if pieces is None else (head, *pieces))
        self._answered()

    async def hand_over(self, response: Response, parcel: Parcel, request_id: str) -> None:
        """A response whose body another process has, and writes. Returns when the client has taken it, or has gone."""
        if not self._lost():
            head = self._head(response, request_id, f"Content-Length: {len(parcel)}\r\n")
            try:
                if self._transport.get_write_buffer_size():
                    self._transport.writelines((head, await parcel.fetch()))
                else:
                    await parcel.put(self._transport, head, True)
            except (CarrierLost, TooSlow):
                self._transport.abort()
        if self._lost():
            self._in_hand = None
        else:
            self._answered()

    async def stream(self, response: Streamed, request_id: str) -> None:
        """Piece by piece, each when it is there and the client has taken those before. Returns at the end, or when
        the client has gone."""
        chunked = self._parser.get_http_version() != "1.0"
        if not chunked:
            self._keep_alive = False  # its end is the body's
        piece = self._head(response, request_id, _CHUNKED if chunked else "")
        while not self._lost():
            self._transport.write(piece)
            if not self._writable and not self._lost():
                self._wait = asyncio.get_running_loop().create_future()
                await self._wait
            piece = await response.body.read()
            if not piece:
                break
            if chunked:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
        if self._lost():
            self._in_hand = None
        else:
            self._transport.write(b"0\r\n\r\n" if chunked else b"")
            self._answered()

    def _lost(self) -> bool:
        return self._state is State.CLOSED

    def _head(self, response: Response | Streamed, request_id: str, framing: str) -> bytes:
        """`framing`: the header that says where the body ends."""
        item = self._in_hand
        head = f"{_STATUS_LINES[response.status]}Date: {self._door.date}\r\nx-amzn-RequestId: {request_id}\r\n"
        typed = False
        for name, value in response.headers:
            typed = typed or name.lower() == "content-type"
            head += f"{name}: {_one_line(value)}\r\n"
        if not typed:
            head += "Content-Type: application/json\r\n"
        head += framing
        if not self._keep_alive:
            head += "Connection: close\r\n"
        elif isinstance(item, Request) and "connection" in item.headers:
            head += "Connection: keep-alive\r\n"  # clients that speak HTTP/1.0 must be told
        return head.encode("latin-1", "replace") + b"\r\n"

    def _answered(self) -> None:
        self._in_hand = None
        self._ticks = 0
        if self._keep_alive and (self._queue or not self._half_closed):
            if self._queue:
                self._next()
        elif self._left_unread:
            # Closing now, with bytes unread, would reset the connection and lose the response on its way.
            self._state = State.LINGERING
        else:
            self._transport.close()

    # Time

    def tick(self) -> None:
        """Once a second. While an invocation runs there is no deadline here: its own is the function's."""
        self._ticks += 1
        ticks = self._ticks
        if not self._writable:
            late = ticks > WRITE_TICKS
        elif self._state is State.LINGERING:
            late = ticks > LINGER_TICKS
        elif self._in_hand is not None or self._left_unread or self._state is State.CARRIED:
            return
        elif self._state is State.IDLE:
            late = ticks > IDLE_TICKS
        elif self._state is State.HEAD:
            late = ticks > HEAD_TICKS
        else:
            late = ticks > BODY_TICKS and self._size < ticks * BODY_RATE
        if not late:
            return
        if self._writable and self._state in (State.HEAD, State.BODY):
            self._refuse(408)
        else:
            self._transport.abort()

    def close_if_idle(self) -> bool:
        """Whether nothing is in hand; if so, it is closed. A request that is still arriving comes too late."""
        if self._in_hand is not None or self._queue:
            self._keep_alive = False
            return False
        if self._state is not State.CLOSED:
            self._transport.close()
        return True

    def abort(self) -> None:
        if self._state is not State.CLOSED:
            self._transport.abort()


def _one_line(value: str) -> str:
    """A header's value; whatever is in it, it must not begin another header."""
    return value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
