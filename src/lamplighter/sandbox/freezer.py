"""To freeze and thaw a sandbox, from the service: one write to a descriptor that the sandbox server has handed out.

A hop to the server, which owns the control groups, would cost a call that finds its environment frozen several times
what the thaw itself takes. Version 1 of control groups is written to at once. Version 2 takes the kernel's lock on all
control groups, which a process that joins one may hold for 20 ms: so a thread of its own does that, in order, and the
event loop does not wait.
"""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lamplighter.sandbox.cgroup import FREEZER, Version


class Freezing:
    """How all sandboxes of a server are written to: the thread, from its first use on."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._closed = False

    def do(self, version: Version, what: Callable[[], None]) -> None:
        if version == 1 or self._closed:
            what()
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "freezer")
        self._thread.submit(what)

    def close(self) -> None:
        """Once all that was asked for is done."""
        self._closed = True
        if self._thread is not None:
            self._thread.shutdown()


class Freezer:
    """Of one sandbox. `descriptor` is its own to close."""

    def __init__(self, descriptor: int, version: Version, freezing: Freezing) -> None:
        self._descriptor = descriptor
        self._version: Version = version
        self._freezing = freezing
        self._frozen = False

    def freeze(self) -> None:
        if not self._frozen:
            self._frozen = True
            self._freezing.do(self._version, self._freeze)

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._freezing.do(self._version, self._thaw)

    def close(self) -> None:
        self._freezing.do(self._version, self._close)

    def _freeze(self) -> None:
        self._write(FREEZER[self._version][1])

    def _thaw(self) -> None:
        self._write(FREEZER[self._version][2])

    def _close(self) -> None:
        os.close(self._descriptor)

    def _write(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # ENODEV: its cgroup is gone
            os.pwrite(self._descriptor, word, 0)
