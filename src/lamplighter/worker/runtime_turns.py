"""Whose turn it is in the Runtime API of one environment (AWS: spec 3.3): which call may come now, and what it moves.

It knows neither HTTP nor sockets: connections (`Line`) bring calls and take events. What an invocation means is the
environment's business, which hears of each accepted call through a `Listener`.

An answer in streaming mode goes on piece by piece if the invocation was given with a `Stream`; else it is collected
like any other.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from lamplighter.model.parcels import Carrier, Parcel
from lamplighter.worker import runtime_replies as replies
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.runtime_form import OWN, Form
from lamplighter.worker.stream import Stream, Upload
from lamplighter.worker.telemetry_subscription import Api

_STARTED, _READY, _RUNNING, _RESPONDED, _INIT_FAILED = "Started", "Ready", "Running", "ResponseSent", "InitError"
_RETIRED, _RESTORING = "Terminated", "Restoring"

CONNECTIONS = 32  # of one environment; more are closed at once
_LESSONS = 8  # pieces in which another form may be looked for: a client that has none is not asked for ever


class Listener(Protocol):
    """What the environment hears: only calls that were in turn."""

    def asked(self) -> None:
        """The runtime asked for the next event: init or the phase is over."""
        ...

    def explained(self, cause: bytes) -> None:
        """It is about to post an error, and says where that came from: X-Ray's document, in JSON, or anything."""
        ...

    def answered(self, body: bytes | list[bytes] | Parcel, failed: bool) -> None:
        """It posted a response, or (`failed`) an error, to the current invocation. A large one is in pieces, or
        another process has it."""
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


class Line(Protocol):
    """A connection of the guest's."""

    @property
    def upload(self) -> Upload | None:
        """Of a streamed answer that it is sending."""
        ...

    def deliver(self, head: bytes, payload: bytes | Parcel) -> bool:
        """Write an event; False if this connection is going down."""
        ...

    def drop(self) -> None:
        """What has come of the answer it is sending is not kept."""
        ...

    def abort(self) -> None: ...


class Turns:
    """`extensions`, `metadata`: who else is asked by the same connections."""

    def __init__(
        self, listener: Listener, metadata: Metadata | None = None, extensions: ExtensionsApi | None = None
    ) -> None:
        self.listener = listener
        self.extensions = extensions
        self.metadata = metadata
        self.connections: set[Line] = set()
        self.waiting: deque[Line] = deque()  # those that asked for the next event, oldest first
        self.uploading: Line | None = None  # the one whose body is kept: the last to begin; others' are dropped
        self.stream: Stream | None = None  # where the current invocation's answer goes, as long as it may be streamed
        self.carrier: Carrier | None = None  # who may have the current invocation's answer, if it is large
        self.phase = _STARTED
        self.on_restore: Callable[[], None] | None = None  # told when a template's runtime waits to be restored
        self.restoring = False  # the runtime is a copy, and has not asked for its first event
        self._request_id = b""
        self._form = OWN  # in which the runtime writes its requests
        self._lessons = _LESSONS
        self.usual = b""  # how its answer would begin
        self._event: tuple[bytes, bytes | Parcel] | None = None  # given, but nobody has asked yet
        self._on_hang_up: asyncio.Future[None] | None = None

    def retire(self) -> None:
        """Take nothing from the runtime any more; extensions go on."""
        self.phase = _RETIRED
        self.stream = None
        if self.uploading is not None:
            self.uploading.abort()

    def give(
        self,
        request_id: str,
        head: bytes,
        payload: bytes | Parcel,
        stream: Stream | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        """Start an invocation. `head`: the event's whole HTTP head."""
        self.phase = _RUNNING
        self.stream = stream
        self.carrier = carrier
        self._request_id = encoded = request_id.encode()
        self.usual = self._form.begins(encoded)
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

    def joined(self, connection: Line) -> bool:
        if len(self.connections) >= CONNECTIONS:
            return False
        self.connections.add(connection)
        return True

    def left(self, connection: Line) -> None:
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

    def next(self, connection: Line) -> bytes | None:
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
            return replies.WRONG_ID
        if self.phase != _RUNNING or self._event is not None:
            return self._out_of_turn("InvocationErrorResponse" if failed else "InvocationResponse")
        return None

    @property
    def form(self) -> Form:
        """In which the runtime writes its requests, as far as is known."""
        return self._form

    def learn(self, data: bytes) -> None:
        """A piece has come that is not in this form: maybe the next ones will be in its."""
        if self._lessons > 0:
            self._lessons -= 1
            self._form = self._form.learn(data) or self._form

    @property
    def takes_usual(self) -> bool:
        """Whether an answer in the usual form can be taken as a whole: it is its turn, and it goes nowhere else."""
        return self.phase == _RUNNING and self._event is None and self.uploading is None and self.stream is None

    def refuse_init_error(self) -> bytes | None:
        return None if self.phase == _STARTED else self._out_of_turn(_INIT_FAILED)

    def restore_next(self, connection: Line) -> bytes | None:
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
            self.waiting.popleft().deliver(replies.RESTORED, b"")

    def refuse_restore_error(self) -> bytes | None:
        return None if self.restoring and self.phase == _STARTED else self._out_of_turn("RestoreError")

    def answer(self, body: bytes | list[bytes] | Parcel | None, failed: bool) -> bytes:
        """Take the answer; `body` None: it was too large."""
        self.phase = _RESPONDED
        if body is None:
            self.listener.answer_too_large()
            return replies.TOO_LARGE
        self.listener.answered(body, failed)
        return replies.ACCEPTED

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
            return replies.TOO_LARGE
        self.phase = _INIT_FAILED
        self.listener.init_failed(body, error_type)
        return replies.ACCEPTED

    def _asked_early(self) -> None:
        """What `next` would have done if it had come in its turn."""
        self.phase = _READY
        self.listener.asked()

    def _out_of_turn(self, wanted: str) -> bytes:
        return replies.refusal(
            "403 Forbidden",
            "InvalidStateTransition",
            f"State transition from {self.phase} to {wanted} failed for runtime. "
            "Error: State transition is not allowed",
        )

    def _tell_hang_up(self) -> None:
        told = self._on_hang_up
        if told is not None and not self.connections and not told.done():
            told.set_result(None)
