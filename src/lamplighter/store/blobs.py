"""Packages as files, each under the SHA-256 of its content: `ab/abcd…`. Written whole or not at all.

A blob is written to a temporary file, fsynced and renamed, and so is its directory entry, so that a database row that
names it can be trusted after a crash. What crashed writes leave behind is swept at the start.
"""

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

from lamplighter.store.contract import BlobDamaged, StoreFailed

DIGEST = re.compile(r"[0-9a-f]{64}")
UNFINISHED = ".unfinished-"


class FileBlobs:
    """Implements the Blobs contract in a directory of its own (which must exist)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for number in range(256):
            (directory / f"{number:02x}").mkdir(exist_ok=True)
        _sync(directory)
        for leftover in directory.glob(f"{UNFINISHED}*"):
            leftover.unlink(missing_ok=True)

    async def put(self, content: bytes) -> str:
        return await asyncio.to_thread(self._put, content)

    async def read(self, digest: str) -> bytes:
        return await asyncio.to_thread(self._read, digest)

    def open(self, digest: str) -> BinaryIO:
        return self._path(digest).open("rb")

    async def delete(self, digest: str) -> None:
        self._path(digest).unlink(missing_ok=True)  # here and now, as the contract says: one directory entry

    async def digests(self) -> frozenset[str]:
        return frozenset(path.name for path in self._directory.glob("??/*") if DIGEST.fullmatch(path.name))

    def _path(self, digest: str) -> Path:
        """Raises FileNotFoundError for what is no digest, so that no request can name another file."""
        if not DIGEST.fullmatch(digest):
            raise FileNotFoundError(digest)
        return self._directory / digest[:2] / digest

    def _read(self, digest: str) -> bytes:
        content = self._path(digest).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobDamaged(f"{self._path(digest)} is damaged: its content no longer has the digest of its name")
        return content

    def _put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not self._is_whole(path, content):
                self._write(path, content)
        except OSError as error:
            raise StoreFailed from error
        return digest

    @staticmethod
    def _is_whole(path: Path, content: bytes) -> bool:
        """A damaged blob is mended by whoever puts its content again."""
        try:
            return path.read_bytes() == content
        except FileNotFoundError:
            return False

    def _write(self, path: Path, content: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix=UNFINISHED, dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
