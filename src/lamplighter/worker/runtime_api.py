"""The Runtime API (AWS: spec 3.3) of one environment, on the listener that its sandbox passed out.

Everything that arrives here was written by a guest: it is parsed by a C parser, bounded before it is kept, and answered
with AWS's errors. It knows HTTP and whose turn it is; what an invocation means is the environment's business, which
hears of each accepted call through a `Listener`.

Made for the warm path: an event goes out as one write, and a runtime that sends its response and its next `next` in one
go gets the 202 together with the following event, one write and one wake-up per invocation. When it sends both exactly
as our own clients do, that is seen without the parser.

An answer in streaming mode goes on piece by piece if the invocation was given with a `Stream`; else it is collected
like any other.
"""

import asyncio
import base64
import binascii
import socket
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools
import orjson

from lamplighter.worker import failures, metadata
from lamplighter.worker.extensions_api import PREFIX as EXTENSIONS
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.failures import RESPONSE_LIMIT
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.stream import STREAM_LIMIT, Stream, Upload
from lamplighter.worker.telemetry_api import Refused
from lamplighter.worker.telemetry_subscription import BODY_LIMIT, PATHS, Api

_PREFIX = b"/2018-06-01/runtime/"
_NEXT = _PREFIX + b"invocation/next"
_INVOCATION = _PREFIX + b"invocation/"
_INIT_ERROR = _PREFIX + b"init/error"
_RESTORE_NEXT = _PREFIX + b"restore/next"
_RESTORE_ERROR = _PREFIX + b"restore/error"

# An answer of our own clients where the sandbox has its usual address, from its head's length to the `next` behind it.
_HOST = b" HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n"
_USUAL = b"POST " + _INVOCATION + b"%b/response" + _HOST + b"Content-Type: application/json\r\nContent-Length: "
_THEN = b"GET " + _NEXT + _HOST + b"\r\n"
_LENGTH_DIGITS = 7

_STARTED, _READY, _RUNNING, _RESPONDED, _INIT_FAILED = "Started", "Ready", "Running", "ResponseSent", "InitError"
_RETIRED, _RESTORING = "Terminated", "Restoring"

_CONNECTIONS = 32  # of one environment; more are closed at once
_HEAD_LIMIT = 1_114_112  # an X-Ray cause alone may be 1 MB
_HEAD_READS = 1024  # pieces a head may arrive in: the parser copies what it has for each
_IDLE_CALLS = 256  # calls that move nothing (ping, errors), in a row; then a pause, so a flood costs the guest, not us
_PAUSE = 0.1  # seconds
_BUFFER = 256 << 10  # bytes that the kernel keeps of a connection, and so the most that one turn of the loop copies


class Listener(Protocol):
    """What the environment hears: only calls that were in turn."""

    def asked(self) -> None:
        """The runtime asked for the next event: init or the phase is over."""
        ...

    def answered(self, body: bytes, failed: bool) -> None:
        """It posted a response, or (`failed`) an error, to the current invocation."""
        ...

    def answer_too_large(self) -> None: ...

    def streamed(self, error: tuple[str, bytes] | None) -> None:
        """Its streamed response is complete, or can't be: `error` is the type and the description of why."""
        ...

    def broke_off(self) -> None:
        """It closed its connection in the middle of a streamed response; maybe because it died."""
        ...

    def init_failed(self, body: bytes, error_type: str) -> None: ...

    def subscribe(self, api: Api, identifier: str, body: bytes) -> None:
        """The extension of this identifier wants telemetry. Raises Refused."""
        ...

    def read(self) -> None:
        """All that has come so far is told."""
        ...


