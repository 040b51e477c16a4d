"""Requests and responses as bytes on the wire, and the call as an operation sees it. No parsing here, no rules.

Those that every call makes are tuples: a frozen dataclass takes four times as long."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from lamplighter.model.parcels import Parcel


class Request(NamedTuple):
    """One HTTP request, whole. `path` and `query` are raw (percent-encoded, apart); header names are lower-case.
    A large body comes in pieces, and is empty until the front door has put them together for whoever reads it."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    digest: str | None = None  # of the body, SHA-256 in hexadecimal, if it is known already
    pieces: list[bytes] | None = None  # of a large body; whoever puts them together takes them out
    parcel: Parcel | None = None  # has a large body of a call of Invoke


class Response(NamedTuple):
    """`headers` without Content-Length, Date and x-amzn-RequestId, which the server adds."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pieces: list[bytes] | None = None  # of a large body, which is empty then
    parcel: Parcel | None = None  # has it


class Source(Protocol):
    """A body that comes piece by piece. Whoever is given one calls `finish` or `cancel` at the end, read or not."""

    async def read(self) -> bytes:
        """The next piece, when there is one; b"" at the end."""
        ...

    async def finish(self) -> None:
        """Nothing more is read. Returns when what makes the body has come to its own end."""
        ...

    def cancel(self) -> None:
        """Nothing more is read, and what makes the body shall end too."""
        ...


@dataclass(frozen=True, slots=True)
class Streamed:
    """A response whose body is sent as it comes. `headers` as a Response's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Source


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed the request. With `--auth off`: the account's root. `allowed`: the actions it may take; None: all."""

    access_key: str
    account: str
    arn: str
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation may know of the request beside its parsed input."""

    request_id: str
    caller: Caller
    region: str
    endpoint: str  # scheme://host:port as the caller addressed us, for URLs we hand out
    trace: str | None = None  # X-Amzn-Trace-Id as it came

    @property
    def account(self) -> str:
        return self.caller.account


# An operation: parsed input in the service model's member names -> output likewise; refusals are ServiceErrors.
Operation = Callable[[Call, dict[str, Any]], Awaitable[dict[str, Any]]]
StreamingOperation = Callable[[Call, dict[str, Any]], Awaitable[dict[str, Any] | Streamed]]
