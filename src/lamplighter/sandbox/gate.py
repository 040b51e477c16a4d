"""Where a process that is to become a runtime waits to be told what to run, and what A knows of that.

A socket and no pipe: the kernel tells of one that was closed with something unread in it. So it is known of whoever
dies at its gate, in whatever moment, whether anything of the function's can have run. CPython 3.9 and later.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass


@dataclass
class Gate:
    """descriptor: A's end, -1: there is none. order: what `open` is to say, empty once that has been said."""

    descriptor: int
    order: bytes = b""

    @classmethod
    def make(cls, order: bytes = b"") -> tuple[int, Gate]:
        """The end to wait at, and A's."""
        theirs, ours = socket.socketpair()
        return theirs.detach(), cls(ours.detach(), order)

    def open(self) -> bool:
        """Once. False: nobody waits there any more."""
        order, end = self.order, socket.socket(fileno=self.descriptor)
        try:
            end.sendall(order)
            end.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        finally:
            end.detach()
        self.order = b""
        return True

    def untaken(self) -> bool:
        """Whether the one who waited there, and is dead, has not read all that it was told."""
        if self.descriptor < 0:
            return False
        if self.order:
            return True
        os.set_blocking(self.descriptor, False)
        try:
            os.read(self.descriptor, 1)
        except ConnectionResetError:
            return True
        except BlockingIOError:
            pass  # it lives on in a child
        return False
