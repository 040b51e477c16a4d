"""What waits, is retried or died, for who shows it elsewhere (`lamplighter queue`): the rows that the command would
read from the data directory, and the time here, since the asker's clock may be another."""

import asyncio
from collections.abc import Callable
from typing import Final

import orjson

from lamplighter.model.clock import Clock
from lamplighter.model.errors import ServiceException
from lamplighter.store.contract import QueueCounts
from lamplighter.store.looking import CannotLook, Queues

QUEUES: Final = "/_lamplighter/queues"


class WaitingEvents:
    """`read`: what there is; it may take its time, raise CannotLook, and is asked in a thread."""

    def __init__(self, read: Callable[[], Queues], clock: Clock) -> None:
        self._read = read
        self._clock = clock

    async def __call__(self, _: str) -> bytes:
        """An owner's page. Times in seconds since the epoch, sizes in bytes."""
        return await asyncio.to_thread(self._told)

    def _told(self) -> bytes:
        try:
            found = self._read()
        except CannotLook as error:
            raise ServiceException("The queues cannot be read.") from error
        return orjson.dumps(
            {
                "at": self._clock.now(),
                "names": QueueCounts._fields,  # of the members of each row
                "rows": [[*counts] for counts in found.counts],
                "due": found.due,
            }
        )
