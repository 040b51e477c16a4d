"""TCP of one environment: a connection is held at its first packet until the one outside stands, or it is known that it
won't: so a function's connect() succeeds, is refused, finds no way or waits, as if there were no relay.

Held packets come by taps, which see nothing else. One that may go on is given to the kernel again, by a raw socket
whose mark lets it through to the listener here; the kernel itself asks again for those that get no answer.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from lamplighter.sandbox import packets, streams
from lamplighter.sandbox.packets import Opening, Place
from lamplighter.sandbox.reach import Address

RATE, BURST = 256, 512  # connections in a second, and ahead of that. Below what uses up the host's ports for one place
TURN = 16  # connections of one environment before others have their turn
CONNECT_LIMIT = 30.0  # seconds; then it is for the function's kernel to ask again
_LET_IN_LIMIT = 2.0  # seconds; who is still there takes microseconds
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT})
_Ends = tuple[Place, Place]


class Pace:
    """So many at once, then so many in a second."""

    def __init__(self, now: float, rate: float = RATE, burst: float = BURST) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def wait(self, now: float) -> float:
        """Seconds until there may be one more; 0: it has been taken."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0

    def give_back(self) -> None:
        """What was taken and not needed."""
        self._left += 1


class Connections:
    """places: where a connection leads, one after the other; none: it may not be reached.
    admit: whether there may be one more. free: called with what is taken (1) or given back (-1)."""

    def __init__(
        self,
        listener: socket.socket,
        taps: Sequence[socket.socket],
        raw: Sequence[socket.socket],
        places: Callable[[Address, int], Sequence[Address | str]],
        admit: Callable[[int], bool],
        count: Callable[[int], None],
    ) -> None:
        """raw: others' to close."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._taps = taps
        self._raw = {4 if one.family == socket.AF_INET else 16: one for one in raw}
        self._places = places
        self._admit = admit
        self._count = count
        self._pace = Pace(self._loop.time())
        self._held: dict[_Ends, asyncio.Task[None]] = {}
        self._awaited: dict[_Ends, asyncio.Future[socket.socket]] = {}
        self._resting: asyncio.TimerHandle | None = None
        self._loop.add_reader(listener, self._on_connections)
        self._listen()

    def close(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        for one in (self._listener, *self._taps):
            self._loop.remove_reader(one)
            one.close()
        for task in tuple(self._held.values()):
            task.cancel()

    def _listen(self) -> None:
        for tap in self._taps:
            self._loop.add_reader(tap, self._on_openings, tap)

    def _on_openings(self, tap: socket.socket) -> None:
        for _ in range(TURN):
            if wait := self._pace.wait(self._loop.time()):
                self._rest(wait)
                return
            try:
                opening = packets.opening_of(tap.recv(packets.LONGEST))
            except OSError:
                self._pace.give_back()
                return
            if opening is None or (opening.sender, opening.wanted) in self._held:  # or asked again
                self._pace.give_back()
            else:
                self._take(opening)

    def _rest(self, seconds: float) -> None:
        """What comes meanwhile waits in the kernel, as far as there is room."""
        for tap in self._taps:
            self._loop.remove_reader(tap)
        self._resting = self._loop.call_later(seconds, self._listen)

    def _take(self, opening: Opening) -> None:
        places = self._places(ipaddress.ip_address(opening.wanted.address), opening.wanted.port)
        if not places:
            self._send(packets.unreachable(opening), opening.sender)
        elif not self._admit(len(self._held)):
            self._send(packets.reset(opening), opening.sender)
        else:
            self._own((opening.sender, opening.wanted), self._relay(opening, places))

    def _own(self, ends: _Ends, work: Coroutine[Any, Any, None]) -> None:
        task = self._held[ends] = self._loop.create_task(work)
        self._count(1)

        def over(_: "asyncio.Task[None]") -> None:
            del self._held[ends]
            self._count(-1)

        task.add_done_callback(over)

    async def _relay(self, opening: Opening, places: Sequence[Address | str]) -> None:
        failure: OSError | None = None
        for place in places:
            try:
                far = await streams.connect(place, opening.wanted.port, CONNECT_LIMIT / len(places))
            except OSError as error:
                failure = error
                continue
            near = await self._let_in(opening, far)
            if near is not None:
                await streams.join(near, far)
            return
        if isinstance(failure, ConnectionRefusedError):
            self._send(packets.reset(opening), opening.sender)
        elif failure is not None and failure.errno in _NO_WAY:
            self._send(packets.unreachable(opening), opening.sender)

    async def _let_in(self, opening: Opening, far: socket.socket) -> socket.socket | None:
        """The function's end of the connection. None, and the other end is closed: it no longer wants one."""
        ends = (opening.sender, opening.wanted)
        awaited = self._awaited[ends] = self._loop.create_future()
        near = None
        try:
            self._send(packets.again(opening), opening.wanted)
            async with asyncio.timeout(_LET_IN_LIMIT):
                near = await awaited
        except TimeoutError:
            pass
        finally:
            del self._awaited[ends]
            if near is None:
                far.close()
                if awaited.done() and not awaited.cancelled():
                    awaited.result().close()
        return near

    def _on_connections(self) -> None:
        for _ in range(TURN):
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            near.setblocking(False)
            try:
                awaited = self._awaited.get(
                    (packets.place_of(near.getpeername()), packets.place_of(near.getsockname()))
                )
            except OSError:  # it has gone already
                awaited = None
            if awaited is None or awaited.done():
                streams.refuse(near)
            else:
                awaited.set_result(near)

    def _send(self, packet: bytes, to: Place) -> None:
        """What the kernel has no room for is lost, as on any network."""
        if raw := self._raw.get(len(to.address)):
            family = socket.AF_INET if len(to.address) == 4 else socket.AF_INET6
            with contextlib.suppress(OSError):
                raw.sendto(packet, (socket.inet_ntop(family, to.address), 0))
