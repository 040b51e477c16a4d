"""Where a function's X-Ray SDK sends its subsegments: a UDP socket inside its environment (AWS: spec 10.3).

Somebody may want them or not; the address is there in any case, so that SDKs have no reason to complain. A function
decides what comes, so reading is bounded in each turn of the loop, and what is too much is dropped by the kernel.
"""

import asyncio
import socket
from collections.abc import Callable

Take = Callable[[bytes], None]

_AT_ONCE = 32  # datagrams of one turn
_LONGEST = 65_536  # bytes


class XRayDaemon:
    """`take`: hears of each datagram; None: nobody wants them, and they are not read."""

    def __init__(self, take: Take | None) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None

    def open(self, daemon: socket.socket | None) -> None:
        """The socket stays its owner's."""
        if daemon is not None and self._take is not None:
            self._socket = daemon
            self._loop.add_reader(daemon.fileno(), self._read)

    def close(self) -> None:
        """Idempotent. What has come is still taken."""
        if self._socket is not None:
            self._read()
            self._loop.remove_reader(self._socket.fileno())
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        assert self._take is not None
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_LONGEST)
            except OSError:  # nothing more
                return
            self._take(data)
