"""A connection of a guest's to its Runtime API: what each request moves, and replies in order (AWS: spec 3.3).

Made for the warm path: an event goes out as one write, and a runtime that sends its response and its next `next` in one
go gets the 202 together with the following event, one write and one wake-up per invocation. When it sends both exactly
as our own clients do, that is seen without the parser.
"""

import asyncio
import base64
import binascii
from typing import cast

import httptools

from lamplighter.model.parcels import Carrier, Parcel, worth_carrying
from lamplighter.model.pieces import TOGETHER
from lamplighter.worker import metadata
from lamplighter.worker import runtime_replies as replies
from lamplighter.worker.extensions_api import PREFIX as EXTENSIONS
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.failures import RESPONSE_LIMIT
from lamplighter.worker.runtime_paths import INIT_ERROR, INVOCATION, NEXT, RESTORE_ERROR, RESTORE_NEXT
from lamplighter.worker.runtime_request import Requests
from lamplighter.worker.runtime_turns import Turns
from lamplighter.worker.stream import Upload
from lamplighter.worker.telemetry_api import Refused
from lamplighter.worker.telemetry_subscription import BODY_LIMIT, PATHS, Api

_LENGTH_DIGITS = 7
_CAUSE = b"lambda-runtime-function-xray-error-cause"
_HEAD_LIMIT = 1_114_112  # an X-Ray cause alone may be 1 MB
_HEAD_READS = 1024  # pieces a head may arrive in: the parser copies what it has for each
_IDLE_CALLS = 256  # calls that move nothing (ping, errors), in a row; then a pause, so a flood costs the guest, not us
_PAUSE = 0.1  # seconds


