"""What first calls need is made before them: a function that can be invoked is soon, so its deployment is the time.

Its runtime's fork server starts, if it has none yet; which fork server it needs is found out, as that may mean to look
through its package; and one more empty sandbox waits there for a while. Nobody waits for any of this, and what goes
wrong is for the first call to tell.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.loop import Loop
from lamplighter.store.contract import Changes, Records

WAITING: Final = 1000  # functions that were changed; of more at once none needs to be warm

_log = logging.getLogger(__name__)


class Warming(Loop):
    """`forks`: the fork server of a version, by name. `warm`: the function, the fork server, and whether this is the
    first of its runtime. Use as an async context manager; `stored`: functions that are there already."""

    def __init__(
        self,
        records: Records,
        changes: Changes,
        forks: Callable[[FunctionVersion], Awaitable[str]],
        warm: Callable[[FunctionVersion, str, bool], None],
        stored: Iterable[FunctionVersion] = (),
    ) -> None:
        self._records = records
        self._forks = forks
        self._warm = warm
        self._known: set[str] = set()  # runtimes
        self._seen: dict[FunctionId, int] = {}  # generations
        self._changed: asyncio.Queue[FunctionId] = asyncio.Queue(WAITING)
        for function in stored:
            self._start_runtime(function)
        changes.listen(self._note)

    def _note(self, id: FunctionId) -> None:
        """In the middle of a change that somebody waits for."""
        with contextlib.suppress(asyncio.QueueFull):
            self._changed.put_nowait(id)

    def _start_runtime(self, function: FunctionVersion) -> None:
        if function.runtime is not None and function.runtime not in self._known:
            self._known.add(function.runtime)
            self._warm(function, function.runtime, True)

    async def _go_on(self) -> None:
        while True:
            id = await self._changed.get()
            function = self._records.view(id.account, id.region).version(id.name)
            if function is None:
                self._seen.pop(id, None)
                continue
            self._start_runtime(function)
            unpacked = function.state == "Active" and function.last_update_status != "InProgress"
            if not unpacked or function.runtime is None or self._seen.get(id) == function.generation:
                continue
            self._seen[id] = function.generation
            try:
                self._warm(function, await self._forks(function), False)
            except OSError as error:
                _log.warning("%s could not be made ready for its first call: %s", function.arn, error)
