"""The sandbox server's templates: for each a keeper, and the copies that it makes (`keeper.py` says how).

Knows processes only: what is a template is the service's decision, and what a copy is given comes as with any start.
"""

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lamplighter.sandbox import linux
from lamplighter.sandbox.channel import Channel, Malformed, close_all
from lamplighter.sandbox.keeper import Keeper

_GRACE = 0.5  # seconds in which a keeper should end by itself
_FIRST = 3  # the descriptors of a keeper: its channel, then that to the template's process A


@dataclass(slots=True)
class Watched:
    """What the server's loop is to call when the descriptor is readable."""

    ready: Callable[[], None]


@dataclass(slots=True)
class KeeperProcess:
    """pending: copies that are being made, by the number of their record. held: whether it has told that it holds."""

    pid: int
    channel: Channel
    template: int  # the service's id of the sandbox
    pending: set[int] = field(default_factory=set[int])
    held: bool = False
    spares: deque[Any] = field(default_factory=deque[Any])  # records of copies that nobody needs yet


class Templates:
    """tell: sends to the service. ended: is told the number of a copy's record once it is gone, or never came to be,
    and why. standing: is told that copies of one more can be made. dying: takes the process groups of keepers, as
    negative numbers, to be reaped. thaw: is given the line of a template's copies, all of which are to be thawed."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        tell: Callable[[dict[str, Any]], None],
        ended: Callable[[int, str | None], None],
        standing: Callable[[], None],
        dying: list[int],
        way_out: dict[str, bytes] | None,
        thaw: Callable[[deque[Any]], None],
    ) -> None:
        self._selector = selector
        self._tell = tell
        self._ended = ended
        self._standing = standing
        self._dying = dying
        self._way_out = way_out
        self._thaw = thaw
        self._keepers: dict[int, KeeperProcess] = {}  # by the number of the template's record
        self._copies: dict[int, int] = {}  # pidfds, by number of record
        self._unwanted: set[int] = set()  # copies to be ended as soon as they are there
        self._leaving: list[tuple[int, float]] = []  # keepers that are to end by themselves, and until when

    def hold(self, number: int, name: int, parent: Channel) -> None:
        """Of the sandbox with record `number`, which the service knows by `name`. Takes the channel to its A over."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                _become_keeper(theirs.fileno(), parent.fileno(), self._way_out)
        with contextlib.suppress(OSError):  # here too, as nobody knows who comes first; and it may be dead by now
            os.setpgid(pid, pid)
        parent.close()
        ours.setblocking(False)
        self._keepers[number] = KeeperProcess(pid, Channel(ours), name)
        self._selector.register(ours, selectors.EVENT_READ, Watched(lambda: self._hear(number)))

    def spares(self, number: int) -> deque[Any] | None:
        """The copies that wait, of the template with that record; None if it is none that copies can be made of."""
        keeper = self._keepers.get(number)
        return keeper.spares if keeper is not None and keeper.held else None

    def prepare(self, template: int, number: int, order: dict[str, Any], groups: list[int]) -> None:
        """A copy of the template with that record, as the one with record `number`. Takes the descriptors over."""
        keeper = self._keepers[template]
        keeper.pending.add(number)
        keeper.channel.send({**order, "prepare": number}, groups)

    def go(self, template: int, number: int, variables: Mapping[str, str], ends: list[int]) -> None:
        """Let it run. Takes the descriptors over."""
        self._keepers[template].channel.send({"go": number, "variables": variables}, ends)

    @property
    def held(self) -> list[tuple[int, deque[Any]]]:
        """Templates that copies can be made of now: the number of the record, and the copies that wait."""
        return [(number, keeper.spares) for number, keeper in self._keepers.items() if keeper.held]

    def end(self, number: int) -> None:
        """Of a copy: its process 1 is killed, and the kernel kills the rest."""
        pidfd = self._copies.get(number)
        if pidfd is None:
            self._unwanted.add(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def forget(self, number: int) -> None:
        """The template's sandbox is gone, and its copies with it."""
        keeper = self._keepers.get(number)
        if keeper is not None:
            self._lost(number, keeper)

    def tidy(self) -> None:
        """Interrupt keepers that wait for what a dead template does no more: what they hold can't be gone before."""
        now = time.monotonic()
        waiting = [(pid, until) for pid, until in self._leaving if -pid in self._dying]
        for pid, until in waiting:
            if now >= until:
                with contextlib.suppress(ProcessLookupError):  # its number is nobody else's while its group is there
                    os.kill(pid, signal.SIGALRM)
        self._leaving = [(pid, until) for pid, until in waiting if now < until]

    def _hear(self, number: int) -> None:
        keeper = self._keepers[number]
        try:
            packet = keeper.channel.receive()
        except BlockingIOError:
            return
        except Malformed:
            packet = None
        if packet is None:
            self._lost(number, keeper)
            return
        body, descriptors = packet
        if "prepared" in body:
            copy = body["prepared"]
            keeper.pending.discard(copy)
            pidfd = self._copies[copy] = descriptors.pop()
            self._selector.register(pidfd, selectors.EVENT_READ, Watched(lambda: self._gone(copy)))
            if copy in self._unwanted:
                self._unwanted.discard(copy)
                self.end(copy)
        elif "failed" in body:
            keeper.pending.discard(body["failed"])
            self._ended(body["failed"], None)
        else:  # held, template, unfit, lost
            if "template" in body:
                keeper.held = True
                self._standing()
            self._tell({"type": next(iter(body)), "id": keeper.template, "reason": next(iter(body.values()))})
        close_all(descriptors)

    def _gone(self, copy: int) -> None:
        pidfd = self._copies.pop(copy)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        self._ended(copy, None)

    def _lost(self, number: int, keeper: KeeperProcess) -> None:
        """Without its keeper a template is dead, and no copy can be made; those that there are live as long as A. At
        the end of file it exits by itself; `tidy` sees to those that wait for ever. If it was killed in the middle of
        making a copy, who furnished that is ours to reap: else it would stay a zombie in the copy's pid namespace,
        which the kernel keeps until it is reaped, and with it the template's."""
        del self._keepers[number]
        self._selector.unregister(keeper.channel)
        keeper.channel.close()
        self._dying.append(-keeper.pid)
        self._leaving.append((keeper.pid, time.monotonic() + _GRACE))
        self._thaw(keeper.spares)  # the kernel kills them now, which a frozen one would not heed
        for copy in tuple(keeper.pending):
            self._ended(copy, "the template that it was to be a copy of is gone")


def _become_keeper(server: int, parent: int, way_out: dict[str, bytes] | None) -> NoReturn:
    try:
        os.setpgid(0, 0)  # with all that it forks, so that the server can reap what it leaves
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST + 2) for descriptor in (server, parent)]
        for number, descriptor in enumerate(moved, _FIRST):
            os.dup2(descriptor, number, inheritable=False)
        linux.close_from(_FIRST + 2)
        first, second = (Channel(socket.socket(fileno=number)) for number in (_FIRST, _FIRST + 1))
        Keeper(first, second, way_out).run()
    finally:
        os._exit(1)
