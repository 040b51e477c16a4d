"""The Extensions API (AWS: spec 3.4) of one environment: calls in, replies and events out.

Its connections are those of the Runtime API's listener, which hands over what comes for /2020-01-01/extension/. What a
call means for the environment is the environment's business, which hears of it through a `Listener`. All of it is
written by a guest: bodies come here bounded, and of an extension that does not fetch its events one is kept at most.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import orjson

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.worker.extensions import INVOKE, SHUTDOWN, Extension, Extensions, Signal
from lamplighter.worker.telemetry_api import Refused

PREFIX = b"/2020-01-01/extension/"
_REGISTER = PREFIX + b"register"
_NEXT = PREFIX + b"event/next"
_ERRORS = {PREFIX + b"init/error": Signal.INIT_ERROR, PREFIX + b"exit/error": Signal.EXIT_ERROR}
_METHODS = {_REGISTER: b"POST", _NEXT: b"GET", **dict.fromkeys(_ERRORS, b"POST")}
_STATUS = {200: "200 OK", 202: "202 Accepted", 400: "400 Bad Request", 403: "403 Forbidden"}
_ACCEPTED = b'{"status":"OK"}\n'
_EVENTS_LIMIT = 16
_ERROR_TYPE_LIMIT = 256  # characters


class Connection(Protocol):
    """One that waits for an event."""

    def deliver(self, head: bytes, payload: bytes) -> bool: ...


class Listener(Protocol):
    """What the environment hears of."""

    def extension_registered(self) -> None: ...

    def extension_asked(self) -> None:
        """One waits for its next event."""
        ...

    def extension_failed(self, extension: Extension) -> None:
        """It posted an error, and should exit now."""
        ...


class ExtensionsApi:
    """`started`: names of the external extensions."""

    def __init__(self, listener: Listener, function: FunctionVersion, started: Iterable[str] = ()) -> None:
        self.table = Extensions(started)
        self._listener = listener
        self._function = function
        self._waiting: dict[Connection, Extension] = {}
        self._events: dict[Extension, bytes] = {}  # given, and not fetched yet

    def call(
        self, connection: Connection, method: bytes, url: bytes, headers: Mapping[bytes, bytes], body: bytes | None
    ) -> bytes | None:
        """The reply; None: it waits for an event. `body` None: it was too large."""
        if url not in _METHODS:
            return _reply("404 Not Found", b"404 page not found\n", content_type="text/plain; charset=utf-8")
        if method != _METHODS[url]:
            return _reply("405 Method Not Allowed", b"")
        named = {name.decode(): value.decode("latin-1") for name, value in headers.items()}
        try:
            if url == _REGISTER:
                return self._register(named, body)
            identifier = named.get("lambda-extension-identifier", "")
            if url == _NEXT:
                self._next(connection, self.table.get(identifier))
                return None
            extension = self.table.get(identifier, "Unknown Lambda-Extension-Identifier")
            return self._error(extension, _ERRORS[url], named)
        except Refused as refused:
            told = {"errorMessage": refused.message, "errorType": refused.error_type}
            return _reply(_STATUS[refused.status], orjson.dumps(told))

    def left(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def invoke(self, invocation: Invocation, deadline: int) -> None:
        """To those that registered for it. `deadline`: milliseconds since the epoch."""
        told = {
            "eventType": INVOKE,
            "deadlineMs": deadline,
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        }
        self._give(INVOKE, told)

    def shut_down(self, reason: str, deadline: int) -> list[Extension]:
        """`reason`: spindown, timeout or failure. Gives those that are told, and may still do something."""
        return self._give(SHUTDOWN, {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline})

    def _give(self, kind: str, told: dict[str, Any]) -> list[Extension]:
        given = self.table.give(kind)
        if given:
            event = orjson.dumps(told)
            for extension in given:
                self._events[extension] = event
            for connection, extension in list(self._waiting.items()):
                self._deliver(connection, extension)
        return given

    def _register(self, headers: Mapping[str, str], body: bytes | None) -> bytes:
        extension = self.table.register(headers.get("lambda-extension-name", ""), _events(body))
        told: dict[str, Any] = {
            "functionName": self._function.id.name,
            "functionVersion": self._function.version,
            "handler": self._function.handler or "",
        }
        features = headers.get("lambda-extension-accept-feature", "").split(",")
        if "accountId" in [feature.strip() for feature in features]:
            told["accountId"] = self._function.id.account
        self._listener.extension_registered()
        return _reply("200 OK", orjson.dumps(told), f"Lambda-Extension-Identifier: {extension.identifier}\r\n")

    def _next(self, connection: Connection, extension: Extension) -> None:
        if extension in self._events:  # it was told while it was elsewhere
            self._waiting[connection] = extension
            self._deliver(connection, extension)
            return
        extension.follow(Signal.ASKED)
        self._waiting[connection] = extension
        self._listener.extension_asked()

    def _deliver(self, connection: Connection, extension: Extension) -> None:
        event = self._events.get(extension)
        if event is None:
            return
        del self._waiting[connection]
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Extension-Identifier: {extension.identifier}"
            f"\r\nLambda-Extension-Event-Identifier: {uuid.uuid4()}\r\nContent-Length: {len(event)}\r\n\r\n"
        )
        if connection.deliver(head.encode(), event):
            del self._events[extension]

    def _error(self, extension: Extension, signal: Signal, headers: Mapping[str, str]) -> bytes:
        error_type = headers.get("lambda-extension-function-error-type", "")
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type not found"
            raise Refused(403, "Extension.MissingHeader", message)
        extension.follow(signal)
        extension.error_type = error_type[:_ERROR_TYPE_LIMIT]
        self._listener.extension_failed(extension)
        return _reply("202 Accepted", _ACCEPTED)


def _events(body: bytes | None) -> list[str]:
    """Of a registration. Raises Refused."""
    try:
        given: Any = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        given = None
    events: Any = cast(dict[str, Any], given).get("events", []) if isinstance(given, dict) else None
    if not isinstance(events, list) or len(cast(list[Any], events)) > _EVENTS_LIMIT:
        raise Refused(400, "Extension.InvalidRequestFormat", "The body is not an object with a list of events")
    listed = cast(list[Any], events)
    if not all(isinstance(event, str) for event in listed):
        raise Refused(400, "Extension.InvalidRequestFormat", "An event type is a string")
    return listed


def _reply(status: str, body: bytes, more: str = "", content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
