"""SnapStart: of each published version in use one initialised runtime is kept, and its environments are copies of it
(AWS: spec 8).

A template is made when the version is published, and again when it is needed and not there: after a restart of the
service, after it was dropped. It costs the memory that its init took. So one that no environment has been made of for
a while, and none lives of, is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Literal, Protocol

from lamplighter.model.clock import Clock
from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.usage import Initialized, Observe
from lamplighter.sandbox import contract
from lamplighter.sandbox.contract import Sandbox, SandboxError, Sandboxes, SandboxSpec, TemplateGone, Unfit
from lamplighter.worker.initializing import InitFailed, Initializing
from lamplighter.worker.outfit import Fit, Outfit

INIT_LIMIT = 130.0  # seconds; the function's time-out, if that is longer (AWS: spec 3.1)
IDLE_LIMIT = 1800.0  # seconds that a template is kept without use
REPLACED = 8  # in a row, for one template
KEPT = 32  # templates; beyond, the one unused for longest goes
_SWEEP = 15.0  # seconds between looks at unused ones

_log = logging.getLogger(__name__)

Key = tuple[FunctionId, str, int]  # function, version, generation


class Copying(Sandboxes, contract.Templates, Protocol):
    """Sandboxes that can be copied."""


class Template:
    """`copies`: sandboxes that live of it."""

    def __init__(self, outfit: Outfit, sandbox: Sandbox, now: float) -> None:
        self.function = outfit.function
        self.outfit = outfit
        self.sandbox = sandbox
        self.copies = 0
        self.used = now
        self.wanted = True

    @property
    def alive(self) -> bool:
        return not self.sandbox.exited.done()

    async def end(self) -> None:
        if self.outfit.reach is not None:
            self.outfit.reach.close()
        try:
            await self.sandbox.end()
        except SandboxError as error:
            _log.error("the template of %s could not be taken down: %s", self.function.arn, error)


class Templates:
    """`fit`: gives what a template is made with. `current`: whether a version is still there; None: always.
    `short`: whether the host's memory is."""

    def __init__(
        self,
        sandboxes: Copying,
        clock: Clock,
        fit: Fit,
        current: Callable[[FunctionVersion], Awaitable[bool]] | None = None,
        init_limit: float = INIT_LIMIT,
        idle_limit: float = IDLE_LIMIT,
        short: Callable[[], bool] = lambda: False,
        observe: Observe | None = None,
    ) -> None:
        self._observe = observe
        self._sandboxes = sandboxes
        self._clock = clock
        self._fit = fit
        self._current = current
        self._init_limit = init_limit
        self._idle_limit = idle_limit
        self._short = short
        self._templates: dict[Key, Template] = {}
        self._making: dict[Key, asyncio.Task[Template]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._templates)

    async def initialize(self, function: FunctionVersion) -> None:
        """Have a template of this version. Raises InitFailed if the function can't be initialised, Unfit if no copies
        can be made of it, SandboxError."""
        await self._template(function)

    async def ready(self, function: FunctionVersion) -> bool:
        """Whether an environment of it can be a copy now; makes a template if there is none. What fails here is left
        to an ordinary init to tell, which then happens."""
        try:
            await self._template(function)
        except (InitFailed, SandboxError) as error:
            _log.warning("%s starts without a snapshot: %s", function.arn, error)
            return False
        return True

    async def copy(self, function: FunctionVersion, spec: SandboxSpec) -> Sandbox:
        """A new sandbox in which the initialised runtime goes on. Raises SandboxError."""
        template = await self._template(function)
        try:
            return await self._copy(template, spec)
        except TemplateGone:
            key = _key(function)
            if self._templates.get(key) is template:
                self._drop(key)
        return await self._copy(await self._template(function), spec)

    async def _copy(self, template: Template, spec: SandboxSpec) -> Sandbox:
        template.copies += 1
        template.used = self._clock.monotonic()
        try:
            sandbox = await self._sandboxes.copy(template.sandbox, spec)
        except BaseException:
            self._left(template)
            raise
        sandbox.exited.add_done_callback(lambda _: self._left(template))
        return sandbox

    def changed(self, id: FunctionId) -> None:
        """Something about the function has changed: versions that are gone need no template."""
        for key, template in tuple(self._templates.items()):
            if key[0] == id:
                self._own(self._look(key, template))

    def sweep(self) -> None:
        """Drop what has died, or was not used for long. A timer calls it, and tests do."""
        oldest = self._clock.monotonic() - (0.0 if self._short() else self._idle_limit)
        unused = sorted((one.used, key) for key, one in self._templates.items() if not one.copies)
        beyond = len(self._templates) - KEPT
        for index, (used, key) in enumerate(unused):
            if used < oldest or index < beyond or not self._templates[key].alive:
                self._drop(key)

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for making in tuple(self._making.values()):
            making.cancel()
        await asyncio.gather(*self._making.values(), *self._tasks, return_exceptions=True)
        await asyncio.gather(*(template.end() for template in self._templates.values()))
        self._templates.clear()

    async def _template(self, function: FunctionVersion) -> Template:
        key = _key(function)
        known = self._templates.get(key)
        if known is not None:
            if known.alive:
                return known
            self._drop(key)
        making = self._making.get(key)
        if making is None:
            if self._closed:
                raise SandboxError("the service is shutting down")
            making = self._making[key] = asyncio.get_running_loop().create_task(self._make(key, function))
        return await asyncio.shield(making)

    async def _make(self, key: Key, function: FunctionVersion) -> Template:
        try:
            template = await self._initialize(self._fit(function, "snap-start"))
            self._templates[key] = template
        finally:
            del self._making[key]
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)
        return template

    async def _initialize(self, outfit: Outfit) -> Template:
        platform, began = outfit.platform, self._clock.monotonic()
        platform.init_started("init")
        try:
            sandbox = await self._hold_one(outfit)
        except BaseException as error:
            if isinstance(error, InitFailed):
                status = "timeout" if error.code == "FunctionError.InitTimeout" else "error"
                duration = (self._clock.monotonic() - began) * 1000
                platform.init_ended("init", status, error.error_type, duration)
                self._bill(outfit.function, duration, status, error.error_type)
            if outfit.reach is not None:
                outfit.reach.close()
            raise
        duration = (self._clock.monotonic() - began) * 1000
        platform.init_ended("init", "success", None, duration)
        self._bill(outfit.function, duration, "kept", None)
        return Template(outfit, sandbox, self._clock.monotonic())

    async def _hold_one(self, outfit: Outfit) -> Sandbox:
        """A sandbox whose runtime is initialised and held. One whose runtime is killed before it knew what to run is
        replaced, as nothing of the function's was in it."""
        for _ in range(REPLACED):
            try:
                return await self._hold(outfit)
            except InitFailed as error:
                if not error.untaken:
                    raise
        return await self._hold(outfit)

    async def _hold(self, outfit: Outfit) -> Sandbox:
        sandbox = await self._sandboxes.start(replace(await outfit.spec(), template=True))
        try:
            await self._lead(outfit, sandbox)
        except BaseException:
            await sandbox.end()
            raise
        return sandbox

    async def _lead(self, outfit: Outfit, sandbox: Sandbox) -> None:
        """Through its init, to where it is held."""
        reach, initializing = outfit.reach, Initializing(outfit.function, outfit.metadata)
        try:
            if sandbox.extensions:
                raise Unfit("it has extensions")
            outfit.logs.attach(sandbox.output, sandbox.frames)
            initializing.follow(sandbox)
            await initializing.api.open(sandbox.runtime_api)
            if reach is not None and sandbox.service_api is not None:
                await reach.listen(sandbox.service_api)
            await self._await(initializing, outfit.function)
            await self._sandboxes.hold(sandbox, initializing.api.restore)
        finally:
            initializing.api.close()
            if reach is not None:
                reach.hang_up()
            outfit.logs.drain()
            outfit.logs.detach()

    def _bill(
        self, function: FunctionVersion, duration: float, status: Literal["kept", "error", "timeout"], kind: str | None
    ) -> None:
        """`duration`: milliseconds."""
        if self._observe is not None:
            began = self._clock.now() - duration / 1000
            self._observe(Initialized(function, "snap-start", began, duration, status, kind))

    async def _await(self, initializing: Initializing, function: FunctionVersion) -> None:
        limit = max(self._init_limit, function.timeout)
        try:
            async with asyncio.timeout(limit):
                await initializing.over
        except TimeoutError:
            text = f"the init took more than {limit:.0f} seconds"
            raise InitFailed("FunctionError.InitTimeout", "Sandbox.Timedout", text) from None

    def _left(self, template: Template) -> None:
        """One copy less lives of it."""
        template.copies -= 1
        template.used = self._clock.monotonic()
        if not template.wanted and not template.copies:
            self._own(template.end())

    def _drop(self, key: Key) -> None:
        """It is not used for new ones any more, and ends when nothing lives of it."""
        template = self._templates.pop(key)
        template.wanted = False
        if not template.copies:
            self._own(template.end())

    async def _look(self, key: Key, template: Template) -> None:
        gone = self._current is not None and not await self._current(template.function)
        if gone and self._templates.get(key) is template:
            self._drop(key)

    def _sweep(self) -> None:
        self._sweeper = None
        self.sweep()
        if self._templates and not self._closed:
            self._sweeper = asyncio.get_running_loop().call_later(_SWEEP, self._sweep)

    def _own(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _key(function: FunctionVersion) -> Key:
    return function.id, function.version, function.generation
