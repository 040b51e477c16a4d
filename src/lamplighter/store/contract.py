"""What the service keeps, as small contracts; SQLite implements them now, PostgreSQL later, one suite tests both.

All writes are one transaction each and durable (fsynced) when they return; every write of the control plane bumps the
change sequence, and `changes` tells listeners, so that caches drop what is no longer true.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeVar

from lamplighter.model.errors import ServiceException
from lamplighter.model.events import Event
from lamplighter.model.functions import CodePackage, FunctionId, FunctionVersion

T = TypeVar("T")


class AlreadyExists(Exception):
    """The key of a create is taken."""


class StaleWrite(Exception):
    """The row is not the one that was read: somebody else was faster, or it is gone. Read again and decide anew."""


class StoreFailed(ServiceException):
    """The disk is full or broken: nothing of the write was kept. A 5xx for the caller; the cause is in the log."""

    code = "ServiceException"

    def __init__(self) -> None:
        super().__init__("The change could not be stored, and nothing was changed. Please try again.")


class DataDirectoryInUse(Exception):
    """Another server holds the data directory."""

    def __init__(self, path: str, pid: int | None) -> None:
        holder = f"by the server with pid {pid}" if pid else "by another server"
        super().__init__(f"The data directory {path} is in use {holder}; stop that one, or give another --data-dir.")
        self.path = path
        self.pid = pid


class DataDirectoryUnusable(Exception):
    """It cannot be made, read or written, or was written by a newer release; the text has the remedy."""


class Functions(Protocol):
    """Functions with their versions. A version that is being published is given its number here, in the transaction."""

    async def create(
        self,
        function: FunctionVersion,
        tags: Mapping[str, str],
        publish: FunctionVersion | None = None,
        also: "Callable[[RecordTransaction], None] | None" = None,
    ) -> FunctionVersion | None:
        """`publish`: what to keep as the first version as well; returned with its number. `also`: what to check and
        write in the same transaction, once the function is there. Raises AlreadyExists."""
        ...

    async def get(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None:
        """The version as the control plane shows it, with an update that is still in progress."""
        ...

    async def serving(self, id: FunctionId, version: str = "$LATEST") -> FunctionVersion | None:
        """The version as invocations use it: until an update has succeeded, what was there before."""
        ...

    async def tags(self, id: FunctionId) -> Mapping[str, str]: ...

    async def replace(
        self,
        function: FunctionVersion,
        expected_revision: str,
        serve: Literal["this", "before"] = "this",
        publish: FunctionVersion | None = None,
    ) -> FunctionVersion | None:
        """Replace the version whose revision is still `expected_revision`; raises StaleWrite otherwise.

        `serve`: whether invocations use it from now on, or go on with what they use. `publish` as in `create`."""
        ...

    async def newest(self, id: FunctionId) -> FunctionVersion | None:
        """The version published last, if it still is there."""
        ...

    async def delete(self, id: FunctionId) -> frozenset[str] | None:
        """The function with all its versions and whatever hangs on it, in one transaction.

        Returns the digests of the packages they needed, or None if there was no such function."""
        ...

    async def count(self, account: str, region: str) -> int:
        """How many functions there are."""
        ...

    async def page(self, account: str, region: str, after: str | None, limit: int) -> Sequence[FunctionVersion]:
        """$LATEST of up to `limit` functions by name, those behind the name `after`."""
        ...

    async def page_of_versions(
        self, account: str, region: str, after: tuple[str, str] | None, limit: int
    ) -> Sequence[FunctionVersion]:
        """Up to `limit` versions by name and number ($LATEST first), those behind the name and version `after`."""
        ...

    async def versions(self, id: FunctionId, after: str | None, limit: int) -> Sequence[FunctionVersion]:
        """Up to `limit` versions of one function by number ($LATEST first), those behind the version `after`."""
        ...

    async def unsettled(self, id: FunctionId | None = None) -> Sequence[FunctionVersion]:
        """Versions that are Pending or have an update InProgress: of all functions, or of one."""
        ...


class PackageReferences(Protocol):
    """Who needs which package. A package that nobody needs may be removed."""

    async def referenced(self, digest: str) -> bool: ...

    async def digests(self) -> frozenset[str]:
        """Every digest that is referenced."""
        ...

    async def total_size(self, account: str, region: str) -> int:
        """Bytes of all packages of an account in a region, each version counted (AWS: spec 1.9, TotalCodeSize)."""
        ...


Document = dict[str, Any]  # JSON


class Record(NamedTuple):
    owner: str
    key: str
    document: Document


class RecordView(Protocol):
    """Everything of one account and region beside functions: aliases, layers, policies, configs of all kinds.

    A record is a JSON document found by kind ("alias", "layer_version", …), owner and key. What hangs on a function has
    the function's name as owner and goes when the function goes. Keys that are numbers are ordered as numbers."""

    account: str
    region: str

    def get(self, kind: str, owner: str, key: str) -> Document | None: ...

    def page(
        self, kind: str, owner: str | None = None, after: tuple[str, str] | None = None, limit: int = -1
    ) -> Sequence[Record]:
        """Records of a kind (and owner) in order, behind the owner and key `after`; no limit: all."""
        ...

    def page_backwards(self, kind: str, owner: str, before: str | None = None, limit: int = -1) -> Sequence[Record]:
        """Records of a kind and owner from the last to the first, those in front of the key `before`."""
        ...

    def version(self, name: str, version: str = "$LATEST") -> FunctionVersion | None:
        """A function version, as `Functions.get`."""
        ...

    def tags(self, name: str) -> dict[str, str] | None:
        """A function's tags; None when there is no such function."""
        ...


