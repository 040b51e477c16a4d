"""What the C library keeps of memory that was freed: little, and no more with the days.

glibc takes large blocks from the kernel one by one, and gives them back, until the first is freed: then it takes the
next of that size, up to 32 MB, from heaps of which each thread has its own. A payload's whole is made in one thread and
dropped in another, small things come to lie behind it, and the heaps grow. With fixed bounds a block above a megabyte
never comes to lie in a heap (decision 0055). Payloads' pieces do, and come again: so not every free end is given back
at once, but everything that is free once there is nothing to do, and once a minute while there is.
"""

import asyncio
import ctypes
import time
from typing import Final, NoReturn

_TRIM_THRESHOLD: Final = -1, 16 << 20  # mallopt(3), bytes: a free end of a heap that is given back
_MMAP_THRESHOLD: Final = -3, 1 << 20  # blocks that are taken from the kernel
_LOOK: Final = 2.0  # seconds
_AT_LEAST: Final = 30  # looks until it is done even so
_QUIET: Final = 0.05  # of a processor: less means that nobody waits


def bound() -> bool:
    """Of this process, from here on. False: it is not glibc's malloc, and others have no such habit."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(*_MMAP_THRESHOLD) == mallopt(*_TRIM_THRESHOLD) == 1


async def keep_small(look: float = _LOOK) -> NoReturn:
    """Give back what is free, again and again, in a thread: some milliseconds, for which others may allocate."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    looks, used, given_back = 0, 0.0, 0.0  # seconds of processor, as of the last look and the last time
    while True:
        await asyncio.sleep(look)
        now = time.process_time()
        looks += 1
        quiet, busy_since = now - used < _QUIET * look, now - given_back > _QUIET * look
        used = now
        if trim is not None and busy_since and (quiet or looks >= _AT_LEAST):
            await asyncio.to_thread(trim, 0)
            looks, given_back = 0, time.process_time()
