"""A request of a runtime's as it comes: its head is read, its body kept within bounds, or passed on as it streams.

All of it was written by a guest. Parsing is C's (httptools, on llhttp), what is kept is bounded, and what a request
moves is for `runtime_connection.py` to say.
"""

import asyncio
from abc import ABC, abstractmethod

import httptools

from lamplighter.model.parcels import Parcel
from lamplighter.worker import failures, metadata
from lamplighter.worker import runtime_replies as replies
from lamplighter.worker.extensions_api import PREFIX as EXTENSIONS
from lamplighter.worker.failures import RESPONSE_LIMIT
from lamplighter.worker.runtime_paths import INIT_ERROR, INVOCATION, NEXT, RESTORE_ERROR, RESTORE_NEXT
from lamplighter.worker.runtime_turns import Line, Turns
from lamplighter.worker.stream import Upload
from lamplighter.worker.telemetry_subscription import BODY_LIMIT, PATHS

_SOON = 0.001  # seconds until a guest that asks for an event has read what was written to it before
_TRIES = 20


class Requests(ABC):
    """One after the other, of one connection. What each moves, a subclass says in `on_message_complete`."""

    __slots__ = (
        "_api",
        "_between",
        "_body",
        "_carried",
        "_expects",
        "_failed",
        "_head_bytes",
        "_head_reads",
        "_headers",
        "_last",
        "_out",
        "_parcel",
        "_parser",
        "_refusal",
        "_size",
        "_too_large",
        "_transport",
        "_url",
        "_waits",
        "upload",
    )

    _transport: asyncio.Transport

    def __init__(self, api: Turns) -> None:
        self._api = api
        self._parser = httptools.HttpRequestParser(self)
        self._between = True  # the parser is not in the middle of a message
        self._out: list[bytes] = []
        self._head_reads = 0
        self._waits = False  # for an event
        self._carried: asyncio.Future[Parcel] | None = None  # the body that another process reads
        self._last = False  # the guest wants the connection closed after the reply
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}  # only the API's own, see on_header
        self._body: list[bytes] | None = None
        self._parcel: Parcel | None = None  # has the body
        self._size = 0
        self._too_large = False
        self._failed = False  # an error is posted, not a response
        self._refusal: bytes | None = None
        self._expects = False
        self._head_bytes = 0
        self.upload: Upload | None = None  # of a streamed answer

    # What httptools calls

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
                self._transport.write(replies.CONTINUE)
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
            self._transport.write(replies.CONTINUE)

    def _upload_instead(self, earlier: Line | None) -> None:
        """One that began earlier may have been given up by its sender, which shows only later: what has come of it is
        dropped."""
        if earlier is not None:
            earlier.drop()
        self._api.uploading = self

    def drop(self) -> None:
        self._body = None
        if self._carried is not None:
            self.abort()

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

    @abstractmethod
    def on_message_complete(self) -> None: ...

    def _refuse(self) -> bytes | None:
        """Why this POST can't be taken, known from its head alone; None if its body is wanted."""
        url = self._url
        if url.startswith(INVOCATION):
            request_id, _, verb = url[len(INVOCATION) :].partition(b"/")
            if verb == b"response":
                mode = self._headers.get(b"lambda-runtime-function-response-mode")
                if mode is not None and mode != b"streaming":
                    return replies.WRONG_MODE
            elif verb == b"error":
                self._failed = True
            else:
                return replies.WRONG_METHOD if url == NEXT else replies.NOT_FOUND
            return self._api.refuse_answer(request_id, self._failed)
        if url == INIT_ERROR:
            return self._api.refuse_init_error()
        if url == RESTORE_ERROR:
            return self._api.refuse_restore_error()
        if url == metadata.PATH:
            return metadata.WRONG_METHOD
        return replies.WRONG_METHOD if url in (RESTORE_NEXT, b"/ping", *PATHS) else replies.NOT_FOUND

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def deliver(self, head: bytes, payload: bytes | Parcel) -> bool:
        """Write an event; False if this connection is going down."""
        self._waits = False
        if self._transport.is_closing():
            return False
        out = self._out
        out.append(head)
        if not isinstance(payload, bytes):
            self._let_write(b"".join(out), payload)
            out.clear()
            return True
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

    def _let_write(self, head: bytes, parcel: Parcel, tries: int = _TRIES) -> None:
        """Another process writes, behind what has been written here."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() and tries:
            asyncio.get_running_loop().call_later(_SOON, self._let_write, head, parcel, tries - 1)
        elif self._transport.get_write_buffer_size():
            self.abort()
        else:
            parcel.put(self._transport, head, False).add_done_callback(self._on_written)

    def _on_written(self, put: asyncio.Future[None]) -> None:
        if put.cancelled():
            return
        if put.exception() is not None:
            self.abort()
        elif self._last:
            self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
