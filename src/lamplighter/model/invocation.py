"""One attempt to run a payload, and what came back. Tuples, since every call makes some of them and a frozen dataclass
takes four times as long."""

from typing import Literal, NamedTuple

from lamplighter.model.parcels import Carrier, Parcel

Source = Literal["sync", "async"]  # who waits for the outcome: a caller, or a queue


class Invocation(NamedTuple):
    """What a runtime is given. `client_context` and `cognito_identity` are JSON texts (not base64). `latest`: wall
    time, seconds since the epoch, from which on no runtime is given it any more."""

    request_id: str
    payload: bytes
    invoked_arn: str
    trace_id: str
    client_context: str | None = None
    cognito_identity: str | None = None
    tenant_id: str | None = None
    log_tail: bool = False  # collect the last 4,096 bytes of the log into the outcome
    source: Source = "sync"
    above: str | None = None  # if it is traced: the segment that it belongs below, empty if there is none
    latest: float | None = None
    parcel: Parcel | None = None  # has the payload, which is empty then
    carrier: Carrier | None = None  # whoever waits takes a large answer as a parcel of its

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return len(self.payload) if self.parcel is None else len(self.parcel)


class Outcome(NamedTuple):
    """The answer. `error` set: the payload describes the failure (AWS: spec 2.3). `log_tail`: raw bytes, not base64.

    After a streamed answer the payload is empty, unless it describes why the stream broke off. That of a large answer
    is in pieces: whoever needs the whole puts it together (`model/pieces.py`)."""

    payload: bytes
    error: Literal["Handled", "Unhandled"] | None = None
    log_tail: bytes | None = None
    error_type: str | None = None  # of a failure that the service noticed, or that a broken stream announced
    pieces: list[bytes] | None = None  # of the payload, which is empty then
    parcel: Parcel | None = None  # has the payload, if the invocation came with a carrier
