"""Payloads of megabytes, which come in pieces and are put together beside the event loop.

To copy six megabytes into fresh memory takes 5 ms and more, most of it the kernel's for the pages. `bytes.join` gives
Python's lock away for what is larger than a megabyte, so in a thread it keeps nobody waiting.
"""

import asyncio
from typing import Final

from lamplighter.model.invocation import Outcome

TOGETHER: Final = 1 << 20  # bytes; up to this size it takes less time than a thread


async def joined(pieces: list[bytes]) -> bytes:
    """All of them. `pieces` is empty afterwards: whoever else holds it keeps no second copy."""
    body = await asyncio.to_thread(b"".join, tuple(pieces))
    pieces.clear()
    return body


async def whole(outcome: Outcome) -> Outcome:
    """With its payload in one piece."""
    if outcome.pieces is None:
        return outcome
    return outcome._replace(payload=await joined(outcome.pieces), pieces=None)
