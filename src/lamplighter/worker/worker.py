"""This node's worker: turns a function version into a running environment.

Knows which environment variables AWS sets (AWS: spec 3.2); does not know who runs what when (`invoke/assignment.py`),
nor how isolation is made (`sandbox/`).
"""

import asyncio
import gc
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from lamplighter.model.clock import Clock
from lamplighter.model.command import Command
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.usage import Observe
from lamplighter.runtimes.commands import READ_AT_START
from lamplighter.sandbox.contract import Sandbox, SandboxError, Sandboxes, SandboxSpec
from lamplighter.worker.application_levels import least_level
from lamplighter.worker.contract import Initialization, OpenReach, WorkerError
from lamplighter.worker.environment import AHEAD_INIT_LIMIT, INIT_LIMIT, LiveEnvironment
from lamplighter.worker.freeze import FREEZE_AFTER
from lamplighter.worker.logs import Logs, OpenLog
from lamplighter.worker.metadata import Metadata, zone_of
from lamplighter.worker.notes import Notebook
from lamplighter.worker.outfit import Outfit
from lamplighter.worker.pipe import RATE_OF_ALL, Allowance
from lamplighter.worker.platform_log import PlatformLog
from lamplighter.worker.templates import Templates

# Gives what a sandbox of the runtime executes with these variables; None: what the sandbox itself knows to run.
Commands = Callable[[str, Mapping[str, str]], Command | None]

# Gives the name of what the sandboxes of a version are forks of: its runtime's, or a variant's.
Forks = Callable[[FunctionVersion], Awaitable[str]]

_START_LIMIT = 30.0  # seconds in which a sandbox must stand
# Sandboxes started until the garbage of those before them is looked for. Each leaves some eighty objects and 70 KB that
# refer to each other; the collector itself, which counts objects, would look among what is old only after thousands.
_COLLECT = 64
_STARTING = 8  # sandboxes made at a time: more at once only wait for each other, until all of them are late

