"""A large payload that another process reads, keeps and writes, so that the event loop never has its bytes.

What is promised of them; how it is done is in `bodies/`.
"""

import asyncio
from typing import Final, Protocol

_LEFT: Final = 1 << 20  # bytes; for fewer it takes longer to hand them over than to have them
_READ: Final = 256 << 10  # bytes; who has read more already had better read on


def worth_carrying(read: int, left: int) -> bool:
    """A payload of which so many bytes have been read, and so many have still to come."""
    return left > _LEFT and read <= _READ


class CarrierLost(ConnectionError):
    """Whoever carried it is gone, or the one who sent or took it is."""


class TooSlow(TimeoutError):
    """Who sends or takes it does so too slowly."""


class Parcel(Protocol):
    """It is kept for as long as this object is."""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal; empty if it was not to be judged."""
        ...

    @property
    def is_json(self) -> bool: ...

    def __len__(self) -> int:
        """Bytes, never none."""
        ...

    def put(self, transport: asyncio.BaseTransport, head: bytes, caller: bool) -> asyncio.Future[None]:
        """Write it behind `head`. The transport has nothing left to write, and is given nothing until it is done.
        `caller`: who takes it has to go on taking. Raises CarrierLost and TooSlow."""
        ...

    async def fetch(self) -> bytes:
        """All of it. Raises CarrierLost."""
        ...


class Carrier(Protocol):
    def stands(self) -> bool:
        """Whether it can be given something now. If not, it is on its way from here on."""
        ...

    def take(self, transport: asyncio.BaseTransport, first: bytes, left: int, caller: bool) -> asyncio.Future[Parcel]:
        """Read `left` bytes, which come after `first`. The transport is not read until it is done or cancelled.
        `caller`: who sends it has to go on sending, and it is judged. Raises CarrierLost and TooSlow."""
        ...
