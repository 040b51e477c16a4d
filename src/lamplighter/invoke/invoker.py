"""The invoker: the only way to run code. Sync calls, queued events, event sources and streams all meet here.

Resolves a function and qualifier to a version (from memory; the store's changes drop what is no longer true), refuses
what cannot run, and runs the rest in an environment that the assignment hands out.
"""

import asyncio
import logging

from lamplighter.invoke.contract import Assignment
from lamplighter.model.errors import ResourceConflictException, ResourceNotFoundException
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.store.contract import Changes, Functions

_log = logging.getLogger(__name__)


class Invoker:
    def __init__(self, functions: Functions, changes: Changes, assignment: Assignment) -> None:
        self._functions = functions
        self._assignment = assignment
        self._versions: dict[FunctionId, dict[str, FunctionVersion]] = {}  # only what can run
        self._changes = 0  # how many there were: what was read before the last one is not kept
        self._retiring: set[asyncio.Task[None]] = set()
        changes.listen(self._changed)

    async def resolve(self, id: FunctionId, qualifier: str | None) -> FunctionVersion:
        """The version to run. Raises ResourceNotFoundException if there is none, ResourceConflictException if it can't
        run now (AWS: spec 1.4)."""
        version = qualifier or LATEST
        known = self._versions.get(id)
        if known is not None and (found := known.get(version)) is not None:
            return found
        before = self._changes
        function = await self._functions.serving(id, version)
        if function is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}:{version}")
        if function.state != "Active":
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {function.state}"
            )
        if before == self._changes:
            self._versions.setdefault(id, {})[version] = function
        return function

    async def invoke(self, function: FunctionVersion, invocation: Invocation) -> Outcome:
        """Run it once. A failing function is an Outcome; raises TooManyRequestsException when a limit says no,
        WorkerError when no environment can be made."""
        async with self._assignment.environment(function) as environment:
            return await environment.run(invocation)

    async def close(self) -> None:
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=5.0)

    def _changed(self, id: FunctionId) -> None:
        self._changes += 1
        known = self._versions.pop(id, None)
        if known:
            task = asyncio.get_running_loop().create_task(self._retire(id, tuple(known)))
            self._retiring.add(task)
            task.add_done_callback(self._retired)

    async def _retire(self, id: FunctionId, versions: tuple[str, ...]) -> None:
        """End the environments of what is no longer current, without waiting for the next invocation to notice."""
        for version in versions:
            function = await self._functions.serving(id, version)
            self._assignment.retire(f"{id.arn}:{version}", function.generation if function is not None else None)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("environments could not be retired", exc_info=error)