# What a function's own variables may override; the rest are reserved.
_DEFAULTS = {
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    **READ_AT_START,
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
}
_FIXED = {
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_LAMBDA_METADATA_API": "127.0.0.1:9001",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
}
# What differs by runtime, by the beginning of its name: above all where its language looks for packages.
_BY_RUNTIME = {
    "python": {"PYTHONPATH": "/var/runtime"},
    "nodejs": {
        "NODE_PATH": "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules"
        ":/var/runtime/node_modules:/var/runtime:/var/task",
        "PWD": "/var/task",  # AWS's runtimes are started by a shell
        "SHLVL": "0",
    },
    "ruby": {
        "GEM_PATH": "/var/task/vendor/bundle/ruby/{release}.0:/opt/ruby/gems/{release}.0",
        "RUBYLIB": "/var/task:/var/runtime/lib:/opt/ruby/lib",
    },
    "provided.al2": {
        "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    },
    "provided.al2023": {name: _DEFAULTS[name] for name in ("PATH", "LD_LIBRARY_PATH")},
}


class Worker:
    """Implements `worker.contract.Workers` on the node's own sandboxes."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        clock: Clock,
        reach: OpenReach | None = None,
        logs: OpenLog | None = None,
        init_limit: float = INIT_LIMIT,
        commands: Commands = lambda runtime, variables: None,
        observe: Observe | None = None,
        segments: Callable[[FunctionVersion, bytes], None] | None = None,
        forks: Forks | None = None,
        freeze_after: float | None = FREEZE_AFTER,
        book: Notebook | None = None,
    ) -> None:
        self._sandboxes = sandboxes
        self._commands = commands
        self._clock = clock
        self._reach = reach
        self._logs = logs
        self._init_limit = init_limit
        self._observe = observe
        self._book = book
        self._segments = segments
        self._forks = forks
        self._freeze_after = freeze_after
        self._environments: set[LiveEnvironment] = set()
        self._started = 0  # sandboxes
        self._written = Allowance(RATE_OF_ALL)
        self._starting = asyncio.Semaphore(_STARTING)
        self.templates: Templates | None = None  # without, versions with SnapStart are initialised like any other

    @property
    def environments(self) -> Collection[LiveEnvironment]:
        """Those that are not gone yet."""
        return self._environments

    async def start(self, function: FunctionVersion, initialization: Initialization = "on-demand") -> LiveEnvironment:
        templates = self.templates if function.snap_start_on and initialization == "on-demand" else None
        if templates is not None and await templates.ready(function):
            initialization = "snap-start"
        outfit = self.fit(function, initialization)

        async def start_sandbox(former: Sandbox | None) -> Sandbox:
            spec = await outfit.spec()
            self._started += 1
            if not self._started % _COLLECT:
                gc.collect()
            try:
                async with self._starting, asyncio.timeout(_START_LIMIT):
                    if templates is not None and initialization == "snap-start":
                        return await templates.copy(function, spec)
                    return await self._sandboxes.start(spec, former)
            except TimeoutError:
                raise SandboxError(f"no sandbox stood within {_START_LIMIT:.0f} s") from None

        def ended(environment: LiveEnvironment) -> None:
            self._environments.discard(environment)
            if outfit.reach is not None:
                outfit.reach.close()

        ahead = initialization == "provisioned-concurrency"
        environment = LiveEnvironment(
            function,
            start_sandbox,
            outfit.logs,
            outfit.platform,
            self._clock,
            ended,
            max(AHEAD_INIT_LIMIT, function.timeout) if ahead else self._init_limit,
            outfit.metadata,
            self._observe,
            initialization,
            segments=None if self._segments is None else partial(self._segments, function),
            reach=outfit.reach,
            freeze_after=self._freeze_after,
            book=self._book,
        )
        self._environments.add(environment)
        try:
            await environment.begin()
        except (SandboxError, OSError) as error:
            await environment.end()
            raise WorkerError(f"{function.arn}: {error}") from error
        except BaseException:
            await environment.end()
            raise
        return environment

    def fit(self, function: FunctionVersion, initialization: Initialization) -> Outfit:
        """What a new environment, or template, of this version is made with."""
        stream = log_stream(function, self._clock.now())
        metadata = Metadata(zone_of(function.id.region))
        reach = None if self._reach is None else self._reach(function)
        sink = self._logs(function, stream) if self._logs is not None else None
        logs = Logs(self._clock, sink, self._written, least_level(function))

        async def spec() -> SandboxSpec:
            secrets = {"AWS_LAMBDA_METADATA_TOKEN": metadata.token}
            if reach is not None:
                own = function.environment or {}
                secrets |= {name: value for name, value in reach.defaults.items() if name not in own}
                secrets |= reach.credentials
            made = sandbox_spec(function, stream, secrets, self._commands, initialization)
            if self._forks is not None and made.command is None:
                made = replace(made, runtime=await self._forks(function))
            return made

        platform = PlatformLog(function, logs, self._clock, stream, initialization)
        return Outfit(function, initialization, metadata, reach, logs, platform, spec)

    async def close(self) -> None:
        """End every environment; what still runs in them is lost."""
        await asyncio.gather(*(environment.end() for environment in tuple(self._environments)))


def log_stream(function: FunctionVersion, now: float) -> str:
    """A new environment's log stream (AWS: spec 3.2); in a log group that may be shared, streams say whose they are."""
    own_group = function.log_group not in ("", f"/aws/lambda/{function.id.name}")
    day = datetime.fromtimestamp(now, UTC).strftime("%Y/%m/%d")
    return f"{day}/{function.id.name if own_group else ''}[{function.version}]{uuid.uuid4().hex}"


def sandbox_spec(
    function: FunctionVersion,
    stream: str,
    credentials: Mapping[str, str],
    commands: Commands,
    initialization: Initialization = "on-demand",
) -> SandboxSpec:
    if function.runtime is None:
        raise SandboxError("a function without a runtime cannot be run")
    found = variables(function, stream, credentials, initialization)
    return SandboxSpec(
        runtime=function.runtime,
        code=function.code.digest,
        variables=found,
        memory_size=function.memory_size,
        ephemeral_storage=function.ephemeral_storage,
        layers=tuple(layer.package.digest for layer in function.layers),
        command=commands(function.runtime, found),
        log_frames=not function.runtime.startswith("provided"),
    )


def variables(
    function: FunctionVersion, stream: str, credentials: Mapping[str, str], initialization: Initialization = "on-demand"
) -> dict[str, str]:
    """The whole environment of the runtime process."""
    runtime = function.runtime or ""
    found = dict(_DEFAULTS)
    for beginning, differing in _BY_RUNTIME.items():
        if runtime.startswith(beginning):
            release = runtime.removeprefix(beginning)
            major = release.split(".")[0]
            found |= {name: value.format(major=major, release=release) for name, value in differing.items()}
    found |= function.environment or {}
    found |= _FIXED
    found |= {
        "_HANDLER": function.handler or "",
        "AWS_LAMBDA_INITIALIZATION_TYPE": initialization,
        "AWS_REGION": function.id.region,
        "AWS_DEFAULT_REGION": function.id.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.id.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group or f"/aws/lambda/{function.id.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
    }
    if not runtime.startswith("provided"):
        found["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{runtime}"
    if function.log_format == "JSON":  # in text form AWS sets neither
        found["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        if function.application_log_level:
            found["AWS_LAMBDA_LOG_LEVEL"] = function.application_log_level
    found |= credentials
    return found
