"""The listener for Prometheus: answers GET /metrics to whoever reaches it, and knows nothing else.

Apart from the front door, since scrapers sign nothing: where this one listens is the operator's to choose, and who can
reach that sees names of functions and how much they run.
"""

import asyncio
import gzip
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Final, Self

from lamplighter.api.connection import Connection
from lamplighter.api.http import Request, Response
from lamplighter.api.usual import Usual
from lamplighter.model.clock import Clock
from lamplighter.telemetry.exposition import CONTENT_TYPE

PATH: Final = "/metrics"
CONNECTIONS: Final = 16
_TICK: Final = 1.0  # seconds
_PLAIN: Final = ("Content-Type", "text/plain; charset=utf-8")

_log = logging.getLogger(__name__)


class Listener:
    """connection.Door, used with `async with`. `text`: what is shown, made anew for each request."""

    def __init__(self, listener: socket.socket, text: Callable[[], Awaitable[str]], clock: Clock) -> None:
        self._listener = listener
        self._text = text
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.usual: Usual | None = None  # nothing is invoked here
        self.room = 0  # a scraper sends nothing that takes any

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=self._listener)
        self._ticker = loop.call_later(_TICK, self._tick)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._ticker is not None:
            self._ticker.cancel()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in tuple(self._connections):
            connection.abort()

    # connection.Door

    @property
    def date(self) -> str:
        return formatdate(self._clock.now(), usegmt=True)

    def joined(self, connection: Connection) -> bool:
        if self._server is None or len(self._connections) >= CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def body_limit(self, method: str, path: str) -> int:
        return 0

    def carrier(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        return None

    def refuse(self, connection: Connection, status: int, method: str, path: str) -> None:
        connection.respond(Response(status, (_PLAIN,), b"This listener answers GET /metrics.\n"), "")

    def serve(self, connection: Connection, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(connection, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection, request: Request) -> None:
        try:
            response = await self._answer(request)
        except Exception:  # the outermost loop, as in the front door
            _log.exception("metrics could not be shown to Prometheus")
            response = Response(500, (_PLAIN,), b"The metrics could not be read; the service's log says why.\n")
        connection.respond(response, "")

    async def _answer(self, request: Request) -> Response:
        if request.path != PATH:
            return Response(404, (_PLAIN,), b"Metrics are at /metrics.\n")
        if request.method not in ("GET", "HEAD"):
            return Response(405, (_PLAIN, ("Allow", "GET, HEAD")), b"Metrics are read with GET.\n")
        headers = ("Content-Type", CONTENT_TYPE), ("Cache-Control", "no-store")
        text = (await self._text()).encode()
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(gzip.compress, text, 1)
            return Response(200, (*headers, ("Content-Encoding", "gzip")), body)
        return Response(200, headers, text)

    def _tick(self) -> None:
        for connection in tuple(self._connections):
            connection.tick()
        self._ticker = asyncio.get_running_loop().call_later(_TICK, self._tick)
