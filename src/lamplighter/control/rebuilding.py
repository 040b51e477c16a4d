"""Templates of versions with SnapStart are gone when the service ends, and made anew in the background when it starts.

One at a time, so that what is called meanwhile finds a processor; the newest versions first, and not beyond a number,
as each takes the memory of its init; none while memory is short. A call that comes before its template joins the
making of it, or begins it. What goes wrong is for the first call to tell.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from lamplighter.control.code import Code
from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.functions import FunctionVersion
from lamplighter.model.loop import Loop
from lamplighter.sandbox.contract import SandboxError
from lamplighter.store.contract import BlobDamaged, Functions
from lamplighter.worker.initializing import InitFailed

MOST: Final = 16  # versions
_PAGE: Final = 50

_log = logging.getLogger(__name__)


class Rebuilding(Loop):
    """`initialize`: has a template of a version. `short`: whether the host's memory is. Use as an async context
    manager."""

    def __init__(
        self,
        functions: Functions,
        code: Code,
        account: str,
        region: str,
        initialize: Callable[[FunctionVersion], Awaitable[None]],
        short: Callable[[], bool],
    ) -> None:
        self._functions = functions
        self._code = code
        self._account = account
        self._region = region
        self._initialize = initialize
        self._short = short

    async def _go_on(self) -> None:
        await self.run()

    async def run(self) -> None:
        for function in await self._newest():
            if self._short():
                _log.warning("memory is short: %s is initialised when it is called", function.arn)
                return
            try:
                for package in (function.code, *(layer.package for layer in function.layers)):
                    await self._code.ensure(package.digest)
                await self._initialize(function)
            except (InitFailed, SandboxError, OSError, BlobDamaged, InvalidParameterValueException) as error:
                _log.warning("%s could not be initialised again: %s", function.arn, error)

    async def _newest(self) -> list[FunctionVersion]:
        """Those that start as copies, the one that was published last first."""
        found: list[FunctionVersion] = []
        after: tuple[str, str] | None = None
        while page := await self._functions.page_of_versions(self._account, self._region, after, _PAGE):
            found += [version for version in page if version.snap_start_on and version.state == "Active"]
            found = heapq.nlargest(MOST, found, key=lambda version: version.last_modified)
            after = page[-1].id.name, page[-1].version
            await asyncio.sleep(0)  # there may be many, and others wait for the loop
        return found
