"""What one environment, or one template of environments, is made with: its names, its log, its way to the service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lamplighter.model.functions import FunctionVersion
from lamplighter.sandbox.contract import SandboxSpec
from lamplighter.worker.contract import Initialization, Reach
from lamplighter.worker.logs import Logs
from lamplighter.worker.metadata import Metadata
from lamplighter.worker.platform_log import PlatformLog


@dataclass(frozen=True, slots=True)
class Outfit:
    """spec: the sandbox to start, each time one is."""

    function: FunctionVersion
    initialization: Initialization
    metadata: Metadata
    reach: Reach | None
    logs: Logs
    platform: PlatformLog
    spec: Callable[[], Awaitable[SandboxSpec]]


Fit = Callable[[FunctionVersion, Initialization], Outfit]
