"""Packets between the sandbox room's processes: one JSON object each, with descriptors alongside.

SOCK_SEQPACKET keeps packets whole and reports the other side's death as end of file. Sending never blocks on a
non-blocking socket: what the kernel doesn't take waits in `_queue`, so two sides can't wait for each other. Runs under
CPython 3.9 as well, because fork servers speak it. What a packet means is checked by `sandbox/messages.py`.
"""

from __future__ import annotations

import array
import collections
import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, cast

PACKET_LIMIT = 160_000  # bytes; below the kernel's default send buffer of 208 KiB
DESCRIPTORS_LIMIT = 16

_PEER_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class Malformed(ValueError):
    """A packet that is no JSON object, too long, or came with too many descriptors."""


class Channel:
    """One end of a packet socket. Owns the socket, and the descriptors given to `send`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._queue: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        self.unheard = False  # something was sent to a peer that was gone

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether packets wait for the socket to take them (then call `flush` when it is writable)."""
        return bool(self._queue)

    @property
    def ended(self) -> bool:
        """Whether nothing but end of file is left to read. For non-blocking sockets."""
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Queue and send what can be sent now; the descriptors are closed here once they are on their way."""
        data = json.dumps(body, separators=(",", ":")).encode()
        if len(data) > PACKET_LIMIT:
            close_all(descriptors)
            raise Malformed("packet too long")
        self._queue.append((data, list(descriptors)))
        self.flush()

    def flush(self) -> None:
        """Send what the kernel takes. A dead peer empties the queue: its death shows when reading."""
        while self._queue:
            data, descriptors = self._queue[0]
            try:
                socket.send_fds(self.sock, [data], descriptors, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _PEER_GONE:
                    self.unheard = True
                    self._drop_all()
                    return
                self._drop()
                raise
            self._drop()

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next packet, or None at end of file.

        Raises BlockingIOError when there is none yet, Malformed for rubbish."""
        try:
            data, descriptors, flags = receive(self.sock, PACKET_LIMIT + 1, DESCRIPTORS_LIMIT)
        except ConnectionError:
            return None
        if not data:
            close_all(descriptors)
            return None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(data) > PACKET_LIMIT:
                raise Malformed("packet too long or with too many descriptors")
            body: Any = json.loads(data)
            if not isinstance(body, dict):
                raise Malformed("packet is not an object")
        except (ValueError, RecursionError) as error:
            close_all(descriptors)
            raise Malformed(str(error)) from error
        return cast("dict[str, Any]", body), descriptors

    def close(self) -> None:
        self._drop_all()
        self.sock.close()

    def _drop_all(self) -> None:
        while self._queue:
            self._drop()

    def _drop(self) -> None:
        _, descriptors = self._queue.popleft()
        close_all(descriptors)


def receive(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int], int]:
    """A packet, the descriptors that came with it, and the flags that say what was cut off. The descriptors are closed
    in whatever we execute, to which `socket.recv_fds` does not help: it takes flags and passes none on."""
    numbers = array.array("i")
    data, ancillary, flags, _ = sock.recvmsg(size, socket.CMSG_LEN(most * numbers.itemsize), socket.MSG_CMSG_CLOEXEC)
    for level, kind, sent in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(sent[: len(sent) - len(sent) % numbers.itemsize])
    return data, list(numbers), flags


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
