"""What runs beside an environment's runtime: its extensions, from their start to SHUTDOWN (AWS: spec 3.1, 3.4).

One of these belongs to each sandbox. An environment without extensions asks `present` and nothing else, so it pays
nothing for those that others have.
"""

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.invocation import Invocation
from lamplighter.sandbox.contract import Exit, Sandbox
from lamplighter.worker.extension_output import ExtensionOutput
from lamplighter.worker.extensions import Extension, Signal
from lamplighter.worker.extensions_api import ExtensionsApi
from lamplighter.worker.logs import Logs

Reason = Literal["spindown", "timeout", "failure"]

_RUNTIMES_PART = 0.3  # of a shutdown's time: then the runtime that has not heeded SIGTERM is killed (AWS: spec 3.1)


class Listener(Protocol):
    """What the environment hears of."""

    def extension_asked(self) -> None:
        """One waits for its next event."""
        ...

    def extension_failed(self, extension: Extension, exit: Exit | None) -> None:
        """It posted an error (no `exit` yet), or its process is gone."""
        ...


class Company:
    """`sandbox` None: before there is one, and so nobody in it."""

    def __init__(
        self, listener: Listener, function: FunctionVersion, sandbox: Sandbox | None, logs: Logs, clock: Clock
    ) -> None:
        self.api = ExtensionsApi(self, function, () if sandbox is None else sandbox.extensions)
        self.present = bool(self.api.table.all)
        self.waited_for = False  # the runtime has asked for its next event, and they have not
        self._listener = listener
        self._sandbox = sandbox
        self._clock = clock
        self._ending = False
        self.output = ExtensionOutput(logs, clock)
        if sandbox is not None and sandbox.extensions:
            self.output.attach(sandbox.extension_output)
            for name, exited in sandbox.extensions.items():
                exited.add_done_callback(partial(self._exited, self.api.table.named(name)))

    @property
    def settled(self) -> bool:
        return self.api.table.settled

    def invoke(self, invocation: Invocation, deadline: int) -> None:
        """`deadline`: milliseconds since the epoch."""
        self.api.invoke(invocation, deadline)

    def tell(self, hear: Callable[[str, str, list[str], str | None], None]) -> None:
        """Where each stands: name, state, events, error type."""
        for extension in self.api.table.all:
            hear(extension.name, extension.shown, list(extension.events), extension.error_type)

    async def shut_down(self, reason: Reason) -> None:
        """SIGTERM to the runtime, SHUTDOWN to who registered for it; until all of them are gone or their time is up.
        Whoever is left is killed with the sandbox."""
        sandbox, loop = self._sandbox, asyncio.get_running_loop()
        budget = self.api.table.shutdown_budget()
        if sandbox is None or not budget:
            return
        self._ending = True
        until = loop.time() + budget
        await self._end_runtime(sandbox, budget * _RUNTIMES_PART if sandbox.extensions else budget)
        deadline = self._clock.now() + until - loop.time()
        told = self.api.shut_down(reason, int(deadline * 1000))
        exits = [sandbox.extensions[extension.name] for extension in told if extension.name in sandbox.extensions]
        if exits:
            await asyncio.wait(exits, timeout=max(0.0, until - loop.time()))

    async def _end_runtime(self, sandbox: Sandbox, seconds: float) -> None:
        if not sandbox.exited.done():
            sandbox.signal_runtime(signal.SIGTERM)
            await asyncio.wait([sandbox.exited], timeout=seconds)
        if not sandbox.exited.done():
            sandbox.signal_runtime(signal.SIGKILL)

    # What the API hears (extensions_api.Listener)

    def extension_registered(self) -> None:
        self.present = True
        if self._sandbox is not None and self.api.table.registered:
            self._sandbox.start_runtime()

    def extension_asked(self) -> None:
        if not self._ending:
            self._listener.extension_asked()

    def extension_failed(self, extension: Extension) -> None:
        if not self._ending:
            self._listener.extension_failed(extension, None)

    def _exited(self, extension: Extension, exited: asyncio.Future[Exit]) -> None:
        extension.follow(Signal.EXITED)
        if not self._ending:
            self._listener.extension_failed(extension, Exit() if exited.cancelled() else exited.result())
