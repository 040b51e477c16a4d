"""Event loops of asyncio that an init made and left for the handler, made again in a copy: their epoll and the pair of
sockets by which they are woken are the kernel's, and a copy comes without descriptors.

What a loop has in memory stays: tasks, callbacks, its place as the current one. One that watches more than its own
socket, or signals, is not copied: what it watches would be gone.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from typing import Any


class Loops:
    """Those that are open now. To be made before the collector is told to forget what there is."""

    def __init__(self) -> None:
        kinds: Any = sys.modules.get("asyncio.selector_events")
        selectors: Any = sys.modules.get("selectors")
        self._loops: list[Any] = []
        self._selector: Any = getattr(selectors, "EpollSelector", None)
        self.strange = False  # there is one that can't be made again
        if kinds is not None:
            found = [one for one in gc.get_objects() if isinstance(one, kinds.BaseSelectorEventLoop)]
            self._loops = [loop for loop in found if not loop.is_closed()]
            self.strange = not all(map(self._can_be_made, self._loops))

    @property
    def descriptors(self) -> frozenset[int]:
        """The numbers of their epolls."""
        return frozenset() if self.strange else frozenset(loop._selector.fileno() for loop in self._loops)

    def make_again(self) -> None:
        """Once all other descriptors have their numbers again."""
        for loop in self._loops:
            selector, loop._selector = loop._selector, None
            with suppress(OSError):  # its descriptor is closed, of which the object knows nothing
                selector.close()
        for loop in self._loops:
            loop._selector = self._selector()
            for end in (loop._ssock, loop._csock):
                end.close()
            loop._internal_fds -= 1
            loop._make_self_pipe()

    def _can_be_made(self, loop: Any) -> bool:
        try:
            alone = set(loop._selector.get_map()) == {loop._ssock.fileno()}
            return type(loop._selector) is self._selector and alone and not loop._signal_handlers
        except (AttributeError, RuntimeError):  # a loop of somebody else's, made differently
            return False
