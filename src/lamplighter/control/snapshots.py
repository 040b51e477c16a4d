"""SnapStart of a version that is being published: whether it gets a snapshot, and what it means if its init fails.

Only Python's runtimes can be copied once they are initialised. A version of another, or one that can't be copied for
what it has done in its init, is published all the same: each of its environments is initialised for itself, and its
OptimizationStatus says Off.
"""

import logging
from collections.abc import Awaitable, Callable

from lamplighter.model.functions import LATEST, FunctionVersion
from lamplighter.sandbox.contract import SandboxError
from lamplighter.worker.initializing import InitFailed
from lamplighter.worker.templates import Templates

_log = logging.getLogger(__name__)


class SnapshotFailed(Exception):
    """The function could not be initialised. `code`: AWS's StateReasonCode; `reason`: a sentence."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# Initialises a version and keeps that. Whether its environments will start from there; raises SnapshotFailed.
Snapshot = Callable[[FunctionVersion], Awaitable[bool]]


def wanted(function: FunctionVersion) -> bool:
    """Of what is being published with SnapStart."""
    return function.snap_start == "PublishedVersions" and function.version != LATEST and function.state == "Pending"


class Snapshots:
    """`kept`: told of each that is taken."""

    def __init__(self, templates: Templates, kept: Callable[[FunctionVersion], None] = lambda _: None) -> None:
        self._templates = templates
        self._kept = kept

    async def take(self, function: FunctionVersion) -> bool:
        """A Snapshot."""
        if not (function.runtime or "").startswith("python"):
            return False
        try:
            await self._templates.initialize(function)
        except InitFailed as error:
            raise SnapshotFailed(error.code, f"The function could not be initialized: {error.reason}") from None
        except SandboxError as error:
            _log.warning("no snapshot of %s, whose environments are initialised one by one: %s", function.arn, error)
            return False
        self._kept(function)
        return True
