"""What a month was metered to, for who makes a bill of it elsewhere (`lamplighter bill`): figures by function and day,
and functions' tags. Prices and how a bill is cut are the asker's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

import orjson

from lamplighter.model.errors import InvalidParameterValueException, ServiceException
from lamplighter.model.metering import Key, Totals, month_of
from lamplighter.store.looking import CannotLook
from lamplighter.store.used import Used

USAGE: Final = "/_lamplighter/usage"


class MonthlyUsage:
    """`flush`: what was counted until now is on disk when it returns True. `read`: what there is from one hour until
    before another; it may take its time, and is asked in a thread."""

    def __init__(self, flush: Callable[[], Awaitable[bool]] | None, read: Callable[[int, int], Used]) -> None:
        self._flush = flush
        self._read = read

    async def __call__(self, query: str) -> bytes:
        """An owner's page. `query`: month=YYYY-MM, in UTC."""
        name = parse_qs(query).get("month", [""])[0]
        hours = month_of(name)
        if hours is None:
            raise InvalidParameterValueException("The parameter month must be a month, such as 2026-11.")
        if self._flush is not None:
            await self._flush()
        return await asyncio.to_thread(self._told, name, *hours)

    def _told(self, name: str, first: int, last: int) -> bytes:
        try:
            found = self._read(first, last)
        except CannotLook as error:
            raise ServiceException("The usage cannot be read.") from error
        return orjson.dumps(
            {
                "month": name,
                "names": [*Key._fields, *Totals._fields],  # of the members of each row
                "rows": [[*key, *totals] for key, totals in found.usage],
                "tags": [[*owner, dict(tags)] for owner, tags in found.tags.items()],
            }
        )
