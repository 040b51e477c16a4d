"""A streamed answer on its way from the guest to whoever asked for it: the one place where its bytes wait.

The Runtime API feeds a stream through an `Upload`, the front door takes from it, each at its own pace. What waits is
bounded: while a stream is full the guest's connection is not read, so a slow caller slows the function down and costs
no memory. When nobody takes any more (`drop`), what still comes is thrown away and the function runs on.
"""

import asyncio
from collections.abc import Callable

STREAM_LIMIT = 209_715_200  # bytes of a streamed response (AWS: spec 2.4)
ROOM = 131_072  # bytes that may wait; what one read of the guest's socket brought comes on top

_CONTENT_TYPE_LIMIT = 1024  # bytes; clients take no head of any length, and a guest decides what is in this one


class Stream:
    """One answer. Made by who wants it streamed; a function may still answer in one piece, and then nothing is fed."""

    __slots__ = ("_dropped", "_news", "_on_room", "_room", "_waiting", "began", "content_type", "size")

    def __init__(self, room: int = ROOM) -> None:
        self.began: float | None = None  # when the function began to stream, on the loop's clock
        self.size = 0  # bytes that came so far
        self.content_type: str | None = None  # as the function declared it, known when it has begun or answered
        self._room = room
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self._on_room: Callable[[], None] | None = None  # set while the feeder has been told to stop
        self._dropped = False

    # The guest's side

    def declare(self, content_type: bytes | None) -> None:
        if content_type is not None and len(content_type) <= _CONTENT_TYPE_LIMIT:
            self.content_type = content_type.decode("latin-1")

    def begin(self) -> None:
        self.began = asyncio.get_running_loop().time()
        self._news.set()

    @property
    def begun(self) -> bool:
        return self.began is not None

    def feed(self, data: bytes) -> bool:
        """Whether more may be fed; if not, only after `when_room`."""
        if self._dropped:
            return True
        self._waiting += data
        self._news.set()
        return len(self._waiting) < self._room

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call back once, when more may be fed."""
        self._on_room = callback

    # The caller's side

    def take(self, size: int) -> bytes:
        """What waits, at most `size` bytes of it; b"" if nothing does."""
        waiting = self._waiting
        data = bytes(waiting[:size])
        del waiting[:size]
        if len(waiting) <= self._room // 2:
            self._tell_room()
        return data

    async def news(self) -> None:
        """Until there is something to look at: begun, fed or woken."""
        await self._news.wait()
        self._news.clear()

    def wake(self) -> None:
        self._news.set()

    def drop(self) -> None:
        """Nobody takes any more."""
        self._dropped = True
        self._waiting.clear()
        self._tell_room()

    def _tell_room(self) -> None:
        if self._on_room is not None:
            callback, self._on_room = self._on_room, None
            callback()


class Upload:
    """The guest's half: counts what a connection brings, and lets the connection be read only while there is room."""

    __slots__ = ("_size", "_stream", "_transport")

    def __init__(self, stream: Stream, transport: asyncio.Transport) -> None:
        self._stream = stream
        self._transport = transport
        self._size = 0
        stream.begin()

    @property
    def too_large(self) -> bool:
        return self._size > STREAM_LIMIT

    def take(self, data: bytes) -> None:
        """Pass it on; of what is too large only as much as the limit allows."""
        left = STREAM_LIMIT - self._size
        self._size += len(data)
        self._stream.size = min(self._size, STREAM_LIMIT)
        if left <= 0:
            return
        if not self._stream.feed(data[:left]):
            self._transport.pause_reading()
            self._stream.when_room(self.resume)

    def resume(self) -> None:
        """Read on; also at the end, when what still waits is none of the guest's business any more."""
        if not self._transport.is_closing():
            self._transport.resume_reading()
