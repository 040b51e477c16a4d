"""What an invocation waits for: a future that goes on with whoever awaits it at once, not in the loop's next turn.

Every turn of the loop costs a look at all sockets, and a warm invocation would take two of them for nothing. Tasks can
await an Answer like any future; the front door goes without a task and takes the callback itself.
"""

import asyncio
import contextvars
from collections.abc import Callable, Generator
from typing import Any

from lamplighter.model.invocation import Outcome


class Answer:
    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_error", "_loop", "_outcome")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False  # part of asyncio's protocol between futures and tasks
        self._loop = loop
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._callback: Callable[[Answer], object] | None = None
        self._context: contextvars.Context | None = None

    def done(self) -> bool:
        return self._outcome is not None or self._error is not None

    @property
    def taken_at_once(self) -> bool:
        """Whether who waits is no task: it only passes the outcome on."""
        return self._callback is not None and self._context is None

    def give(self, outcome: Outcome) -> None:
        """Whoever awaits it goes on before this returns, unless we are in some other task's step."""
        if self.done():
            return
        self._outcome = outcome
        callback = self._callback
        if callback is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self._call_soon()
        elif self._context is None:
            callback(self)
        else:
            self._context.run(callback, self)

    def fail(self, error: BaseException) -> bool:
        """Let the awaiting side raise `error`; False if it is too late."""
        if self.done():
            return False
        self._error = error
        self._call_soon()
        return True

    # As asyncio's tasks use futures

    def __await__(self) -> Generator["Answer", None, Outcome]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def result(self) -> Outcome:
        if self._error is not None:
            raise self._error
        if self._outcome is None:
            raise asyncio.InvalidStateError("not answered")
        return self._outcome

    def add_done_callback(
        self, callback: "Callable[[Answer], object]", *, context: contextvars.Context | None = None
    ) -> None:
        """One at a time: an answer has one who waits for it."""
        self._callback = callback
        self._context = context
        if self.done():
            self._call_soon()

    def remove_done_callback(self, callback: "Callable[[Answer], object]") -> int:
        removed = int(self._callback == callback)
        if removed:
            self._callback = None
        return removed

    def cancel(self, msg: Any | None = None) -> bool:
        return self.fail(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def _call_soon(self) -> None:
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)
