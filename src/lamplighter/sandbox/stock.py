"""The server's side of /tmp on the disk: some file systems ready for each size in use, so that a start takes one that
is there.

They are made by `sandbox/storage.py`. How many are ready follows the starts: who calls two hundred at once finds none
for most of them, and the next time one for each of as many as are allowed to wait. Who comes when there is none waits;
where none can be made /tmp is in memory.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field

from lamplighter.sandbox import linux, storage
from lamplighter.sandbox.channel import Channel, close_all
from lamplighter.sandbox.tmp import attach

USUAL = 512  # MB, what nearly everybody has
FEWEST = 3  # ready: of the usual size always, of another that is in use
READY = 12  # of the usual size once there have been starts: each takes 2 ms to make, 30 KB of memory and 64 of disk
MOST = 64
AGE = 600.0  # seconds for which a start counts
SIZES = 8  # in use at a time
_CLOSING = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class DiskTmp:
    """tmp.Tmp"""

    place: str
    number: int
    stock: "Stock"
    in_memory: bool = False

    def lend(self) -> int:
        return linux.clone_tree(-100, self.place)

    def drop(self) -> None:
        self.stock.drop(self.number, self.place)


@dataclass(slots=True)
class Shelf:
    """What there is of one size. starts: the last ones, on the monotonic clock; ready: numbers and mounts; coming: how
    many have been asked for."""

    starts: deque[float] = field(default_factory=lambda: deque[float](maxlen=MOST))
    ready: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    coming: int = 0

    def wanted(self, size: int, now: float) -> int:
        """How many are to be ready."""
        lately = sum(now - start < AGE for start in self.starts)
        if not lately:
            return FEWEST if size == USUAL else 0
        return max(lately, READY if size == USUAL else FEWEST)


class Stock:
    """Make it with `launch`, give it back with `close`."""

    def __init__(self, channel: Channel, pid: int) -> None:
        self.channel = channel
        self.unable: str | None = None  # why none could be made, when this was tried last
        self.scarce = False  # the disk has so little left that functions may write less than they asked for
        self.gone = False  # its process died, which another may not
        self.pid = pid
        self._process = os.pidfd_open(pid)
        self._shelves = {USUAL: Shelf()}
        self._ended = False

    @classmethod
    def launch(cls, directory: str) -> "Stock":
        """directory: where on the disk."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            pid = os.fork()
            if pid == 0:
                storage.run(theirs.fileno(), directory)
        stock = cls(Channel(ours), pid)
        stock.want(USUAL, FEWEST)
        return stock

    def take(self, size: int, place: str) -> DiskTmp | None:
        """One that is ready, mounted at `place`; None: it will come, or `unable` says why not. size: MB."""
        shelf = self._shelves.setdefault(size, Shelf())
        shelf.starts.append(time.monotonic())
        if not shelf.ready:
            return None
        number, mount = shelf.ready.popleft()
        try:
            attach(mount, place)
        except OSError:
            self.drop(number, None)
            raise
        return DiskTmp(place, number, self)

    def want(self, size: int, count: int) -> None:
        """See to it that so many are ready soon."""
        shelf = self._shelves.setdefault(size, Shelf())
        while not self._ended and len(shelf.ready) + shelf.coming < count:
            shelf.coming += 1
            self.channel.send({"make": size})

    def refill(self) -> bool:
        """As many as are wanted of each size, and no more. Gives whether there will be too many later."""
        now = time.monotonic()
        in_use = sorted(self._shelves, key=lambda size: max(self._shelves[size].starts, default=0.0), reverse=True)
        for size in in_use:
            shelf = self._shelves[size]
            wanted = shelf.wanted(size, now) if size == USUAL or size in in_use[:SIZES] else 0
            self.want(size, wanted if self.unable is None else min(wanted, 1))
            while len(shelf.ready) > wanted:
                number, mount = shelf.ready.pop()
                os.close(mount)
                self.drop(number, None)
            if not wanted and not shelf.coming:
                del self._shelves[size]
        return any(shelf.starts for shelf in self._shelves.values())

    def has(self, size: int) -> bool:
        return size in self._shelves and bool(self._shelves[size].ready)

    def receive(self) -> bool:
        """Take one packet. False: nothing more will come, so it is to `end`."""
        packet = self.channel.receive()
        if packet is None:
            self.gone = self.unable is None
            self.unable = self.unable or "the process for it has died; another is started"
            return False
        body, mounts = packet
        if "unable" in body:
            self.unable = body["unable"]
            return False
        if "scarce" in body:
            self.scarce = body["scarce"]
            return True
        shelf = self._shelves[body["made"]]
        shelf.coming -= 1
        self.unable = body.get("reason")
        if self.unable is None:
            shelf.ready.append((body["number"], mounts.pop()))
        close_all(mounts)
        return True

    def drop(self, number: int, place: str | None) -> None:
        if not self._ended:
            self.channel.send({"drop": number, "place": place})
        elif place is not None:
            with contextlib.suppress(OSError):
                linux.unmount(place)
                os.rmdir(place)

    def lose(self) -> None:
        """Those in use stay."""
        self.end()
        self._kill()

    @property
    def dead(self) -> bool:
        return self._ends_within(0)

    def close(self) -> None:
        """All of them have been dropped, or it is dead."""
        self.end()
        if not self._ends_within(_CLOSING):
            self._kill()
            self._ends_within(None)
        with contextlib.suppress(ChildProcessError):  # reaped with its group
            os.waitpid(self.pid, 0)
        os.close(self._process)

    def _ends_within(self, seconds: float | None) -> bool:
        waiting = select.poll()
        waiting.register(self._process, select.POLLIN)
        return bool(waiting.poll(None if seconds is None else seconds * 1000))

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.channel.close()
        for shelf in self._shelves.values():
            close_all([mount for _, mount in shelf.ready])
        self._shelves.clear()
