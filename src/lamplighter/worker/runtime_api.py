"""The Runtime API (AWS: spec 3.3) of one environment, on the listener that its sandbox passed out.

Everything that arrives here was written by a guest: it is parsed by a C parser, bounded before it is kept, and answered
with AWS's errors. Here is what opens and closes; whose turn it is, is in `runtime_turns.py`, what a connection does in
`runtime_connection.py`.
"""

import asyncio
import socket

from lamplighter.worker.runtime_connection import Connection
from lamplighter.worker.runtime_turns import CONNECTIONS, Turns

_BUFFER = 256 << 10  # bytes that the kernel keeps of a connection, and so the most that one turn of the loop copies


class RuntimeApi(Turns):
    """`open` it on a listening socket, `give` it events, `close` it."""

    _server: asyncio.Server | None = None

    async def open(self, listener: socket.socket) -> None:
        """Accept on `listener`, which stays its owner's."""
        for direction in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # of each connection
            listener.setsockopt(socket.SOL_SOCKET, direction, _BUFFER)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=listener, backlog=CONNECTIONS)

    def close(self) -> None:
        """Stop listening, hang up. Idempotent."""
        self.stream = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.abort()