class RecordTransaction(RecordView, Protocol):
    """What a rule may read and change in one transaction. Transactions run one after the other: what was read stays
    true until the commit. Refusals raised inside undo it."""

    def put(
        self,
        kind: str,
        owner: str,
        key: str,
        document: Document,
        *,
        of_function: bool = True,
        package: CodePackage | None = None,
    ) -> None:
        """New, or over the one there was. `package`: is kept for as long as the record is, and counted as storage."""
        ...

    def delete(self, kind: str, owner: str, key: str) -> Document | None:
        """What was there."""
        ...

    def touch(self, name: str, revision: str, version: str = "$LATEST") -> None:
        """Give a function version another RevisionId."""
        ...

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """A function's tags, instead of those it had."""
        ...

    def delete_version(self, name: str, version: str) -> frozenset[str] | None:
        """One published version, of which listeners are told; its number is never used again.

        Returns the digests of the packages it needed, or None if there was no such version."""
        ...

    def changed(self, name: str) -> None:
        """Tell the listeners of Changes, after the commit, that something about this function changed."""
        ...


class Records(Protocol):
    def view(self, account: str, region: str) -> RecordView:
        """Reads what is committed, at once."""
        ...

    async def transact(self, account: str, region: str, run: Callable[[RecordTransaction], T]) -> T:
        """Run a rule in a transaction, outside of the event loop: it must neither wait nor touch anything else.

        Durable when it returns; what `run` raises undoes everything and is raised here."""
        ...


class Changes(Protocol):
    """Tells listeners after a commit what changed. Callbacks run in the event loop and must not wait.

    They have run when the write returns to whoever asked for it."""

    def listen(self, callback: Callable[[FunctionId], None]) -> None: ...

    async def sequence(self) -> int:
        """Grows with every write; equal means nothing changed."""
        ...


class QueueCounts(NamedTuple):
    """One queue at a glance. `oldest`: when the oldest of its events was accepted; None without any."""

    queue: str
    waiting: int  # events that no attempt of has ended yet
    retrying: int  # events that wait for another one
    size: int  # bytes of the payloads of both
    oldest: float | None
    died: Mapping[str, int]  # events that ended without success so far, by reason


class EventQueue(Protocol):
    """Events that wait, in any number of queues, until somebody is done with them: nothing acknowledged is ever lost.

    At least once: whoever claimed an event and is gone without a word gives it back, and another is given it. Within a
    queue, events come by the time they are due; a queue's backlog costs no other queue anything. Every method that
    changes something is one transaction, durable when it returns, and raises StoreFailed with nothing changed."""

    def listen(self, callback: Callable[[str, float], None]) -> None:
        """Told, after the commit, of a queue that an event was put into, and when that one is due."""
        ...

    async def enqueue(self, *events: Event) -> None:
        """All or none. One that waits already, by its id and `accepted`, is left as it is."""
        ...

    async def queues(self) -> Mapping[str, float]:
        """The queues with events in them, and when the first of each is due. Takes no longer with more events."""
        ...

    async def claim(self, queue: str, limit: int, now: float, largest: int) -> tuple[Sequence[Event], float]:
        """Up to `limit` events that are due and nobody has, of up to `largest` bytes together (one may be larger).

        They are the caller's until settled, retried or released. Also: when the next one of this queue is due
        (infinity: there is none)."""
        ...

    async def settle(self, event: Event, then: Sequence[Event] = (), died: str | None = None) -> None:
        """Done with it, whatever became of it; in the same transaction, what follows is put into its queue.

        `died`: why it ended without success, to be counted. It may be settled twice; the second time changes nothing
        (what follows is put in only once)."""
        ...

    async def retry(self, event: Event) -> None:
        """Give back a claimed event with the `due`, `attempts` and `state` that it has now."""
        ...

    def release(self, events: Sequence[Event]) -> None:
        """Give back claimed events as they were."""
        ...

    async def counts(self) -> Sequence[QueueCounts]:
        """Of every queue with events in it, or that events died in. Takes longer with more events."""
        ...

    async def peek(self, queue: str, limit: int) -> Sequence[Event]:
        """The first events of a queue, claimed or not."""
        ...


class Blobs(Protocol):
    """Content-addressed files: a digest is the lower-case hex SHA-256 of the content. Written whole or not at all."""

    async def put(self, content: bytes) -> str:
        """Durable when it returns; putting the same content again is free."""
        ...

    async def read(self, digest: str) -> bytes:
        """The content, which is checked against the digest. Raises FileNotFoundError, or BlobDamaged."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Raises FileNotFoundError."""
        ...

    async def delete(self, digest: str) -> None:
        """Idempotent. Nothing else may run between the caller's last look and the file's removal: it does not wait."""
        ...

    async def digests(self) -> frozenset[str]:
        """Every digest there is."""
        ...


class BlobDamaged(Exception):
    """A blob's content is not what its name says: the disk lost or changed it."""
