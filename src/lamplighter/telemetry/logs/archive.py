"""All log groups of this node, and the threads that work on them: one that writes, two that read.

What is durable when: a group and what is said of it (retention, tags, subscriptions) when the call returns; events are
in the kernel's hands when `write` returns, so kill -9 of the service takes none of them, and on the disk `SYNC` seconds
later at the most, which is what a power cut can cost. When the disk is nearly full, nothing is written any more: logs
must not take the room that acknowledged functions and events need.
"""

import asyncio
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from lamplighter.model.clock import Clock
from lamplighter.telemetry.logs.errors import (
    ResourceAlreadyExistsException,
    ServiceUnavailableException,
    no_group,
    no_stream,
)
from lamplighter.telemetry.logs.group import About, Group, View, Written
from lamplighter.telemetry.logs.reading import Page, Query, Reader
from lamplighter.telemetry.logs.segment import Events, Stream

SYNC: Final = 5.0  # seconds
EXPIRE: Final = 3600.0  # seconds between looks for what has expired
OPEN: Final = 64  # descriptors of segments that are kept
RESERVE: Final = 256 << 20  # bytes of the disk that are not logs' to take
_DOOMED: Final = ".deleted"

T = TypeVar("T")
# Told in the writing thread what has just been written to a group, and when (ms).
Watcher = Callable[[About, Sequence[Written], int], None]

_log = logging.getLogger(__name__)


class GroupId(NamedTuple):
    account: str
    region: str
    name: str


