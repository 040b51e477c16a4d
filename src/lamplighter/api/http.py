"""Requests and responses as bytes on the wire, and the call as an operation sees it. No parsing here, no rules."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, whole. `path` and `query` are raw (percent-encoded, apart); header names are lower-case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """`headers` without Content-Length, Date and x-amzn-RequestId, which the server adds."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed the request. With `--auth off`: the account's root."""

    access_key: str
    account: str
    arn: str


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation may know of the request beside its parsed input."""

    request_id: str
    caller: Caller
    region: str
    endpoint: str  # scheme://host:port as the caller addressed us, for URLs we hand out

    @property
    def account(self) -> str:
        return self.caller.account


# An operation: parsed input in the service model's member names -> output likewise; refusals are ServiceErrors.
Operation = Callable[[Call, dict[str, Any]], Awaitable[dict[str, Any]]]
