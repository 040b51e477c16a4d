"""The packages of functions from the moment they arrive until nothing needs them: kept as blobs, unpacked to be run.

Three promises: a package is durable before a row names it; a package that a row or a request under way names is never
removed; `<code>/<digest>` is either absent or complete. Unpacked packages are a cache: they are made again from the
blob when they are missing, and thrown away when the machine has restarted, since they are not fsynced.
"""

import asyncio
import hashlib
import io
import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator, Iterable
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from lamplighter.control import packages
from lamplighter.model.clock import Clock
from lamplighter.model.errors import InvalidParameterValueException
from lamplighter.model.functions import CodePackage
from lamplighter.store.contract import BlobDamaged, Blobs, PackageReferences

LINGER = 1_000.0  # seconds an unpacked package stays after nothing needs it: an invocation under way takes up to 900
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNFINISHED = ".unfinished-"

log = logging.getLogger(__name__)


class Code:
    """`directory`: where packages are unpacked; it must exist and belong to this server alone."""

    def __init__(self, blobs: Blobs, references: PackageReferences, directory: Path, clock: Clock) -> None:
        self._blobs = blobs
        self._references = references
        self._directory = directory
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._holds = 0  # how often anything was held: tells whether something was held meanwhile
        self._unpacking: dict[str, asyncio.Task[Path]] = {}
        self._prepared: set[str] = set()
        self._lingering: dict[str, float] = {}

    @asynccontextmanager
    async def keeping(self, content: bytes, unzipped: int = 0) -> AsyncGenerator[CodePackage]:
        """The package, durable, and not removed while the block runs, whether or not a row names it.

        When nothing names it after the block, it is gone again. `unzipped`: bytes it unpacks to. Raises StoreFailed."""
        package = await self.measure(content, unzipped)
        async with self.holding((package.digest,)):
            await self._blobs.put(content)
            yield package

    @asynccontextmanager
    async def holding(self, digests: Collection[str]) -> AsyncGenerator[None]:
        """Packages that are there stay while the block runs, from the moment it is entered: entering does not wait."""
        try:
            with ExitStack() as stack:
                for digest in digests:
                    stack.enter_context(self._held_once(digest))
                yield
        finally:
            await self.free(digests)

    async def measure(self, content: bytes, unzipped: int = 0) -> CodePackage:
        """What the package would be, if it was kept."""
        return CodePackage(await asyncio.to_thread(_digest, content), len(content), unzipped)

    @contextmanager
    def _held_once(self, digest: str) -> Generator[None]:
        self._held[digest] += 1
        self._holds += 1
        try:
            yield
        finally:
            self._held[digest] -= 1
            if not self._held[digest]:
                del self._held[digest]

    async def ensure(self, digest: str) -> Path:
        """Where the package is unpacked, which it is when this returns.

        Raises FileNotFoundError or BlobDamaged when the blob is gone or damaged, OSError when the disk fails."""
        if digest in self._prepared:
            return self._directory / digest
        task = self._unpacking.get(digest)
        if task is None:
            task = self._unpacking[digest] = asyncio.create_task(self._unpack(digest))
            task.add_done_callback(lambda _: self._unpacking.pop(digest, None))
        return await asyncio.shield(task)  # others may wait for it too

    async def free(self, digests: Iterable[str]) -> None:
        """Remove those packages that nothing needs any more: the blobs now, what is unpacked after a while."""
        for digest in digests:
            if not await self._is_free(digest):
                continue
            await self._blobs.delete(digest)
            if digest in self._prepared:
                self._lingering[digest] = self._clock.monotonic() + LINGER

    async def sweep(self) -> None:
        """Remove unpacked packages that nothing has needed for long enough. To be called now and then."""
        for digest, until in list(self._lingering.items()):
            if self._clock.monotonic() < until:
                continue
            self._lingering.pop(digest, None)
            if await self._is_free(digest):
                self._prepared.discard(digest)
                await self._remove(digest)

    async def recover(self) -> None:
        """At the start: throw away what a crash left half done, and what nothing needs."""
        needed = await self._references.digests()
        await self.free(await self._blobs.digests() - needed)
        self._prepared = await asyncio.to_thread(self._recover, needed)

    async def restore(self) -> None:
        """Unpack what is needed and is not, one after the other: nobody waits, but whoever comes finds it done."""
        for digest in await self._references.digests() - self._prepared:
            try:
                await self.ensure(digest)
            except (OSError, BlobDamaged, InvalidParameterValueException) as error:
                log.error("the package %s cannot be unpacked: %s", digest, error)

    async def close(self) -> None:
        """Waits for what is being unpacked."""
        await asyncio.gather(*self._unpacking.values(), return_exceptions=True)

    async def _is_free(self, digest: str) -> bool:
        while True:
            before = self._holds
            if digest in self._held or await self._references.referenced(digest):
                return False
            if before == self._holds:  # else somebody may have come and gone while we asked
                return True

    async def _unpack(self, digest: str) -> Path:
        content = await self._blobs.read(digest)
        path = await asyncio.to_thread(self._unpack_content, digest, content)
        self._prepared.add(digest)
        return path

    def _unpack_content(self, digest: str, content: bytes) -> Path:
        path = self._directory / digest
        if path.is_dir():
            return path
        temporary = self._directory / f"{UNFINISHED}{uuid.uuid4().hex}"
        temporary.mkdir(0o755)
        try:
            packages.unpack(io.BytesIO(content), temporary)
            os.rename(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return path

    async def _remove(self, digest: str) -> None:
        aside = self._directory / f"{UNFINISHED}{uuid.uuid4().hex}"
        try:
            os.rename(self._directory / digest, aside)  # at once, so that it is never there in part
        except FileNotFoundError:
            return
        await asyncio.to_thread(shutil.rmtree, aside, True)

    def _recover(self, needed: frozenset[str]) -> set[str]:
        """What is unpacked and can be trusted."""
        trusted = self._is_same_boot()
        for path in self._directory.iterdir():
            if path.is_dir() and (path.name.startswith(UNFINISHED) or path.name not in needed or not trusted):
                shutil.rmtree(path, ignore_errors=True)
        return {path.name for path in self._directory.iterdir() if path.is_dir()}

    def _is_same_boot(self) -> bool:
        """Whether the machine has run since we were here last, so that what was written is what is there."""
        mark = self._directory / ".boot"
        boot = BOOT_ID.read_text() if BOOT_ID.exists() else ""
        if boot and mark.exists() and mark.read_text() == boot:
            return True
        mark.write_text(boot)
        return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