class Connection(Requests, asyncio.Protocol):
    """Parse, route, reply in order."""

    __slots__ = ("_idle_calls", "_refused")

    def __init__(self, api: Turns) -> None:
        super().__init__(api)
        self._refused = False  # an answer in the data at hand
        self._idle_calls = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        if not self._api.joined(self):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._carried is not None:
            self._carried.cancel()
        self._api.left(self)

    def data_received(self, data: bytes) -> None:
        api = self._api
        if not (self._between and not self._waits and not self._last and self._take_usual(api, data)):
            self._take(data)
        api.listener.read()

    def _take_usual(self, api: Turns, data: bytes) -> bool:
        """A request in the runtime's usual form; False, and nothing is done, for whatever is not exactly that."""
        form = api.form
        if data == form.asks:
            self._ask()
            if not self._waits:
                self._flush()
            return True
        start = len(api.usual)
        if not data.startswith(api.usual) or not start:
            api.learn(data)
            return False
        end = data.find(form.after, start, start + _LENGTH_DIGITS + len(form.after))
        digits = data[start:end]
        if end < 0 or not digits.isdigit():
            return False
        begin = end + len(form.after)
        after = begin + int(digits)
        whole = len(data) == after + len(form.then) and data.endswith(form.then)
        if not whole or after - begin > RESPONSE_LIMIT or not api.takes_usual:
            return False
        self._idle_calls = 0
        self._refused = False
        # The reply stands before the event that the listener may give at once.
        self._out.append(replies.ACCEPTED)
        api.answer(data[begin:after], False)
        if form.then:
            self._waits = True
            api.next(self)
        else:
            self._flush()
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
        if self._body is not None and self._api.carrier is not None:
            self._let_carry(self._api.carrier)

    def _let_carry(self, carrier: Carrier) -> None:
        """The rest of a large answer is read by another process, which keeps all of it."""
        left = int(self._headers.get(b"content-length", b"0")) - self._size
        answers = self._api.uploading is self and self._url.startswith(INVOCATION) and not self._failed
        if worth_carrying(self._size, left) and answers and self._body is not None and carrier.stands():
            self._transport.pause_reading()
            self._carried = carrier.take(self._transport, b"".join(self._body), left, False)
            self._carried.add_done_callback(self._on_carried)

    def _on_carried(self, carried: asyncio.Future[Parcel]) -> None:
        self._carried = None
        if carried.cancelled():
            return
        if carried.exception() is not None:
            self.abort()
            return
        self._parcel = carried.result()
        self.on_message_complete()
        self._parser = httptools.HttpRequestParser(self)  # the other one waits for the body
        if self._out and not self._waits:
            self._flush()
        self.resume_writing()
        self._api.listener.read()

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # a guest that doesn't read gets no further replies to pile up

    def resume_writing(self) -> None:
        if not self._transport.is_closing() and self._carried is None:
            self._transport.resume_reading()

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

    def _route(self) -> None:
        method = self._parser.get_method()
        if self._url.startswith(EXTENSIONS) and self._api.extensions is not None:
            self._call_extensions(self._api.extensions, method)
        elif method == b"GET":
            if self._url == NEXT:
                if self._refused:  # sent along with an answer, by a runtime that couldn't know: no event for it
                    self._flush()
                    self._transport.close()
                    return
                self._ask()
            elif self._url == b"/ping":
                self._reply_idle(replies.PONG)
            elif self._url == metadata.PATH and self._api.metadata is not None:
                self._reply_idle(self._api.metadata.get(self._headers.get(b"authorization", b"")))
            elif self._url == RESTORE_NEXT:
                self._waits = True
                refusal = self._api.restore_next(self)
                if refusal is not None:
                    self._waits = False
                    self._reply_idle(refusal)
            else:
                known = self._url in (INIT_ERROR, *PATHS) or self._url.endswith((b"/response", b"/error"))
                self._reply_idle(replies.WRONG_METHOD if known else replies.NOT_FOUND)
        elif method == b"POST":
            refusal = self._refusal
            if self.upload is not None:
                self._end(self.upload)
                return
            if self._api.uploading is self:
                self._api.uploading = None
            elif refusal is None:  # not the only one: another connection was or will be faster
                refusal = self._refuse() or (None if self._too_large else replies.WRONG_ID)
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
            self._reply_idle(replies.WRONG_METHOD)

    def _ask(self) -> None:
        """For the next event."""
        self._waits = True
        refusal = self._api.next(self)
        if refusal is None:
            self._idle_calls = 0
            return
        self._waits = False
        self._reply_idle(refusal)

    def _call_extensions(self, extensions: ExtensionsApi, method: bytes) -> None:
        body = None if self._too_large else b"".join(self._body or [])
        self._waits = True
        reply = extensions.call(self, method, self._url, self._headers, body)
        if reply is not None:
            self._waits = False
            self._reply_idle(reply)

    def _subscribe(self, api: Api) -> bytes:
        if self._too_large:
            return replies.too_large(BODY_LIMIT)
        identifier = self._headers.get(b"lambda-extension-identifier", b"").decode("latin-1")
        try:
            self._api.listener.subscribe(api, identifier, b"".join(self._body or []))
        except Refused as refused:
            status = {400: "400 Bad Request", 403: "403 Forbidden"}[refused.status]
            return replies.refusal(status, refused.error_type, refused.message)
        return replies.SUBSCRIBED

    def _accept(self) -> None:
        body: bytes | list[bytes] | Parcel | None = self._parcel
        if body is None and self._body is not None and not self._too_large:
            large = self._size > TOGETHER and len(self._body) > 1 and self._url.startswith(INVOCATION)
            body = self._body if large else b"".join(self._body)
        if isinstance(body, bytes | None) and self._url in (INIT_ERROR, RESTORE_ERROR):
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
        if failed and _CAUSE in self._headers:
            self._api.listener.explained(self._headers[_CAUSE])
        # The reply stands before the event that the listener may give at once.
        at = len(self._out)
        self._out.append(b"")
        self._out[at] = self._api.answer(body, failed)

    def _end(self, upload: Upload) -> None:
        """The end of a streamed answer."""
        upload.resume()
        if upload.too_large:
            self._reply_idle(replies.STREAM_TOO_LARGE)
            return
        error_type = self._headers.get(b"lambda-runtime-function-error-type")
        self._out.append(replies.ACCEPTED)
        if error_type is None:
            self._api.streamed(None)
        else:
            described = _decoded(self._headers.get(b"lambda-runtime-function-error-body", b""))
            self._api.streamed((error_type.decode("latin-1"), described))

    # Replies

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
        self._transport.write(replies.MALFORMED)
        self._transport.close()


def _decoded(error_body: bytes) -> bytes:
    """The error that a broken stream announces, base64 in a trailer."""
    try:
        return base64.b64decode(error_body, validate=True)
    except binascii.Error:
        return b"{}"
