"""The front door: accepts connections, decides who answers a request, and turns every outcome into a response.

Who answers: a raw handler by path prefix (no signature asked for; they guard themselves), Invoke directly, another
service in a protocol of its own, everything else through the service model's wire. Refusals of Lambda become AWS's
answers here and nowhere else; a bug becomes a 500 that names the request, and a line in the log that does too.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from email.utils import formatdate
from functools import partial
from typing import Any

from lamplighter.api.authorization import authorize
from lamplighter.api.connection import Connection
from lamplighter.api.errors import refusal
from lamplighter.api.http import Call, Caller, Operation, Request, Response, Streamed, StreamingOperation
from lamplighter.api.invoke import SYNC_LIMIT, InvokeApi, request_too_large
from lamplighter.api.invoke_stream import NAME as STREAM
from lamplighter.api.other_service import OtherService
from lamplighter.api.protocol import Wire
from lamplighter.api.usual import Usual
from lamplighter.bodies.large_bodies import LARGE, LargeBodies
from lamplighter.model.clock import Clock
from lamplighter.model.errors import RequestEntityTooLargeException, ServiceError, ServiceException
from lamplighter.model.ids import Ids
from lamplighter.model.parcels import Carrier
from lamplighter.model.request import REQUEST
from lamplighter.store.contract import StoreFailed
from lamplighter.worker.answer import Answer
from lamplighter.worker.contract import WorkerError

CONTROL_LIMIT = 70_167_211  # bytes of a control plane request (AWS: spec 1.2)
CONNECTIONS = 4096
BODIES = 1 << 30  # bytes of large bodies on their way in, of all connections together; SDKs try again after a 503
_TICK = 1.0  # seconds
_BUFFER = 512 << 10  # bytes that the kernel keeps of a connection, and so the most that one turn of the loop copies

RawHandler = Callable[[Request], Awaitable[Response]]

_FUNCTIONS, _INVOCATIONS = "/2015-03-31/functions/", "/invocations"
_STREAM_FUNCTIONS, _STREAMS = "/2021-11-15/functions/", "/response-streaming-invocations"
# The ends of paths that run functions or are other services': too many for a line each.
_FREQUENT = ("invocations", "response-streaming-invocations", "invoke-async", "")
_RUNNING = (STREAM, "InvokeAsync")  # operations that run functions, beside Invoke: see model/request.py
_MALFORMED = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}

_log = logging.getLogger(__name__)


class FrontDoor:
    """`raw`: handlers by the path prefix they answer under. `operations`: by name, all but Invoke. `services`: beside
    Lambda."""

    def __init__(
        self,
        wire: Wire,
        verify: Callable[[Request], Caller],
        operations: Mapping[str, Operation | StreamingOperation],
        invoke: InvokeApi,
        raw: Mapping[str, RawHandler],
        clock: Clock,
        ids: Ids,
        region: str,
        services: Sequence[OtherService] = (),
        carrier: Carrier | None = None,
    ) -> None:
        self._wire = wire
        self._verify = verify
        self._operations = operations
        self._invoke = invoke
        self._raw = tuple(raw.items())
        self._services = services
        self._clock = clock
        self._ids = ids
        self._region = region
        self.date = formatdate(clock.now(), usegmt=True)
        self.usual: Usual | None = Usual()
        self._carrier = carrier
        self.room = BODIES
        self._large_bodies = LargeBodies()
        self.connections: set[Connection] = set()
        self.inner: set[Connection] = set()  # from functions, each with a door of its own (reach.py)
        self.in_hand = 0  # requests that have no response yet
        self._drained: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept on a bound socket, which is ours from here on."""
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # of each connection
            listener.setsockopt(socket.SOL_SOCKET, direction, _BUFFER)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=1024)
        self._ticker = loop.call_later(_TICK, self._tick)

    async def drain(self, limit: float) -> int:
        """Accept no more, let requests in hand finish for `limit` seconds, then hang up. How many were cut off."""
        for service in self._services:
            service.closing()
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in (*self.connections, *self.inner):
            connection.close_if_idle()
        self._drained = asyncio.Event()
        if self.in_hand:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), limit)
        cut_off = self.in_hand
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_TICK)
        for connection in (*self.connections, *self.inner):
            if not connection.close_if_idle():
                connection.abort()
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        return cut_off

    # What connections ask (connection.Door)

    def joined(self, connection: Connection) -> bool:
        if len(self.connections) >= CONNECTIONS or self._server is None:
            return False
        self.connections.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def body_limit(self, method: str, path: str) -> int:
        runs = _invoked(method, path) is not None or (path.startswith(_STREAM_FUNCTIONS) and path.endswith(_STREAMS))
        return SYNC_LIMIT if runs else CONTROL_LIMIT

    def carrier(self, method: str, path: str, headers: Mapping[str, str]) -> Carrier | None:
        waits = headers.get("x-amz-invocation-type", "RequestResponse") == "RequestResponse"
        return self._carrier if waits and _invoked(method, path) is not None else None

    def refuse(self, connection: Connection, status: int, method: str, path: str) -> None:
        request_id = self._ids.request_id()
        if status == 413:
            connection.respond(refusal(self._too_large(method, path), request_id), request_id)
        else:
            body = b'{"message":"%s"}' % _MALFORMED[status].encode()
            connection.respond(Response(status, (), body), request_id)

    def serve(self, connection: Connection, request: Request) -> None:
        self.in_hand += 1
        name = _invoked(request.method, request.path)
        work = self._serve(connection, request, name)
        if name is not None:
            self._step(work)
        else:
            self._own(work)

    # A warm invocation takes no task: it runs from here to where it waits for its answer, and from there to its end.

    def _step(self, work: Coroutine[Any, None, None], _: Answer | None = None) -> None:
        try:
            waited = work.send(None)
        except StopIteration:
            return
        if isinstance(waited, Answer):
            waited.add_done_callback(partial(self._step, work))
        else:
            self._own(_go_on(work, waited))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Answers

    async def _serve(self, connection: Connection, request: Request, name: str | None) -> None:
        """`name`: of the function, encoded, if this is Invoke."""
        request_id = self._ids.request_id()
        began = self._clock.monotonic() if name is None else 0.0
        try:
            response = await self._respond(request, name, request_id)
            if name is None:
                self._note(request, response.status, request_id, self._clock.monotonic() - began)
            if isinstance(response, Streamed):
                await self._stream(connection, response, request_id)
                return
            if response.parcel is not None:
                await connection.hand_over(response, response.parcel, request_id)
                return
        finally:
            self.in_hand -= 1
            if not self.in_hand and self._drained is not None:
                self._drained.set()
        connection.respond(response, request_id)

    def _note(self, request: Request, status: int, request_id: str, seconds: float) -> None:
        """One line for a call that is no plain Invoke: changes at info, the others at debug. Without query and headers,
        in which signatures are."""
        path = request.path
        often = request.method in ("GET", "HEAD") or path.rstrip("/").rpartition("/")[2] in _FREQUENT
        level = logging.DEBUG if often else logging.INFO
        if _log.isEnabledFor(level):
            shown = path.encode("ascii", "backslashreplace").decode()
            target = request.headers.get("x-amz-target", "").encode("ascii", "backslashreplace").decode()[:100]
            told = (request_id, request.method, shown, target and f" {target}", status, seconds * 1000)
            _log.log(level, "request %s: %s %s%s %d in %.1f ms", *told, extra={"request_id": request_id})

    async def _stream(self, connection: Connection, response: Streamed, request_id: str) -> None:
        try:
            await connection.stream(response, request_id)
            await response.body.finish()
        except asyncio.CancelledError:
            response.body.cancel()
            raise
        except Exception:  # as in _respond; what is on its way can't be taken back
            _log.exception(
                "request %s failed in the middle of its response", request_id, extra={"request_id": request_id}
            )
            response.body.cancel()
            connection.abort()

    async def _respond(self, request: Request, name: str | None, request_id: str) -> Response | Streamed:
        try:
            if request.pieces is not None:
                request = request._replace(body=await self._large_bodies.joined(request.pieces), pieces=None)
            if request.parcel is not None:
                request = request._replace(digest=request.parcel.digest)
            if name is not None:
                caller = self._verify(await self._hashed(request) if len(request.body) > LARGE else request)
                if caller.allowed is not None:
                    authorize(caller, "lambda", "Invoke", self._resource(caller, {"FunctionName": name}))
                return await self._invoke.answer(request, name, caller, request_id)
            return await self._answer(request, request_id)
        except StoreFailed as error:
            cause = error.__cause__ or "it took too long"
            _log.error("request %s: %s (%s)", request_id, error, cause, extra={"request_id": request_id})
            return refusal(error, request_id)
        except ServiceError as error:
            if error.status >= 500:
                _log.error(
                    "request %s: %s", request_id, error, exc_info=error.__cause__, extra={"request_id": request_id}
                )
            return refusal(error, request_id)
        except WorkerError as error:
            _log.error("request %s: no environment: %s", request_id, error, extra={"request_id": request_id})
            return refusal(ServiceException(), request_id)
        except Exception:  # the outermost loop: a bug must not take the connection with it
            _log.exception(
                "request %s failed: %s %s",
                request_id,
                request.method,
                request.path,
                extra={"request_id": request_id},
            )
            return refusal(ServiceException(), request_id)

    async def _hashed(self, request: Request) -> Request:
        return request._replace(digest=await self._large_bodies.digest(request.body))

    async def _answer(self, request: Request, request_id: str) -> Response | Streamed:
        for prefix, handler in self._raw:
            if request.path.startswith(prefix):
                return await handler(request)
        for service in self._services:
            if (dialect := service.dialect(request)) is not None:
                return await service.answer(dialect, request, request_id)
        caller = self._verify(await self._hashed(request) if len(request.body) > LARGE else request)
        operation, labels = route = self._wire.route(request.method, request.path, request.query)
        authorize(caller, "lambda", operation.name, self._resource(caller, labels))
        if operation.name == "Invoke":  # written in another way: with a slash at the end
            return await self._invoke.answer(request, labels["FunctionName"], caller, request_id)
        values = self._wire.parse(route, request.query, request.headers, request.body)
        endpoint = f"http://{request.headers.get('host', '')}"
        call = Call(request_id, caller, self._region, endpoint, request.headers.get("x-amzn-trace-id"))
        if operation.name not in _RUNNING:
            REQUEST.set(request_id)
        output = await self._operations[operation.name](call, values)
        return output if isinstance(output, Streamed) else self._wire.serialise(operation, output)

    def _resource(self, caller: Caller, labels: Mapping[str, str]) -> str:
        """As refusals of what a caller may not do name it."""
        name = labels.get("FunctionName", "").rpartition(":")[2]
        return f"arn:aws:lambda:{self._region}:{caller.account}:function:{name}" if name else "*"

    def _too_large(self, method: str, path: str) -> ServiceError:
        if _invoked(method, path) is not None:
            return request_too_large(SYNC_LIMIT)
        try:
            name = self._wire.route(method, path, "").operation.name
        except ServiceError:
            return RequestEntityTooLargeException(f"Request must be smaller than {CONTROL_LIMIT} bytes")
        if name == STREAM:
            return request_too_large(SYNC_LIMIT, STREAM)
        return RequestEntityTooLargeException(
            f"Request must be smaller than {CONTROL_LIMIT} bytes for the {name} operation"
        )

    def _tick(self) -> None:
        self.date = formatdate(self._clock.now(), usegmt=True)
        for connection in (*self.connections, *self.inner):
            connection.tick()
        self._ticker = asyncio.get_running_loop().call_later(_TICK, self._tick)


async def _go_on(work: Coroutine[Any, None, None], waited: Any) -> None:
    """The rest of `work`, which waits for `waited`, as something that a task can run."""
    await _Rest(work, waited)


class _Rest:
    """A coroutine that has begun, as an awaitable: what it waits for is handed on to the task."""

    def __init__(self, work: Coroutine[Any, None, None], waited: Any) -> None:
        self._work = work
        self._waited = waited

    def __await__(self) -> Generator[Any, None, None]:
        work, waited = self._work, self._waited
        while True:
            try:
                yield waited
            except BaseException as error:  # the task was cancelled, which is for the work to hear
                resume = partial(work.throw, error)
            else:
                resume = partial(work.send, None)
            del waited  # with its error, whose traceback would hold this frame, and all that was at hand then
            try:
                waited = resume()
            except StopIteration:
                return
            finally:
                del resume


def _invoked(method: str, path: str) -> str | None:
    """The name of the function, still encoded, that a request invokes; None if it is another operation's."""
    if method == "POST" and path.endswith(_INVOCATIONS) and path.startswith(_FUNCTIONS):
        name = path[len(_FUNCTIONS) : -len(_INVOCATIONS)]
        return None if "/" in name else name
    return None
