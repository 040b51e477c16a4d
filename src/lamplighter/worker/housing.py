"""What an environment lives in: the sandbox in hand, and all that is plugged into it.

That is its Runtime API and those of its extensions, its log's pipes, the X-Ray daemon's address, the way to the
service's own API. One sandbox may follow the other (`environment.py` says when); what is let go is heard no more, but
told to end in its own time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionVersion
from lamplighter.sandbox.contract import Sandbox, SandboxError
from lamplighter.worker import company, runtime_turns
from lamplighter.worker.company import Company, Reason
from lamplighter.worker.contract import Reach
from lamplighter.worker.logs import Logs
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.runtime_api import RuntimeApi
from lamplighter.worker.telemetry_api import Refused, TelemetryApi
from lamplighter.worker.telemetry_subscription import Api
from lamplighter.worker.xray_daemon import Take, XRayDaemon

_FLUSH = 0.5  # seconds that telemetry's last events may take to be delivered

_log = logging.getLogger(__name__)


class Gone(NamedTuple):
    """What an environment has let go and somebody takes down, whatever it has in hand by then."""

    sandbox: Sandbox | None
    company: Company
    reason: Reason
    telemetry: TelemetryApi | None


class Listener(runtime_turns.Listener, company.Listener, Protocol):
    """The environment."""


class Housing:
    def __init__(
        self,
        listener: Listener,
        function: FunctionVersion,
        start_sandbox: Callable[[Sandbox | None], Awaitable[Sandbox]],
        logs: Logs,
        platform: PlatformLog,
        clock: Clock,
        metadata: Metadata | None,
        segments: Take | None,
        reach: Reach | None,
    ) -> None:
        self.sandbox: Sandbox | None = None
        self.former: Sandbox | None = None  # ended, with its /tmp kept for the next
        self.company = Company(listener, function, None, logs, clock)  # of the sandbox in hand
        self.reason: Reason = "spindown"  # why that one is let go
        self.telemetry: TelemetryApi | None = None  # from the first subscription on
        self.api = RuntimeApi(listener, metadata)
        self._listener = listener
        self._function = function
        self._start_sandbox = start_sandbox
        self._logs = logs
        self._platform = platform
        self._clock = clock
        self._metadata = metadata
        self._reach = reach
        self._daemon = XRayDaemon(segments)

    async def make(self) -> Sandbox:
        """One more, which takes over the /tmp of the one before. Raises SandboxError."""
        former, self.former = self.former, None
        return await self._start_sandbox(former)

    async def take(self, sandbox: Sandbox, restoring: bool) -> None:
        """It is the one in hand from here on. `restoring`: its runtime is a copy."""
        self.sandbox = sandbox
        self.company = Company(self._listener, self._function, sandbox, self._logs, self._clock)
        self.reason = "spindown"
        self.api = RuntimeApi(self._listener, self._metadata, self.company.api)
        self.api.restoring = restoring
        self._logs.attach(sandbox.output, sandbox.frames)
        await self.api.open(sandbox.runtime_api)
        self._daemon.open(sandbox.xray_daemon)
        if self._reach is not None and sandbox.service_api is not None:
            await self._reach.listen(sandbox.service_api)

    def subscribe(self, api: Api, identifier: str, body: bytes, initializing: bool) -> None:
        """An extension wants telemetry, which it can say in init alone. Raises Refused."""
        name = self.company.api.table.get(identifier).name
        if self.sandbox is None:  # it is being shut down
            raise Refused(403, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
        if self.telemetry is None:
            self.telemetry = TelemetryApi(self.sandbox.connect, self._clock, self._function.log_format == "JSON")
        self.telemetry.open = initializing
        asked = self.telemetry.subscribe(name, api, body)
        if self.telemetry.wants("function"):
            self._logs.tap = self.telemetry.tap("function")
        if self.telemetry.wants("extension"):
            self.company.output.tap = self.telemetry.tap("extension")
        self._platform.join(self.telemetry)
        self._platform.subscribed(api, name, list(asked.types))

    def limit_cpu(self) -> None:
        if self.sandbox is not None:
            self.sandbox.limit_cpu()

    def drain(self) -> None:
        self.company.output.drain()
        self._logs.drain()

    def let_go(self) -> Gone:
        """Hear nothing more from the sandbox in hand, if any, and tell it nothing but that it is to end, and what
        telemetry still has."""
        sandbox, self.sandbox = self.sandbox, None
        telemetry, self.telemetry = self.telemetry, None
        if sandbox is not None and self.company.present:
            self.api.retire()
        else:
            self._unplug()
        return Gone(sandbox, self.company, self.reason, telemetry)

    def _unplug(self) -> None:
        self.api.close()
        self._daemon.close()
        if self._reach is not None:
            self._reach.hang_up()
        self.drain()
        self.company.output.detach()
        self._logs.detach()
        self._logs.tap = None
        self._platform.leave()

    async def stop(self, gone: Gone, keep_tmp: bool = False) -> None:
        sandbox, company, reason, telemetry = gone
        try:
            if sandbox is not None and company.present:
                last = [] if telemetry is None else [telemetry.finish(_FLUSH)]
                await asyncio.gather(company.shut_down(reason), *last)
                self._unplug()
            if telemetry is not None:
                await telemetry.finish(_FLUSH)
                await telemetry.close()
            if sandbox is not None:
                await sandbox.end(keep_tmp)
        except (SandboxError, OSError) as error:
            _log.error("the sandbox of %s could not be taken down: %s", self._function.arn, error)
