"""What goes on beside everything else from an object's entry to its exit, as one task that somebody waits for."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Loop(ABC):
    """`async with` has `_go_on` run inside of it. At the end that is cancelled, and when it is over `_finish` does what
    is left to do; what went wrong in it is raised after that."""

    _task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _go_on(self) -> None: ...

    async def _finish(self) -> None:  # noqa: B027  # not everybody has something left
        """Nothing, if nothing is left."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._go_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._finish()
        if task is not None and not task.cancelled():
            task.result()