class Archive:
    """`directory`: of its own. Everything awaitable runs outside of the event loop. Use `close` at the end."""

    def __init__(self, directory: Path, clock: Clock, reserve: int = RESERVE) -> None:
        self._directory = directory
        self._clock = clock
        self._reserve = reserve
        self._groups: dict[GroupId, Group] = {}
        self._unsynced: dict[GroupId, Group] = {}
        self._with_descriptor: OrderedDict[GroupId, Group] = OrderedDict()  # the one written to last at the end
        self._expired = clock.monotonic()
        self._refused = 0.0  # when the operator was last told that nothing could be written
        self._watchers: list[Watcher] = []
        self._reader = Reader(clock.monotonic)
        self.writing = ThreadPoolExecutor(1, thread_name_prefix="logs-write")
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="logs-read")
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Call once, before anything else. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.writing, self._load)
        self._timer = loop.call_later(SYNC, self._tick)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call it for whatever is written from now on, until the function that is returned is called."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._write(self._close)
        await asyncio.get_running_loop().run_in_executor(None, self._shut_down)

    # Groups

    async def create(self, about: About) -> None:
        def create() -> None:
            if GroupId(about.account, about.region, about.name) in self._groups:
                raise ResourceAlreadyExistsException("The specified log group already exists")
            self._create(about)

        await self._write(create)

    async def delete(self, id: GroupId) -> None:
        def delete() -> None:
            group = self._group(id)
            group.close()
            doomed = group.directory.with_name(group.directory.name + _DOOMED)
            group.directory.rename(doomed)
            del self._groups[id]
            self._unsynced.pop(id, None)
            self._with_descriptor.pop(id, None)
            self._reader.forget(group.directory)
            shutil.rmtree(doomed, ignore_errors=True)

        await self._write(delete)

    async def change(self, id: GroupId, change: Callable[[About], T]) -> T:
        """Apply a change to what is said of a group; durable when it returns. Refusals undo it."""

        def run() -> T:
            group = self._group(id)
            before = group.about
            group.about = deepcopy(before)
            try:
                result = change(group.about)
                group.save()
            except BaseException:
                group.about = before
                raise
            return result

        return await self._write(run)

    async def look(self, id: GroupId, look: Callable[[Group], T]) -> T:
        """Read from a group. Raises ResourceNotFoundException."""
        return await self._write(lambda: look(self._group(id)))

    async def all(self, account: str, region: str) -> Sequence[tuple[About, int]]:
        """Every group with its size in bytes, by name."""

        def look() -> list[tuple[About, int]]:
            found = sorted((id, group) for id, group in self._groups.items() if id[:2] == (account, region))
            return [(group.about, group.size()) for _, group in found]

        return await self._write(look)

    # Streams and events

    async def create_stream(self, id: GroupId, name: str) -> None:
        def create() -> None:
            group = self._group(id)
            if group.has_stream(name):
                raise ResourceAlreadyExistsException("The specified log stream already exists")
            group.create_stream(name, self._now())
            self._written(id, group)

        await self._write(create)

    async def delete_stream(self, id: GroupId, name: str) -> None:
        def delete() -> None:
            group = self._group(id)
            if not group.has_stream(name):
                raise no_stream()
            group.delete_stream(name, self._now())
            self._written(id, group)

        await self._write(delete)

    async def streams(self, id: GroupId) -> Mapping[str, Stream]:
        return await self.look(id, Group.streams)

    async def put(self, id: GroupId, events: Events) -> None:
        """Add to a stream that exists. Raises ResourceNotFoundException."""

        def put() -> None:
            group = self._group(id)
            if not group.has_stream(events.stream):
                raise no_stream()
            self._append(id, group, (events,))

        await self._write(put)

    async def page(self, id: GroupId, query: Query, stream: str | None = None) -> Page:
        """Events of a group; of one stream, if it must exist. What has been written before is found.

        Raises ResourceNotFoundException."""

        def snapshot(group: Group) -> tuple[int, Sequence[View]]:
            if stream is not None and not group.has_stream(stream):
                raise no_stream()
            floor = group.floor(self._now())
            first = query.first if floor is None else max(query.first, floor)
            return first, group.snapshot(first, query.last)

        first, taken = await self.look(id, snapshot)
        wanted = Query(first, query.last, query.wanted, query.pattern, query.after, query.backwards, query.limit)
        loop = asyncio.get_running_loop()
        with _disk_errors():
            return await loop.run_in_executor(self._reading, self._reader.page, taken, wanted)

    # In the writing thread

    def write(self, id: GroupId, batches: Sequence[Events]) -> bool:
        """For a function's own log: the group comes to be if it is not there. False: nothing could be written."""
        try:
            group = self._groups.get(id)
            if group is None:
                group = self._create(About(id.account, id.region, id.name, self._now()))
            self._append(id, group, batches)
        except (OSError, ServiceUnavailableException) as error:
            now = self._clock.monotonic()
            if not self._refused or now - self._refused > 10:  # else a full disk would be told of twice a second
                self._refused = now
                _log.error("log lines of %s and maybe others are lost: %s", id.name, error)
            return False
        return True

    def expire(self) -> None:
        """Remove what is older than its group's retention."""
        for group in self._groups.values():
            if group.about.retention is not None:
                with _told(group):
                    group.expire(self._now())

    def _tick(self) -> None:
        """In the event loop."""
        if self._unsynced:
            self.writing.submit(self._sync)
        now = self._clock.monotonic()
        if now - self._expired >= EXPIRE:
            self._expired = now
            self.writing.submit(self.expire)
        self._timer = asyncio.get_running_loop().call_later(SYNC, self._tick)

    def _load(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for directory in self._directory.iterdir():
            if directory.name.endswith(_DOOMED):
                shutil.rmtree(directory, ignore_errors=True)
            elif (group := Group.load(directory)) is not None:
                about = group.about
                self._groups[GroupId(about.account, about.region, about.name)] = group
            else:
                shutil.rmtree(directory, ignore_errors=True)  # a kill came while it was made

    def _group(self, id: GroupId) -> Group:
        group = self._groups.get(id)
        if group is None:
            raise no_group()
        return group

    def _create(self, about: About) -> Group:
        id = GroupId(about.account, about.region, about.name)
        self._check_room()
        name = blake2b("\0".join(id).encode(), digest_size=16).hexdigest()  # group names may be longer than files'
        group = self._groups[id] = Group.create(self._directory / name, about)
        return group

    def _append(self, id: GroupId, group: Group, batches: Sequence[Events]) -> None:
        now = self._now()
        self._check_room()
        written = group.append(batches, now)
        self._written(id, group)
        for watcher in tuple(self._watchers):
            try:
                watcher(group.about, written, now)
            except Exception:  # a bug in who looks on must not cost the lines of the others
                _log.exception("logs of %s: a watcher failed", id.name)

    def _written(self, id: GroupId, group: Group) -> None:
        self._unsynced[id] = group
        self._with_descriptor[id] = group
        self._with_descriptor.move_to_end(id)
        if len(self._with_descriptor) > OPEN:
            _, idle = self._with_descriptor.popitem(last=False)
            idle.close()

    def _sync(self) -> None:
        for group in self._unsynced.values():
            with _told(group):
                group.sync()
            group.close()
        self._unsynced.clear()
        self._with_descriptor.clear()

    def _check_room(self) -> None:
        found = os.statvfs(self._directory)
        if found.f_bavail * found.f_frsize < self._reserve:
            raise ServiceUnavailableException("The disk is nearly full, and what is left is not for logs.")

    def _close(self) -> None:
        self._sync()
        for group in self._groups.values():
            group.close()

    def _shut_down(self) -> None:
        self.writing.shutdown()
        self._reading.shutdown()

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    async def _write(self, run: Callable[[], T]) -> T:
        with _disk_errors():
            return await asyncio.get_running_loop().run_in_executor(self.writing, run)


@contextmanager
def _disk_errors() -> Generator[None]:
    """For callers of the API, who can't do anything about it; the operator finds the cause in the log."""
    try:
        yield
    except OSError as error:
        _log.error("logs: %s", error)
        raise ServiceUnavailableException("The service cannot complete the request.") from error


@contextmanager
def _told(group: Group) -> Generator[None]:
    """For work that nobody waits for."""
    try:
        yield
    except OSError as error:
        _log.error("logs of %s: %s", group.about.name, error)
