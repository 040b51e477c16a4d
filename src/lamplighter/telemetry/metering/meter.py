"""Counts what runs, for the bill: in memory, and every `FLUSH` seconds on disk, off the path of invocations.

Written are a run's totals so far, in place of those before (`store/usage.py`), so nothing can count twice. A run, here,
may be less than the service's whole life: what is forgotten, to bound memory, is never counted on under the same name.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from lamplighter.model.functions import FunctionId, FunctionVersion
from lamplighter.model.loop import Loop
from lamplighter.model.metering import (
    HOUR,
    INCLUDED_STORAGE,
    INCLUDED_STREAM,
    Key,
    Kind,
    Totals,
    chunks_of,
    kind_of,
)
from lamplighter.model.usage import Cached, Initialized, Provisioned, Ran, Restored, Runs, Usage, billed
from lamplighter.store.contract import StoreFailed
from lamplighter.store.usage import Owner, UsageLedger

FLUSH: Final = 2.0  # seconds between writes
GATHER: Final = 6 * 3600.0  # seconds between those that gather what is old
KEPT: Final = 4096  # keys in memory, of those that are on disk as they are
BOUND: Final = 65_536  # keys in memory while the disk takes none; what comes under others is counted together
_KNOWN: Final = 4096  # versions whose counters are found at once

_log = logging.getLogger(__name__)


class _Counter:
    """Of one key; in the order of Totals."""

    __slots__ = (*Totals._fields, "dirty", "key", "run")

    def __init__(self, run: str, key: Key) -> None:
        self.run = run
        self.key = key
        self.dirty = False
        self.requests = self.chunks = self.billed = self.init = self.unnamed = 0
        self.memory = self.storage = self.streamed = self.provisioned = self.provisioned_memory = 0
        self.restores = self.restored_memory = self.cached = self.cached_memory = 0

    def totals(self) -> Totals:
        return Totals(
            *(self.requests, self.chunks, self.billed, self.init, self.unnamed),
            *(self.memory, self.storage, self.streamed, self.provisioned, self.provisioned_memory),
            *(self.restores, self.restored_memory, self.cached, self.cached_memory),
        )


class Meter(Loop):
    """`observe` takes note; used with `async with`, it writes from time to time, and at the end.

    `bound`: as BOUND. `settle`: has all told that is not told yet."""

    def __init__(self, ledger: UsageLedger, bound: int = BOUND, kept: int = KEPT) -> None:
        self._ledger = ledger
        self._bound = bound
        self._kept = kept
        self.settle: Callable[[], object] = tuple
        self._run = uuid.uuid4().hex
        self._counters: dict[Key, _Counter] = {}
        self._dirty: list[_Counter] = []
        self._from = self._until = 0.0  # the hour, seconds since the epoch
        # Since the last write, by identity and way of initialization. The version is kept so that its identity stays
        # its own; no longer, as versions come and go.
        self._known: dict[tuple[int, str], tuple[FunctionVersion, _Counter]] = {}
        self._writing = asyncio.Lock()  # the ledger takes one writer at a time
        self._tags: dict[Owner, Mapping[str, str]] = {}  # that are not on disk yet

    def tagged(self, function: FunctionId, tags: Mapping[str, str]) -> None:
        """A function's tags, from now on. The bill has them when the function is gone."""
        self._tags[function.account, function.region, function.name] = tags

    def observe(self, usage: Usage) -> None:
        if type(usage) is Ran:
            self._ran(usage)
        elif type(usage) is Runs:
            self._runs(usage)
        elif isinstance(usage, Initialized | Provisioned | Restored | Cached):
            self._other(usage)

    def _ran(self, usage: Ran) -> None:
        function = usage.function
        ended = usage.began + usage.duration / 1000
        if not self._from <= ended < self._until:
            self._turn(ended)
        known = self._known.get((id(function), usage.initialization))
        counter = known[1] if known is not None else self._find(function, usage.initialization, kind_of(usage))
        time = usage.billed
        counter.requests += 1
        counter.billed += time
        counter.memory += time * function.memory_size
        if usage.init is not None:
            counter.init += billed(usage.duration, usage.init) - billed(usage.duration)
        if function.ephemeral_storage > INCLUDED_STORAGE:
            counter.storage += time * (function.ephemeral_storage - INCLUDED_STORAGE)
        if usage.streamed > INCLUDED_STREAM:
            counter.streamed += usage.streamed - INCLUDED_STREAM
        if usage.source == "async" and (chunks := chunks_of(usage)):
            counter.requests += chunks
            counter.chunks += chunks
        self._changed(counter)

    def _runs(self, usage: Runs) -> None:
        function = usage.function
        self._turn(usage.began)
        counter = self._counter(function, kind_of(usage))
        time = usage.billed
        counter.requests += len(usage.durations)
        counter.billed += time
        counter.memory += time * function.memory_size
        counter.storage += time * max(0, function.ephemeral_storage - INCLUDED_STORAGE)
        self._changed(counter)

    def _other(self, usage: Initialized | Provisioned | Restored | Cached) -> None:
        function = usage.function
        whole = usage.duration / 1000 if isinstance(usage, Initialized) else 0.0
        self._turn(usage.began + whole)
        counter = self._counter(function, kind_of(usage))
        if isinstance(usage, Restored):
            counter.restores += 1
            counter.restored_memory += function.memory_size
        elif isinstance(usage, Cached):
            time = round(usage.seconds * 1000)
            counter.cached += time
            counter.cached_memory += time * function.memory_size
        elif isinstance(usage, Provisioned):
            time = round(usage.concurrency * usage.seconds * 1000)
            counter.provisioned += time
            counter.provisioned_memory += time * function.memory_size
        else:
            time = usage.billed
            counter.unnamed += time
            counter.memory += time * function.memory_size
            counter.storage += time * max(0, function.ephemeral_storage - INCLUDED_STORAGE)
        self._changed(counter)

    def _changed(self, counter: _Counter) -> None:
        if not counter.dirty:
            counter.dirty = True
            self._dirty.append(counter)

    def _turn(self, now: float) -> None:
        """To the hour that `now` is in; clocks may be set back, too."""
        if not self._from <= now < self._until:
            self._from = now // HOUR * HOUR
            self._until = self._from + HOUR
            self._known.clear()

    def _find(self, function: FunctionVersion, initialization: str, kind: Kind) -> _Counter:
        counter = self._counter(function, kind)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[id(function), initialization] = function, counter
        return counter

    def _counter(self, function: FunctionVersion, kind: Kind) -> _Counter:
        owner = function.id
        hour, architecture = int(self._from) // HOUR, function.architectures[0]
        key = Key(owner.account, owner.region, owner.name, function.version, hour, architecture, kind)
        if (counter := self._counters.get(key)) is None:
            if len(self._counters) >= self._bound:
                key = key._replace(function="", version="")
                if (counter := self._counters.get(key)) is not None:
                    return counter
            counter = self._counters[key] = _Counter(self._run, key)
        return counter

    # Writing

    async def _finish(self) -> None:
        await self.flush()
        self._ledger.close()

    async def _go_on(self) -> None:
        gathered = -GATHER
        while True:
            await asyncio.sleep(FLUSH)
            await self.flush()
            now = asyncio.get_running_loop().time()
            if now - gathered >= GATHER:
                gathered = now
                await self._gather()

    async def _gather(self) -> None:
        async with self._writing:
            await self._gather_now()

    async def _gather_now(self) -> None:
        live = {self._run, *(counter.run for counter in self._counters.values())}
        writing = asyncio.get_running_loop().run_in_executor(None, self._ledger.gather, live)
        try:
            await asyncio.shield(writing)
        except StoreFailed as error:
            _log.error("old usage cannot be gathered: %s", error.__cause__)
        except asyncio.CancelledError:  # as in flush
            await asyncio.wait((writing,))
            writing.exception()
            raise

    async def flush(self) -> bool:
        """Everything counted until now is on disk when it returns True; else it waits for the next time."""
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        self.settle()
        if not self._dirty and not self._tags:
            return True
        dirty, self._dirty = self._dirty, []
        tags, self._tags = self._tags, {}
        rows = [(counter.run, counter.key, counter.totals()) for counter in dirty]
        for counter in dirty:
            counter.dirty = False
        writing = asyncio.get_running_loop().run_in_executor(None, self._ledger.write, rows, tags)
        try:
            await asyncio.shield(writing)
        except StoreFailed as error:
            _log.error("usage cannot be written, and is kept in memory: %s", error.__cause__)
            self._again(dirty, tags)
            return False
        except asyncio.CancelledError:  # the service ends, or who asked is gone
            await asyncio.wait((writing,))
            if writing.exception() is not None:
                self._again(dirty, tags)
            raise
        self._forget()
        return True

    def _again(self, counters: list[_Counter], tags: Mapping[Owner, Mapping[str, str]]) -> None:
        self._tags = {**tags, **self._tags}
        for counter in counters:
            if not counter.dirty:
                counter.dirty = True
                self._dirty.append(counter)

    def _forget(self) -> None:
        """What is on disk, and of another hour or too much to keep. Whatever comes under these keys begins anew, and
        so under another name of the run: under this one it would replace what is there."""
        self._known.clear()
        hour = int(self._from) // HOUR
        if len(self._counters) > self._kept or any(key.hour != hour for key in self._counters):
            self._counters = {key: counter for key, counter in self._counters.items() if counter.dirty}
            self._run = uuid.uuid4().hex