def _reply(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _refusal(status: str, error_type: str, message: str) -> bytes:
    return _reply(status, orjson.dumps({"errorMessage": message, "errorType": error_type}))


_RESTORED = _reply("200 OK", b"")
_ACCEPTED = _reply("202 Accepted", b'{"status":"OK"}')
_PONG = _reply("200 OK", b"pong", "text/plain; charset=utf-8")
_SUBSCRIBED = _reply("200 OK", b'"OK"')
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NOT_FOUND = _reply("404 Not Found", b"404 page not found\n", "text/plain; charset=utf-8")
_WRONG_METHOD = _reply("405 Method Not Allowed", b"")
_MALFORMED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_WRONG_ID = _refusal("400 Bad Request", "InvalidRequestID", "Invalid request ID")
_WRONG_MODE = _refusal("400 Bad Request", "InvalidFunctionResponseMode", "Invalid function response mode")


def _too_large(limit: int) -> bytes:
    message = f"Exceeded maximum allowed payload size ({limit} bytes)."
    return _refusal("413 Request Entity Too Large", "RequestEntityTooLarge", message)


_TOO_LARGE = _too_large(RESPONSE_LIMIT)
_STREAM_TOO_LARGE = _too_large(STREAM_LIMIT)


class RuntimeApi:
    """One environment's Runtime API; `open` it on a listening socket, `give` it events, `close` it."""

    def __init__(
        self, listener: Listener, metadata: Metadata | None = None, extensions: ExtensionsApi | None = None
    ) -> None:
        self.listener = listener
        self.extensions = extensions
        self.metadata = metadata
        self.connections: set[_Connection] = set()
        self.waiting: deque[_Connection] = deque()  # those that asked for the next event, oldest first
        self.uploading: _Connection | None = None  # the one whose body is kept: the last to begin; others' are dropped
        self.stream: Stream | None = None  # where the current invocation's answer goes, as long as it may be streamed
        self.phase = _STARTED
        self.on_restore: Callable[[], None] | None = None  # told when a template's runtime waits to be restored
        self.restoring = False  # the runtime is a copy, and has not asked for its first event
        self._request_id = b""
        self.usual = b""  # how an answer of our own clients begins
        self._event: tuple[bytes, bytes] | None = None  # given, but nobody has asked yet
        self._server: asyncio.Server | None = None
        self._on_hang_up: asyncio.Future[None] | None = None

    async def open(self, listener: socket.socket) -> None:
        """Accept on `listener`, which stays its owner's."""
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # of each connection
            listener.setsockopt(socket.SOL_SOCKET, direction, _BUFFER)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=listener, backlog=_CONNECTIONS)

    def close(self) -> None:
        """Stop listening, hang up. Idempotent."""
        self.stream = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.abort()

    def retire(self) -> None:
        """Take nothing from the runtime any more; extensions go on."""
        self.phase = _RETIRED
        self.stream = None
        if self.uploading is not None:
            self.uploading.abort()

    def give(self, request_id: str, head: bytes, payload: bytes, stream: Stream | None = None) -> None:
        """Start an invocation. `head`: the event's whole HTTP head."""
        self.phase = _RUNNING
        self.stream = stream
        self._request_id = encoded = request_id.encode()
        self.usual = _USUAL % encoded
        while self.waiting:
            connection = self.waiting.popleft()
            if connection.deliver(head, payload):
                return
        self._event = (head, payload)

    def hung_up(self) -> asyncio.Future[None]:
        """Done when no connection is left: after the runtime's death, when all that it wrote has been read."""
        if self._on_hang_up is None:
            self._on_hang_up = asyncio.get_running_loop().create_future()
            self._tell_hang_up()
        return self._on_hang_up

    # What connections do.

    def joined(self, connection: "_Connection") -> bool:
        if len(self.connections) >= _CONNECTIONS:
            return False
        self.connections.add(connection)
        return True

    def left(self, connection: "_Connection") -> None:
        self.connections.discard(connection)
        if connection in self.waiting:
            self.waiting.remove(connection)
        if self.extensions is not None:
            self.extensions.left(connection)
        if self.uploading is connection:
            self.uploading = None
            if connection.upload is not None and self.stream is not None:
                self.phase = _RESPONDED
                self.stream = None
                self.listener.broke_off()
                if self.waiting:
                    self._asked_early()
                    self.listener.read()
        self._tell_hang_up()

    def next(self, connection: "_Connection") -> bytes | None:
        """The runtime asks for an event; the reply if it is a refusal, else None and the event comes in time."""
        if self.phase == _READY:  # asks again, on another connection
            self.waiting.append(connection)
        elif self.phase == _RUNNING:
            if self._event is None:
                if self.uploading is None or self.uploading.upload is None:
                    return self._out_of_turn(_READY)
                self.waiting.append(connection)  # it has not waited for our reply: its stream's end is on the way
                return None
            (head, payload), self._event = self._event, None
            connection.deliver(head, payload)
        elif self.phase in (_INIT_FAILED, _RETIRED):
            return self._out_of_turn(_READY)
        else:
            self.phase = _READY
            self.waiting.append(connection)
            self.listener.asked()
        return None

    def refuse_answer(self, request_id: bytes, failed: bool) -> bytes | None:
        """Why an answer to `request_id` can't be taken now; None if it can."""
        if request_id != self._request_id:
            return _WRONG_ID
        if self.phase != _RUNNING or self._event is not None:
            return self._out_of_turn("InvocationErrorResponse" if failed else "InvocationResponse")
        return None

    @property
    def takes_usual(self) -> bool:
        """Whether an answer in the usual form can be taken as a whole: it is its turn, and it goes nowhere else."""
        return self.phase == _RUNNING and self._event is None and self.uploading is None and self.stream is None

    def refuse_init_error(self) -> bytes | None:
        return None if self.phase == _STARTED else self._out_of_turn(_INIT_FAILED)

    def restore_next(self, connection: "_Connection") -> bytes | None:
        """The runtime of a template is ready to be copied; the reply if it is a refusal, else it comes in time."""
        if self.on_restore is None or self.phase != _STARTED:
            return self._out_of_turn("Restoring")
        self.phase = _RESTORING
        self.waiting.append(connection)
        self.on_restore()
        return None

    def restore(self) -> None:
        """Let the runtime of a template go on."""
        while self.waiting:
            self.waiting.popleft().deliver(_RESTORED, b"")

    def refuse_restore_error(self) -> bytes | None:
        return None if self.restoring and self.phase == _STARTED else self._out_of_turn("RestoreError")

    def answer(self, body: bytes | None, failed: bool) -> bytes:
        """Take the answer; `body` None: it was too large."""
        self.phase = _RESPONDED
        if body is None:
            self.listener.answer_too_large()
            return _TOO_LARGE
        self.listener.answered(body, failed)
        return _ACCEPTED

    def streamed(self, error: tuple[str, bytes] | None) -> None:
        """The streamed answer is over, unless it already was."""
        if self.stream is not None:
            self.phase = _RESPONDED
            self.stream = self.uploading = None
            self.listener.streamed(error)
            if self.waiting:
                self._asked_early()

    def init_error(self, body: bytes | None, error_type: str) -> bytes:
        if body is None:
            return _TOO_LARGE
        self.phase = _INIT_FAILED
        self.listener.init_failed(body, error_type)
        return _ACCEPTED

    def _asked_early(self) -> None:
        """What `next` would have done if it had come in its turn."""
        self.phase = _READY
        self.listener.asked()

    def _out_of_turn(self, wanted: str) -> bytes:
        return _refusal(
            "403 Forbidden",
            "InvalidStateTransition",
            f"State transition from {self.phase} to {wanted} failed for runtime. "
            "Error: State transition is not allowed",
        )

    def _tell_hang_up(self) -> None:
        told = self._on_hang_up
        if told is not None and not self.connections and not told.done():
            told.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection of the guest's: parse, route, reply in order."""

    __slots__ = (
        "_api",
        "_between",
        "_body",
        "_expects",
        "_failed",
        "_head_bytes",
        "_head_reads",
        "_headers",
        "_idle_calls",
        "_last",
        "_out",
        "_parser",
        "_refusal",
        "_refused",
        "_size",
        "_too_large",
        "_transport",
        "_url",
        "_waits",
        "upload",
    )

    _transport: asyncio.Transport

    def __init__(self, api: RuntimeApi) -> None:
        self._api = api
        self._parser = httptools.HttpRequestParser(self)
        self._between = True  # the parser is not in the middle of a message
        self._out: list[bytes] = []
        self._waits = False  # for an event
        self._last = False  # the guest wants the connection closed after the reply
        self._refused = False  # an answer in the data at hand
        self._idle_calls = 0
        self._head_reads = 0
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}  # only the API's own, see on_header
        self._body: list[bytes] | None = None
        self._size = 0
        self._too_large = False
        self._failed = False  # an error is posted, not a response
        self._refusal: bytes | None = None
        self._expects = False
        self._head_bytes = 0
        self.upload: Upload | None = None  # of a streamed answer

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if not self._api.joined(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._api.left(self)

    def data_received(self, data: bytes) -> None:
        api = self._api
        if not (self._between and data.startswith(api.usual) and self._take_usual(api, data)):
            self._take(data)
        api.listener.read()

    def _take_usual(self, api: RuntimeApi, data: bytes) -> bool:
        """A whole answer with a `next` behind it; False, and nothing is done, for whatever is not exactly that."""
        if self._waits or self._last or not api.takes_usual:
            return False
        start = len(api.usual)
        end = data.find(b"\r\n\r\n", start, start + _LENGTH_DIGITS + 4)
        digits = data[start:end]
        if end < 0 or not digits.isdigit():
            return False
        begin = end + 4
        after = begin + int(digits)
        if data[after:] != _THEN or after - begin > RESPONSE_LIMIT:
            return False
        self._idle_calls = 0
        self._refused = False
        # The reply stands before the event that the listener may give at once.
        self._out.append(_ACCEPTED)
        api.answer(data[begin:after], False)
        self._waits = True
        api.next(self)
        return True

    def _take(self, data: bytes) -> None:
        if self._waits:  # nothing may follow a `next` until it is answered: we would have to keep it
            self.abort()
            return
        self._refused = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse_malformed()
            return
        self._head_reads += 1
        self._head_bytes += len(data)
        if self._head_reads > _HEAD_READS or self._head_bytes > _HEAD_LIMIT:
            self._refuse_malformed()
            return
        if self._out and not self._waits:
            self._flush()

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # a guest that doesn't read gets no further replies to pile up

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # httptools

    def on_message_begin(self) -> None:
        self._between = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        length = len(name)  # a quick look: most headers of a runtime are of no interest
        if length > 13:
            name = name.lower()
            if name.startswith((b"lambda-runtime-function-", b"lambda-extension-")) or name == b"content-length":
                self._headers[name] = value
        elif length == 13:
            if name.lower() == b"authorization":
                self._headers[b"authorization"] = value
        elif length == 12:
            if name.lower() == b"content-type":
                self._headers[b"content-type"] = value
        elif length == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._head_reads = 0
        method = self._parser.get_method()
        if (method == b"PUT" and self._url in PATHS) or self._url.startswith(EXTENSIONS):
            self._body = []
            if self._expects:
                self._transport.write(_CONTINUE)
            return
        if method != b"POST":
            return
        self._refusal = self._refuse()
        earlier = self._api.uploading
        if self._refusal is None and (earlier is None or earlier.upload is None):
            stream = self._api.stream
            if stream is not None and not self._failed and b"lambda-runtime-function-response-mode" in self._headers:
                self._upload_instead(earlier)
                stream.declare(self._headers.get(b"content-type"))
                self.upload = Upload(stream, self._transport)
            elif int(self._headers.get(b"content-length", b"0")) > RESPONSE_LIMIT:
                self._too_large = True
            else:
                self._upload_instead(earlier)
                self._body = []
        if self._expects:
            self._flush()
            self._transport.write(_CONTINUE)

    def _upload_instead(self, earlier: "_Connection | None") -> None:
        """One that began earlier may have been given up by its sender, which shows only later: what has come of it is
        dropped."""
        if earlier is not None:
            earlier.drop()
        self._api.uploading = self

    def drop(self) -> None:
        self._body = None

    def on_body(self, data: bytes) -> None:
        self._head_reads = self._head_bytes = 0  # of the trailers, from here on
        if self._body is None:
            if self.upload is not None:
                self.upload.take(data)
                if self.upload.too_large:
                    self._api.streamed(failures.STREAM_TOO_LARGE)
            return
        self._size += len(data)
        if self._size > (RESPONSE_LIMIT if self._api.uploading is self else BODY_LIMIT):
            self._too_large = True
            self._body = None
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._waits:  # as in data_received
            self.abort()
            return
        self._last = not self._parser.should_keep_alive()
        self._route()
        if self._last and not self._waits:
            self._flush()
            self._transport.close()
        self._reset()
        self._between = True

    # Routing

    def _refuse(self) -> bytes | None:
        """Why this POST can't be taken, known from its head alone; None if its body is wanted."""
        url = self._url
        if url.startswith(_INVOCATION):
            request_id, _, verb = url[len(_INVOCATION) :].partition(b"/")
            if verb == b"response":
                mode = self._headers.get(b"lambda-runtime-function-response-mode")
                if mode is not None and mode != b"streaming":
                    return _WRONG_MODE
            elif verb == b"error":
                self._failed = True
            else:
                return _WRONG_METHOD if url == _NEXT else _NOT_FOUND
            return self._api.refuse_answer(request_id, self._failed)
        if url == _INIT_ERROR:
            return self._api.refuse_init_error()
        if url == _RESTORE_ERROR:
            return self._api.refuse_restore_error()
        if url == metadata.PATH:
            return metadata.WRONG_METHOD
        return _WRONG_METHOD if url in (_RESTORE_NEXT, b"/ping", *PATHS) else _NOT_FOUND

    def _route(self) -> None:
        method = self._parser.get_method()
        if self._url.startswith(EXTENSIONS) and self._api.extensions is not None:
            self._call_extensions(self._api.extensions, method)
        elif method == b"GET":
            if self._url == _NEXT:
                if self._refused:  # sent along with an answer, by a runtime that couldn't know: no event for it
                    self._flush()
                    self._transport.close()
                    return
                self._waits = True
                refusal = self._api.next(self)
                if refusal is None:
                    self._idle_calls = 0
                    return
                self._waits = False
                self._reply_idle(refusal)
            elif self._url == b"/ping":
                self._reply_idle(_PONG)
            elif self._url == metadata.PATH and self._api.metadata is not None:
                self._reply_idle(self._api.metadata.get(self._headers.get(b"authorization", b"")))
            elif self._url == _RESTORE_NEXT:
                self._waits = True
                refusal = self._api.restore_next(self)
                if refusal is not None:
                    self._waits = False
                    self._reply_idle(refusal)
            else:
                known = self._url in (_INIT_ERROR, *PATHS) or self._url.endswith((b"/response", b"/error"))
                self._reply_idle(_WRONG_METHOD if known else _NOT_FOUND)
        elif method == b"POST":
            refusal = self._refusal
            if self.upload is not None:
                self._end(self.upload)
                return
            if self._api.uploading is self:
                self._api.uploading = None
            elif refusal is None:  # not the only one: another connection was or will be faster
                refusal = self._refuse() or (None if self._too_large else _WRONG_ID)
            if refusal is not None:
                self._refused = True
                self._reply_idle(refusal)
            else:
                self._accept()
        elif method == b"PUT" and self._url in PATHS:
            self._reply_idle(self._subscribe(PATHS[self._url]))
        elif self._url == metadata.PATH:
            self._reply_idle(metadata.WRONG_METHOD)
        else:
            self._reply_idle(_WRONG_METHOD)

    def _call_extensions(self, extensions: ExtensionsApi, method: bytes) -> None:
        body = None if self._too_large else b"".join(self._body or [])
        self._waits = True
        reply = extensions.call(self, method, self._url, self._headers, body)
        if reply is not None:
            self._waits = False
            self._reply_idle(reply)

    def _subscribe(self, api: Api) -> bytes:
        if self._too_large:
            return _too_large(BODY_LIMIT)
        identifier = self._headers.get(b"lambda-extension-identifier", b"").decode("latin-1")
        try:
            self._api.listener.subscribe(api, identifier, b"".join(self._body or []))
        except Refused as refused:
            status = {400: "400 Bad Request", 403: "403 Forbidden"}[refused.status]
            return _refusal(status, refused.error_type, refused.message)
        return _SUBSCRIBED

    def _accept(self) -> None:
        body = None
        if self._body is not None and not self._too_large:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._url in (_INIT_ERROR, _RESTORE_ERROR):
            posted = self._headers.get(b"lambda-runtime-function-error-type", b"").decode("latin-1")
            self._out.append(self._api.init_error(body, posted))
            return
        failed = self._failed
        if not failed and b"lambda-runtime-function-response-mode" in self._headers:
            trailer = self._headers.get(b"lambda-runtime-function-error-type")
            if trailer is not None:  # the stream broke off in the middle, and says why
                failed, body = True, _decoded(self._headers.get(b"lambda-runtime-function-error-body", b""))
        if self._api.stream is not None:
            self._api.stream.declare(self._headers.get(b"content-type"))
        # The reply stands before the event that the listener may give at once.
        at = len(self._out)
        self._out.append(b"")
        self._out[at] = self._api.answer(body, failed)

    def _end(self, upload: Upload) -> None:
        """The end of a streamed answer."""
        upload.resume()
        if upload.too_large:
            self._reply_idle(_STREAM_TOO_LARGE)
            return
        error_type = self._headers.get(b"lambda-runtime-function-error-type")
        self._out.append(_ACCEPTED)
        if error_type is None:
            self._api.streamed(None)
        else:
            described = _decoded(self._headers.get(b"lambda-runtime-function-error-body", b""))
            self._api.streamed((error_type.decode("latin-1"), described))

    # Replies

    def deliver(self, head: bytes, payload: bytes) -> bool:
        """Write an event; False if this connection is going down."""
        self._waits = False
        if self._transport.is_closing():
            return False
        out = self._out
        out.append(head)
        if len(payload) < 65536:
            out.append(payload)
            self._transport.write(b"".join(out))
        else:
            self._transport.write(b"".join(out))
            self._transport.write(payload)  # not copied once more
        out.clear()
        if self._last:
            self._transport.close()
        return True

    def abort(self) -> None:
        self._transport.abort()

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _reply_idle(self, reply: bytes) -> None:
        """A reply to a call that moved nothing."""
        self._out.append(reply)
        self._idle_calls += 1
        if self._idle_calls >= _IDLE_CALLS:
            self._idle_calls = 0
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(_PAUSE, self.resume_writing)

    def _refuse_malformed(self) -> None:
        if self._transport.is_closing():
            return
        self._flush()
        self._transport.write(_MALFORMED)
        self._transport.close()


def _decoded(error_body: bytes) -> bytes:
    """The error that a broken stream announces, base64 in a trailer."""
    try:
        return base64.b64decode(error_body, validate=True)
    except binascii.Error:
        return b"{}"
