"""The process that makes /tmp on the disk: a fork of the sandbox server, so that nobody but who needs a disk waits for
one, and that shares its memory.

It is asked over a packet socket. {"make": MB} is answered by {"made": MB, "number": N} with a detached mount, or by
{"made": MB, "reason": text}; {"drop": N, "place": path} unmounts it there and gives it back. While the disk has plenty
everybody may write what was asked for; when it has not, it says {"scarce": true}, what is left is handed out by and by,
and a part of it only to who has little. What the host needs is never touched: this is the bound over all of them.
"""

import contextlib
import errno
import os
import queue
import selectors
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from lamplighter.sandbox import linux
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.disk import MB, Disk, Image, Room

MAKERS, DROPPERS = 3, 3  # threads; the kernel's waiting is most of the work
LOOK = 0.5  # seconds between two looks at the disk
PLENTY = 8 << 30  # bytes beyond the reserve; more than a disk takes between two looks
RESERVE, MOST_RESERVED = 10, 10 << 30  # a tenth of the disk, but no more than this, stays free
_CHANNEL = 3
NAME = "lamplighter-tmp"  # in lists of processes, where it would be another sandbox server
LITTLE = 64 * MB  # whoever has less than this may still write when those with more may not


def allowance(room: Room, taken: int, others: int) -> int | None:
    """Bytes that a file system which has `taken` may grow until the next look, among so many; None: as it likes."""
    reserve = min(room.total // RESERVE, MOST_RESERVED)
    left = room.free - reserve
    if left >= PLENTY:
        return None
    if left <= 0 or (left < reserve and taken >= LITTLE):
        return 0
    return left // (others + 1)


def growth_of_a_new_one(room: Room, others: int) -> int | None:
    """`allowance`. Raises OSError when it would be too little to begin with."""
    growth = allowance(room, 0, others)
    if growth is not None and growth < LITTLE:
        raise OSError(errno.ENOSPC, "the disk is nearly full; make room there, or choose another --data-dir")
    return growth


class _Crew:
    """Threads that do one thing after the other."""

    def __init__(self, number: int) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def give(self, work: Callable[[], None]) -> None:
        self._work.put(work)

    def finish(self) -> None:
        """Return when all that was given is done."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while work := self._work.get():
            work()


class Storage:
    def __init__(self, channel: Channel, disk: Disk) -> None:
        self._channel = channel
        self._disk = disk
        self._images: dict[int, Image] = {}
        self._last_number = 0
        self._held = False  # some may write less than they asked for
        self._lock = threading.Lock()  # over all of the above
        self._makers = _Crew(MAKERS)
        self._droppers = _Crew(DROPPERS)

    def serve(self) -> None:
        """Until the server is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while True:
                if selector.select(LOOK if self._images else None):
                    packet = self._channel.receive()
                    if packet is None:
                        self._droppers.finish()
                        return
                    body, _ = packet
                    if "make" in body:
                        self._makers.give(partial(self._make, body["make"]))
                    else:
                        self._droppers.give(partial(self._drop, body["drop"], body["place"]))
                self._look()

    def _make(self, size: int) -> None:
        try:
            room = self._disk.room()
            with self._lock:
                growth = growth_of_a_new_one(room, len(self._images))
            image = self._disk.image(size)
            if growth is not None:
                image.hold(growth)
        except OSError as error:
            with self._lock:
                self._channel.send({"made": size, "reason": _text(error)})
            return
        with self._lock:
            self._last_number += 1
            self._images[self._last_number] = image
            self._hold(self._held or growth is not None)
            self._channel.send({"made": size, "number": self._last_number}, [os.dup(image.mount)])

    def _drop(self, number: int, place: str | None) -> None:
        with self._lock:
            image = self._images.pop(number)
        if place is not None:
            with contextlib.suppress(OSError):
                linux.unmount(place)
                os.rmdir(place)
        image.close()

    def _look(self) -> None:
        room = self._disk.room()
        with self._lock:
            images = list(self._images.values())
            scarce = bool(images) and allowance(room, 0, len(images) - 1) is not None
            if not scarce and not self._held:
                return
            self._hold(scarce)
            for image in images:
                taken = image.taken()
                growth = allowance(room, taken, len(images) - 1)
                image.hold(image.size if growth is None else taken + growth)

    def _hold(self, held: bool) -> None:
        """With the lock."""
        if held != self._held:
            self._held = held
            self._channel.send({"scarce": held})


def run(server: int, directory: str) -> NoReturn:
    """In a child of the sandbox server's, of whose world it keeps the mounts. server: the descriptor of the channel."""
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        Path("/proc/self/comm").write_text(NAME)
        os.dup2(server, _CHANNEL)
        linux.close_from(_CHANNEL + 1)
        channel = Channel(socket.socket(fileno=_CHANNEL))
        try:
            disk = Disk(directory)
        except OSError as error:
            channel.send({"unable": _text(error)})
            while channel.receive():  # with a request unread at our end, what we have said would be lost
                pass
        else:
            Storage(channel, disk).serve()
        os._exit(0)  # whatever a maker still waits for
    finally:
        os._exit(1)


def _text(error: OSError) -> str:
    return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
