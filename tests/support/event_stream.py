"""A streamed response as it arrives: the head, then event by event."""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.eventstream import EventStreamBuffer

from support.raw_http import DEADLINE, Client

STREAMING = (sys.executable, str(Path(__file__).with_name("streaming_runtime.py")))  # for PlainSandboxes


@dataclass
class Streaming:
    status: int
    headers: dict[str, str]  # names in lower case
    client: Client
    payload: bytearray = field(default_factory=bytearray)  # of the chunks so far
    complete: dict[str, Any] | None = None  # the last event
    _buffer: Any = field(default_factory=EventStreamBuffer)  # Any: botocore has no types

    async def more(self) -> bool:
        """Read one chunk of HTTP's; False at the end of the body."""
        async with asyncio.timeout(DEADLINE):
            size = int(await self.client.reader.readuntil(b"\r\n"), 16)
            data = (await self.client.reader.readexactly(size + 2))[:-2]
        self._buffer.add_data(data)
        for event in self._buffer:
            assert self.complete is None, "nothing follows the last event"
            assert event.headers[":message-type"] == "event"
            if event.headers[":event-type"] == "PayloadChunk":
                assert event.headers[":content-type"] == "application/octet-stream"
                self.payload += event.payload
            else:
                assert event.headers[":event-type"] == "InvokeComplete"
                self.complete = json.loads(event.payload)
        return size > 0

    async def until(self, payload: bytes) -> None:
        while bytes(self.payload) != payload:
            assert await self.more(), f"ended with {bytes(self.payload)!r}"

    async def end(self) -> dict[str, Any]:
        """The rest; what the last event says."""
        while await self.more():
            pass
        assert self.complete is not None, "the last event is missing"
        return self.complete


async def streaming(client: Client, data: bytes) -> Streaming:
    """Send a request and read the head of the response; its body, if it is no stream, is left unread."""
    client.send(data)
    async with asyncio.timeout(DEADLINE):
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Streaming(int(first.split()[1]), headers, client)
