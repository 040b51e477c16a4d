"""What the service keeps, as small contracts; SQLite implements them now, PostgreSQL later, one suite tests both.

All writes are one transaction each and durable (fsynced) when they return; every write of the control plane bumps the
change sequence, and `changes` tells listeners, so that caches drop what is no longer true.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Protocol

from lamplighter.model.functions import FunctionId, FunctionVersion


class AlreadyExists(Exception):
    """The key of a create is taken."""


class StaleWrite(Exception):
    """The row is not the one that was read: somebody else was faster, or it is gone. Read again and decide anew."""


class Functions(Protocol):
    async def create(self, function: FunctionVersion, tags: Mapping[str, str]) -> None:
        """Raises AlreadyExists."""
        ...

    async def get(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None: ...

    async def tags(self, id: FunctionId) -> Mapping[str, str]: ...

    async def replace(self, function: FunctionVersion, expected_revision: str) -> None:
        """Replace the version whose revision is still `expected_revision`; raises StaleWrite otherwise."""
        ...

    async def delete(self, id: FunctionId) -> bool:
        """The function with all its versions and whatever hangs on it; False if there was none."""
        ...

    async def page(self, account: str, region: str, after: str | None, limit: int) -> Sequence[FunctionVersion]:
        """$LATEST of up to `limit` functions by name, those behind the name `after`."""
        ...

    async def unsettled(self) -> Sequence[FunctionVersion]:
        """Versions that are Pending or have an update InProgress: what a restart must take up again."""
        ...


class Changes(Protocol):
    """Tells listeners after a commit what changed. Callbacks run in the event loop and must not wait."""

    def listen(self, callback: Callable[[FunctionId], None]) -> None: ...


class Blobs(Protocol):
    """Content-addressed files: a digest is the lower-case hex SHA-256 of the content. Written whole or not at all."""

    async def put(self, content: bytes) -> str:
        """Durable when it returns; putting the same content again is free."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Raises FileNotFoundError."""
        ...

    async def delete(self, digest: str) -> None: ...
