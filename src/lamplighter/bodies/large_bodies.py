"""What has to be known of a large body, found out beside the event loop: its hash, and whether it is JSON.

A few megabytes take long enough to hash that everybody else's calls would feel it, and to parse as many objects a
hundred times as long. A thread alone does not help there: to parse is to hold Python's lock to the end. What is large
by a few long strings is parsed in slices (`long_strings.py`), and for the rest there is SQLite's parser, which holds no
lock. Both decide what is JSON only by saying yes, and are as strict as the one for small bodies.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeVar

from lamplighter.bodies.long_strings import surely_json_by_slices
from lamplighter.model.pieces import joined

LARGE: Final = 256 << 10  # bytes
_AT_ONCE: Final = 2  # bodies that are looked at; the others wait, which is who sends large ones

_T = TypeVar("_T")


class LargeBodies:
    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def joined(self, pieces: list[bytes]) -> bytes:
        """The whole, of pieces that are not kept."""
        async with self._turns:
            return await joined(pieces)

    async def digest(self, body: bytes) -> str:
        """Its SHA-256, in hexadecimal."""
        return await self._beside(lambda: sha256(body).hexdigest())

    async def is_json(self, body: bytes, decide: Callable[[bytes], bool]) -> bool:
        """As `decide`, which is asked only where the answer might be no."""
        return await self._beside(lambda: surely_json_by_slices(body) or surely_json(body) or decide(body))

    async def _beside(self, work: Callable[[], _T]) -> _T:
        async with self._turns:
            return await asyncio.to_thread(work)


def surely_json(body: bytes) -> bool:
    """False: maybe not."""
    if b"\0" in body:  # the end of a text, to SQLite
        return False
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute("SELECT json_valid(?)", (text,)).fetchone() == (1,)
    except sqlite3.Error:  # built without it, or too large for it
        return False
    finally:
        connection.close()
