"""How a function reaches this service: a listener on its own sandbox's loopback, and credentials of its role.

What comes in there is anybody's, as at the front door, which answers it: with the same limits and deadlines, bounds of
its own for each environment, and half of the room for large bodies, so that functions can't shut others out. Of the
operator's own pages it sees none.
"""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final, Protocol

from lamplighter.api.connection import Connection, Door
from lamplighter.api.downloads import PATH as DOWNLOADS
from lamplighter.api.http import Request, Response
from lamplighter.api.sessions import Sessions
from lamplighter.api.usual import Usual
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.parcels import Carrier

CONNECTIONS: Final = 64  # of one environment
ROOM: Final = 128 << 20  # bytes of large bodies on their way in, of one environment
KEPT: Final = 512 << 20  # bytes of the front door's room that functions can't take
_BACKLOG: Final = 64
_OPERATORS: Final = "/_lamplighter/"
_FORBIDDEN: Final = Response(403, (), b'{"message":"Forbidden"}')


class Front(Door, Protocol):
    """The front door, as far as this is concerned."""

    inner: set[Connection]


class Reaches:
    """`endpoint`: of the service as functions find it; None: they are told of none. Needs a `front` before anything
    connects."""

    def __init__(self, sessions: Sessions, endpoint: str | None) -> None:
        self._sessions = sessions
        self._endpoint = endpoint
        self.front: Front | None = None

    def open(self, function: FunctionVersion) -> "Reach":
        """worker.contract.OpenReach."""
        return Reach(self, self._sessions, function, self._endpoint)


class Reach:
    """worker.contract.Reach, of one environment."""

    def __init__(self, owner: Reaches, sessions: Sessions, function: FunctionVersion, endpoint: str | None) -> None:
        self._owner = owner
        self._sessions = sessions
        self._keys = sessions.open(function)
        self._server: asyncio.Server | None = None
        self.usual: Usual | None = Usual()
        self._held = 0  # bytes of the room
        self._connections: set[Connection] = set()
        self.defaults: Mapping[str, str] = {} if endpoint is None else {"AWS_ENDPOINT_URL": endpoint}
        self.credentials: Mapping[str, str] = {
            "AWS_ACCESS_KEY_ID": self._keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self._keys.secret,
            "AWS_SESSION_TOKEN": self._keys.token,
        }

    async def listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=_BACKLOG)

    def hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._connections):
            connection.abort()

    def close(self) -> None:
        self.hang_up()
        self._sessions.close(self._keys)

    # connection.Door

    @property
    def _front(self) -> Front:
        assert self._owner.front is not None
        return self._owner.front

    @property
    def date(self) -> str:
        return self._front.date

    @property
    def room(self) -> int:
        return min(ROOM - self._held, self._front.room - KEPT)

    @room.setter
    def room(self, left: int) -> None:
        taken = self.room - left
        self._held += taken
        self._front.room -= taken

    def joined(self, connection: Connection) -> bool:
        if self._server is None or self._owner.front is None or len(self._connections) >= CONNECTIONS:
            return False
        self._connections.add(connection)
        self._front.inner.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._front.inner.discard(connection)

    def body_limit(self, method: str, path: str) -> int:
        return self._front.body_limit(method, path)

    def carrier(self, method: str, path: str, headers: Mapping[str, str]) -> Carrier | None:
        return self._front.carrier(method, path, headers)

    def refuse(self, connection: Connection, status: int, method: str, path: str) -> None:
        self._front.refuse(connection, status, method, path)

    def serve(self, connection: Connection, request: Request) -> None:
        if request.path.startswith(_OPERATORS) and not request.path.startswith(DOWNLOADS):
            connection.respond(_FORBIDDEN, "")
        else:
            self._front.serve(connection, request)
