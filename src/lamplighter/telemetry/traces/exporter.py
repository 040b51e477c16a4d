"""Sends spans to a collector: in batches, beside everything else, and never at the expense of a function.

What waits is bounded; a collector that is down or slow loses the oldest spans, and the log says how many. Traces are
for looking at, so nothing is kept on disk for them.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import orjson

from lamplighter.model.functions import FunctionVersion
from lamplighter.model.loop import Loop
from lamplighter.model.usage import Ran, Usage
from lamplighter.telemetry.traces import documents, otlp, spans
from lamplighter.telemetry.traces.spans import Span

WAITING: Final = 20_000  # spans
BATCH: Final = 1000
PAUSE: Final = 1.0  # seconds between batches
LONGEST_PAUSE: Final = 60.0  # while the collector doesn't answer
_LAST: Final = 5.0  # seconds for what is left at the end
_NEWLINE: Final = b"\n"

Post = Callable[[bytes], Awaitable[bool]]  # sends a request; whether it was taken. Does not raise

_log = logging.getLogger(__name__)


class Exporter(Loop):
    """Observes what ran, and hears what functions send to the X-Ray daemon. Use as `async with`."""

    def __init__(self, post: Post, new_id: Callable[[], str]) -> None:
        self._post = post
        self._new_id = new_id
        self._waiting: deque[tuple[FunctionVersion, Span]] = deque(maxlen=WAITING)
        self._lost = 0

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout(_LAST):
                while self._waiting and await self._send():
                    pass
        except TimeoutError:
            _log.warning("%d spans were left when the service ended", len(self._waiting))

    def observe(self, usage: Usage) -> None:
        if isinstance(usage, Ran) and usage.above is not None:
            for span in spans.of_invocation(usage, self._new_id):
                self._add(usage.function, span)

    def datagram(self, function: FunctionVersion, data: bytes) -> None:
        """What a function has sent to the daemon: a line that says the format, then a segment."""
        header, _, body = data.partition(_NEWLINE)
        try:
            known = orjson.loads(header)
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return
        if not isinstance(known, dict) or not isinstance(document, dict):
            return
        said = cast(dict[str, Any], known)
        if said.get("format") == "json" and said.get("version") == 1:
            for span in documents.read(cast(dict[str, Any], document)):
                self._add(function, span)

    def _add(self, function: FunctionVersion, span: Span) -> None:
        if len(self._waiting) == WAITING:
            self._lost += 1
        self._waiting.append((function, span))

    async def _go_on(self) -> None:
        pause = PAUSE
        while True:
            await asyncio.sleep(pause if pause > PAUSE or len(self._waiting) < BATCH else 0.01)
            if self._lost:
                _log.warning("%d spans were lost: the collector takes them too slowly", self._lost)
                self._lost = 0
            if self._waiting:
                pause = PAUSE if await self._send() else min(pause * 2, LONGEST_PAUSE)

    async def _send(self) -> bool:
        """One batch; what was not taken waits again, in front."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        groups: dict[str, tuple[FunctionVersion, list[Span]]] = {}
        for function, span in batch:
            groups.setdefault(function.arn, (function, []))[1].append(span)
        taken = False
        try:
            taken = await self._post(otlp.request(list(groups.values())))
        finally:
            if not taken:
                room = WAITING - len(self._waiting)
                self._lost += max(0, len(batch) - room)
                self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))
        return taken
