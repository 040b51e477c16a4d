"""The process that makes /tmp on the disk: a child of the sandbox server, so that nobody but who needs a disk waits for
one.

It is asked over a packet socket. {"make": MB} is answered by {"made": MB, "number": N} with a detached mount, or by
{"made": MB, "reason": text}; {"drop": N, "place": path} unmounts it there and gives it back. While the disk has plenty
everybody may write what was asked for; when it has not, what is left is handed out by and by, and a part of it only to
who has little. What the host needs is never touched: this is the bound over all of them.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from lamplighter.sandbox import linux
from lamplighter.sandbox.channel import Channel
from lamplighter.sandbox.disk import MB, Disk, Image, Room

MAKERS, DROPPERS = 3, 3  # threads; the kernel's waiting is most of the work
LOOK = 0.5  # seconds between two looks at the disk
PLENTY = 8 << 30  # bytes beyond the reserve; more than a disk takes between two looks
RESERVE, MOST_RESERVED = 10, 10 << 30  # a tenth of the disk, but no more than this, stays free
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


class Storage:
    def __init__(self, channel: Channel, disk: Disk) -> None:
        self._channel = channel
        self._disk = disk
        self._images: dict[int, Image] = {}
        self._last_number = 0
        self._held = False  # some may write less than they asked for
        self._lock = threading.Lock()  # over all of the above
        self._makers = ThreadPoolExecutor(MAKERS)
        self._droppers = ThreadPoolExecutor(DROPPERS)

    def serve(self) -> None:
        """Until the server is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while True:
                if selector.select(LOOK if self._images else None):
                    packet = self._channel.receive()
                    if packet is None:
                        self._droppers.shutdown()
                        return
                    body, _ = packet
                    if "make" in body:
                        self._makers.submit(self._make, body["make"])
                    else:
                        self._droppers.submit(self._drop, body["drop"], body["place"])
                self._look()

    def _make(self, size: int) -> None:
        try:
            room = self._disk.room()
            with self._lock:
                growth = allowance(room, 0, len(self._images))
            if growth is not None and growth < LITTLE:
                raise OSError(0, "the disk is nearly full")
            image = self._disk.image(size)
            if growth is not None:
                image.hold(growth)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            with self._lock:
                self._channel.send({"made": size, "reason": f"{error.strerror}{where}"})
            return
        with self._lock:
            self._last_number += 1
            self._images[self._last_number] = image
            self._held |= growth is not None
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
            self._held = scarce
            for image in images:
                taken = image.taken()
                growth = allowance(room, taken, len(images) - 1)
                image.hold(image.size if growth is None else taken + growth)


def main() -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        disk = Disk(sys.argv[2])
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        channel.send({"unable": f"{error.strerror}{where}"})
        return
    Storage(channel, disk).serve()
    os._exit(0)  # whatever a maker still waits for


if __name__ == "__main__":
    main()
