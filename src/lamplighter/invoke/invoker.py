"""The invoker: the only way to run code. Sync calls, queued events, event sources and streams all meet here.

Resolves a function and qualifier to a version (from memory; the store's changes drop what is no longer true), refuses
what cannot run, and runs the rest in an environment that the assignment hands out. An alias of two versions is decided
anew at every call; one of a single version costs no more than that version.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from lamplighter.invoke.contract import Assignment
from lamplighter.invoke.lineage import PASSES, mark_of, pass_through
from lamplighter.invoke.resources import Resources
from lamplighter.invoke.sampling import Sampling
from lamplighter.model.aliases import KIND, Alias, from_document
from lamplighter.model.clock import Clock, SystemClock
from lamplighter.model.errors import (
    RecursiveInvocationException,
    ResourceConflictException,
    ResourceNotFoundException,
    SnapStartNotReadyException,
    TooManyRequestsException,
)
from lamplighter.model.functions import LATEST, FunctionId, FunctionVersion
from lamplighter.model.ids import Ids
from lamplighter.model.invocation import Invocation, Outcome
from lamplighter.model.names import kind_of_qualifier
from lamplighter.model.recursion import KEY as RECURSION_KEY
from lamplighter.model.recursion import KIND as RECURSION
from lamplighter.model.recursion import allows
from lamplighter.model.usage import Observe, Refused
from lamplighter.store.contract import Changes, Functions, Records
from lamplighter.worker.stream import Stream

_UNQUALIFIED: Final = 6  # colons of an ARN that names neither alias nor version

_log = logging.getLogger(__name__)


class Invoker:
    """`chance`: evenly spread over [0, 1); decides between the versions of an alias. `resources`: counts what runs by
    alias or version, if anybody wants to know."""

    def __init__(
        self,
        functions: Functions,
        records: Records,
        changes: Changes,
        assignment: Assignment,
        chance: Callable[[], float] = random.random,
        clock: Clock | None = None,
        observe: Observe | None = None,
        sampling: Sampling | None = None,
        resources: Resources | None = None,
    ) -> None:
        self._functions = functions
        self._records = records
        self._assignment = assignment
        self._chance = chance
        self._clock = clock or SystemClock()
        self._observe = observe
        self._sampling = sampling or Sampling(self._clock, Ids(self._clock))
        self._versions: dict[FunctionId, dict[str, FunctionVersion]] = {}  # by qualifier; only what can run
        self._resources = resources
        self._weighted: dict[FunctionId, dict[str, Alias]] = {}  # aliases of two versions
        self._routed: set[str] = set()  # ARNs of those that were such since the last time this was asked
        self._marks: dict[FunctionId, str] = {}  # in lineages
        self._changes = 0  # how many there were: what was read before the last one is not kept
        self._retiring: set[asyncio.Task[None]] = set()
        changes.listen(self._changed)

    def known(self, id: FunctionId, qualifier: str | None) -> FunctionVersion | None:
        """The version to run, if that is settled: it can run, is in memory, and is not up to an alias's choice."""
        versions = self._versions.get(id)
        return versions.get(qualifier or LATEST) if versions is not None else None

    async def resolve(self, id: FunctionId, qualifier: str | None) -> FunctionVersion:
        """The version to run. Raises ResourceNotFoundException if there is none, ResourceConflictException if it can't
        run now (AWS: spec 1.4)."""
        asked = qualifier or LATEST
        known = self._versions.get(id)
        if known is not None and (found := known.get(asked)) is not None:
            return found
        version = asked
        if (alias := self._alias(id, asked)) is not None:
            version = alias.pick(self._chance())
            if alias.weights:
                asked = version  # what is remembered is the version, not the choice
                if known is not None and (found := known.get(version)) is not None:
                    return found
        before = self._changes
        function = await self._functions.serving(id, version)
        if function is None:
            raise ResourceNotFoundException(f"Function not found: {id.arn}:{qualifier or LATEST}")
        if function.state == "Pending" and function.snap_start == "PublishedVersions" and version != LATEST:
            raise SnapStartNotReadyException(
                "Lambda is initializing your function. You can invoke the function when the function state becomes "
                "Active."
            )
        if function.state != "Active":
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {function.state}"
            )
        if before == self._changes:
            self._versions.setdefault(id, {})[asked] = function
        return function

    def _alias(self, id: FunctionId, name: str) -> Alias | None:
        known = self._weighted.get(id)
        if known is not None and (found := known.get(name)) is not None:
            return found
        if kind_of_qualifier(name) != "alias":
            return None
        document = self._records.view(id.account, id.region).get(KIND, id.name, name)
        if document is None:
            return None
        alias = from_document(id, name, document)
        if alias.weights:
            self._weighted.setdefault(id, {})[name] = alias
            self._routed.add(alias.arn)
        return alias

    def routed(self) -> frozenset[str]:
        """The aliases that chose between versions since the last time this was asked, by their ARNs."""
        found = frozenset(self._routed)
        self._routed = {alias.arn for aliases in self._weighted.values() for alias in aliases.values()}
        return found

    async def invoke(
        self,
        function: FunctionVersion,
        invocation: Invocation,
        stream: Stream | None = None,
    ) -> Outcome:
        """Run it once. A failing function is an Outcome; raises TooManyRequestsException when a limit says no,
        RecursiveInvocationException for one round too many, WorkerError when no environment can be made, TooLate when
        none was ready by the invocation's `latest`.

        `stream`: takes the answer as it comes, if the function streams it."""
        try:
            invocation = self._passing(function, invocation)
            async with self._assignment.environment(function, invocation.source == "sync") as environment:
                if self._resources is None or invocation.invoked_arn.count(":") == _UNQUALIFIED:
                    return await environment.run(invocation, stream)
                self._resources.enter(invocation.invoked_arn)
                try:
                    return await environment.run(invocation, stream)
                finally:
                    self._resources.leave(invocation.invoked_arn)
        except (TooManyRequestsException, RecursiveInvocationException) as error:
            if self._observe is not None:
                reason = "throttled" if isinstance(error, TooManyRequestsException) else "recursive"
                arn = invocation.invoked_arn
                self._observe(Refused(function.id, function.version, arn, self._clock.now(), reason))
            raise

    def _passing(self, function: FunctionVersion, given: Invocation) -> Invocation:
        """With the lineage that what it calls in turn will bring along, and with whether it is traced. Every path to a
        function comes by here."""
        id = function.id
        mark = self._marks.get(id)
        if mark is None:
            mark = self._marks[id] = mark_of(id)
        decided, above = self._sampling.decide(given.trace_id, function.tracing_mode == "Active")
        trace, passes = pass_through(decided, mark)
        if passes > PASSES and not allows(
            self._records.view(id.account, id.region).get(RECURSION, id.name, RECURSION_KEY)
        ):
            raise RecursiveInvocationException(
                "Lambda has detected your function being invoked in a recursive loop with other AWS resources "
                "and stopped your function's invocation."
            )
        return Invocation(  # by hand: `replace` takes several times as long
            given.request_id,
            given.payload,
            given.invoked_arn,
            trace,
            given.client_context,
            given.cognito_identity,
            given.tenant_id,
            given.log_tail,
            given.source,
            above,
            given.latest,
            given.parcel,
            given.carrier,
        )

    async def close(self) -> None:
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=5.0)

    def _changed(self, id: FunctionId) -> None:
        self._changes += 1
        self._weighted.pop(id, None)
        self._marks.pop(id, None)
        known = self._versions.pop(id, None)
        if known:
            versions = {function.version for function in known.values()}
            task = asyncio.get_running_loop().create_task(self._retire(id, versions))
            self._retiring.add(task)
            task.add_done_callback(self._retired)

    async def _retire(self, id: FunctionId, versions: set[str]) -> None:
        """End the environments of what is no longer current, without waiting for the next invocation to notice."""
        for version in versions:
            function = await self._functions.serving(id, version)
            self._assignment.retire(f"{id.arn}:{version}", function.generation if function is not None else None)

    def _retired(self, task: asyncio.Task[None]) -> None:
        self._retiring.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("environments could not be retired", exc_info=error)
