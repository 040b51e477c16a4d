"""What goes on after an answer: a version that was accepted becomes ready, and shows it (AWS: spec 1.4).

The store tells which function changed; a task for each of its unsettled versions prepares the package and moves the
version along the table of `states`, and the RevisionId changes once more. So nobody who accepts a change has to
remember anything, and what a restart interrupted is taken up again at the next start.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from lamplighter.control import snapshots, states
from lamplighter.control.code import Code
from lamplighter.control.states import Event
from lamplighter.model.clock import Clock
from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.store.contract import BlobDamaged, Changes, Functions, StaleWrite, StoreFailed

RETRIES: Final = (0.2, 1.0, 5.0, 10.0)  # seconds before the package is tried again when the disk does not play
STORE_RETRY: Final = 5.0  # seconds until a full disk is tried again
SWEEP_EVERY: Final = 60.0  # seconds

log = logging.getLogger(__name__)


class Settling:
    """Owns its tasks; use as an async context manager, for as long as requests are served. Makes `code` ready first.

    `creation`, `update`: the seconds that each is seen to take at least. AWS needs one to three, and callers count on
    being told that an update is still in progress when they send the next one at once."""

    def __init__(
        self,
        functions: Functions,
        changes: Changes,
        code: Code,
        clock: Clock,
        creation: float = 0.0,
        update: float = 0.2,
        snapshot: snapshots.Snapshot | None = None,
    ) -> None:
        self._functions = functions
        self._changes = changes
        self._code = code
        self._clock = clock
        self._creation = creation
        self._update = update
        self._snapshot = snapshot
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._active: dict[tuple[FunctionId, str], bool] = {}  # versions being settled; True: look at it once more

    async def __aenter__(self) -> Self:
        await self._code.recover()
        self._changes.listen(self._changed)
        self._start(partial(self._look, None))
        self._start(self._code.restore)
        self._start(self._sweep)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """What is not finished is taken up at the next start."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._code.close()

    def _changed(self, id: FunctionId) -> None:
        if not self._closed:
            self._start(partial(self._look, id))

    async def _look(self, id: FunctionId | None) -> None:
        for function in await self._functions.unsettled(id):
            key = (function.id, function.version)
            if key in self._active:
                self._active[key] = True
            else:
                self._active[key] = False
                self._start(partial(self._settle, *key))

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception:  # outermost: a bug must not leave the server, but has to be seen
            log.exception("a change could not be completed; it is tried again at the next start")

    async def _settle(self, id: FunctionId, version: str) -> None:
        key = (id, version)
        try:
            while True:
                self._active[key] = False
                function = await self._functions.get(id, version)
                if function is not None and _is_unsettled(function):
                    await self._finish(function)
                elif not self._active[key]:  # nothing was changed while we read
                    return
        finally:
            del self._active[key]

    async def _finish(self, function: FunctionVersion) -> None:
        """Do what is left to do, and store that it is done; when that fails, to be called again."""
        least = self._creation if function.state == "Pending" else self._update
        until = self._clock.monotonic() + least
        before = await self._functions.serving(function.id, function.version) or function
        event, reason, reason_code = await self._prepare(function)
        on = False
        if self._snapshot is not None and event is Event.SETTLED and snapshots.wanted(function):
            try:
                on = await self._snapshot(function)
            except snapshots.SnapshotFailed as error:
                event, reason, reason_code = Event.BROKEN, error.reason, error.code
        await asyncio.sleep(max(0.0, until - self._clock.monotonic()))
        settled = replace(
            states.after(function, event, reason, reason_code), revision=str(uuid.uuid4()), snap_start_on=on
        )
        # What failed to become Active has nothing before it, and is told as what it is.
        serve = "this" if event is Event.SETTLED or function.state == "Pending" else "before"
        try:
            await self._functions.replace(settled, function.revision, serve)
        except StaleWrite:  # most likely it was deleted meanwhile
            await self._code.free(_digests(function))
        except StoreFailed:
            await asyncio.sleep(STORE_RETRY)
        else:
            await self._code.free(_digests(before) - _digests(settled))

    async def _prepare(self, function: FunctionVersion) -> tuple[Event, str, str]:
        for pause in (*RETRIES, None):
            try:
                for digest in _digests(function):
                    await self._code.ensure(digest)
            except (FileNotFoundError, BlobDamaged, InvalidParameterValueException) as error:
                log.error("the package of %s cannot be used: %s", function.arn, error)
                return Event.BROKEN, "The deployment package is damaged; upload it again.", "InvalidZipFileException"
            except OSError as error:
                log.error("the package of %s cannot be unpacked: %s", function.arn, error)
                if pause is not None:
                    await asyncio.sleep(pause)
            else:
                return Event.SETTLED, "", ""
        return Event.BROKEN, "The deployment package could not be unpacked.", "InternalError"

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await self._code.sweep()


def _digests(function: FunctionVersion) -> set[str]:
    return {function.code.digest, *(layer.package.digest for layer in function.layers)}


def _is_unsettled(function: FunctionVersion) -> bool:
    return function.state == "Pending" or function.last_update_status == "InProgress"
