"""The server's side of /tmp on the disk: a few file systems ready for each size in use, so that a start takes one that
is there.

They are made by `sandbox/storage.py`. Who comes when there is none waits for one; where none can be made /tmp is in
memory.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass

from lamplighter.sandbox import linux
from lamplighter.sandbox.channel import Channel, close_all
from lamplighter.sandbox.tmp import attach

USUAL = 512  # MB, what nearly everybody has
READY = 3  # of a size in use
AGE = 600.0  # seconds after the last start for which some are kept ready
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


class Stock:
    """Make it with `launch`, give it back with `close`."""

    def __init__(self, channel: Channel, process: "subprocess.Popen[bytes]") -> None:
        self.channel = channel
        self.unable: str | None = None  # why none could be made, when this was tried last
        self.gone = False  # its process died, which another may not
        self._process = process
        self._ready: dict[int, deque[tuple[int, int]]] = defaultdict(deque)  # by size: numbers and mounts
        self._coming: dict[int, int] = defaultdict(int)
        self._used = {USUAL: time.monotonic()}  # sizes, when last
        self._ended = False

    @classmethod
    def launch(cls, directory: str) -> "Stock":
        """directory: where on the disk."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-m", "lamplighter.sandbox.storage", str(theirs.fileno()), directory],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        stock = cls(Channel(ours), process)
        stock.refill()
        return stock

    def take(self, size: int, place: str) -> DiskTmp | None:
        """One that is ready, mounted at `place`; None: it will come, or `unable` says why not. size: MB."""
        self._used[size] = time.monotonic()
        if not self._ready[size]:
            return None
        number, mount = self._ready[size].popleft()
        try:
            attach(mount, place)
        except OSError:
            self.drop(number, None)
            raise
        return DiskTmp(place, number, self)

    def want(self, size: int, count: int) -> None:
        """See to it that so many are ready soon."""
        while not self._ended and len(self._ready[size]) + self._coming[size] < count:
            self._coming[size] += 1
            self.channel.send({"make": size})

    def refill(self) -> bool:
        """Some of what is in use, and no more of what isn't. Gives whether there is something to look after later."""
        now = time.monotonic()
        for size in sorted(self._used, key=self._used.__getitem__, reverse=True)[SIZES:]:
            self._used[size] = 0.0
        for size, used in list(self._used.items()):
            if size == USUAL or now - used < AGE:
                self.want(size, READY)
                continue
            for number, mount in self._ready.pop(size, ()):
                os.close(mount)
                self.drop(number, None)
            del self._used[size]
        return len(self._used) > 1

    def has(self, size: int) -> bool:
        return bool(self._ready[size])

    def receive(self) -> bool:
        """Take one packet. False: nothing more will come, so it is to `end`."""
        packet = self.channel.receive()
        if packet is None:
            self.gone = self.unable is None
            self.unable = self.unable or "the process for it has died; another is started"
            return False
        if "unable" in packet[0]:
            self.unable = packet[0]["unable"]
            return False
        body, mounts = packet
        size = body["made"]
        self._coming[size] -= 1
        self.unable = body.get("reason")
        if self.unable is None:
            self._ready[size].append((body["number"], mounts.pop()))
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
        self._process.kill()

    @property
    def dead(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """All of them have been dropped."""
        self.end()
        try:
            self._process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self.channel.close()
        for ready in self._ready.values():
            close_all([mount for _, mount in ready])
        self._ready.clear()
        self._coming.clear()
