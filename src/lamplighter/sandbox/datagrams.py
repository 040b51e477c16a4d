"""UDP of one environment: its datagrams go out from a socket per flow, and what comes back is written as a packet.

A flow is who sent from inside and where to. It ends after a minute of silence, or when a newer one needs its place, so
nobody has to say that it is over. Nothing waits here: what can't be sent at once is lost, as datagrams may be.
"""

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from lamplighter.sandbox.packets import Place, datagram, place_of

FLOWS = 256  # of one environment
SILENCE = 60.0  # seconds
TURN = 32  # datagrams of one socket before others have their turn
_SWEEP = 10.0
_LARGEST = 65_535


class Flow(NamedTuple):
    sender: Place  # inside
    wanted: Place


class Datagrams:
    """connect: gives a UDP socket that is connected there, or None: refused. special: takes what it answers itself."""

    def __init__(
        self,
        near: socket.socket,
        raw: list[socket.socket],
        connect: Callable[[Place], socket.socket | None],
        special: Callable[[bytes, Flow], bool],
    ) -> None:
        self._near = near
        self._raw = {one.family: one for one in raw}
        self._connect = connect
        self._special = special
        self._flows: OrderedDict[Flow, socket.socket] = OrderedDict()  # the longest silent first
        self._heard: dict[Flow, float] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(near, self._on_inside)
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def answer(self, flow: Flow, payload: bytes) -> None:
        """To whoever sent from inside, as from where it was sent to."""
        family = socket.AF_INET if len(flow.wanted.address) == 4 else socket.AF_INET6
        if family in self._raw:
            with contextlib.suppress(OSError):
                to = (socket.inet_ntop(family, flow.sender.address), 0)
                self._raw[family].sendto(datagram(flow.wanted, flow.sender, payload), to)

    def close(self) -> None:
        self._loop.remove_reader(self._near)
        for flow in tuple(self._flows):
            self._end(flow)
        for one in (self._near, *self._raw.values()):
            one.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _on_inside(self) -> None:
        for _ in range(TURN):
            try:
                payload, beside, _, sender = self._near.recvmsg(_LARGEST, 256)
            except OSError:
                return
            flow = flow_of(sender, beside)
            if flow is not None and not self._special(payload, flow):
                self._send(flow, payload)

    def _send(self, flow: Flow, payload: bytes) -> None:
        far = self._flows.get(flow)
        if far is None:
            while len(self._flows) >= FLOWS:
                self._end(next(iter(self._flows)))
            far = self._connect(flow.wanted)
            if far is None:
                return
            self._flows[flow] = far
            self._loop.add_reader(far, self._on_outside, flow, far)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(_SWEEP, self._sweep)
        self._touch(flow)
        with contextlib.suppress(OSError):
            far.send(payload)

    def _on_outside(self, flow: Flow, far: socket.socket) -> None:
        for _ in range(TURN):
            try:
                payload = far.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # nobody is there
                self._end(flow)
                return
            self._touch(flow)
            self.answer(flow, payload)

    def _touch(self, flow: Flow) -> None:
        self._flows.move_to_end(flow)
        self._heard[flow] = self._loop.time()

    def _sweep(self) -> None:
        before = self._loop.time() - SILENCE
        while self._flows and self._heard[oldest := next(iter(self._flows))] < before:
            self._end(oldest)
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self._flows else None

    def _end(self, flow: Flow) -> None:
        far = self._flows.pop(flow)
        del self._heard[flow]
        self._loop.remove_reader(far)
        far.close()


def flow_of(sender: tuple[Any, ...], beside: list[tuple[int, int, bytes]]) -> Flow | None:
    """From what the kernel says of a datagram. None where the sender isn't the sandbox's own address: an answer
    couldn't reach it, and would come back here."""
    wanted = None
    for level, _, data in beside:
        (port,) = struct.unpack_from(">H", data, 2)
        wanted = Place(data[4:8] if level == socket.IPPROTO_IP else data[8:24], port)
    if wanted is None:
        return None
    from_ = place_of(sender)
    return Flow(from_, wanted) if from_.is_inside else None
