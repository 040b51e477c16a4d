"""One HTTP exchange with another service: bounded in time and size, with nothing kept open afterwards.

Neighbours that are asked often deserve kept connections; for the others a connection per request is the least that can
go wrong. Redirects are answers like any other: a neighbour is where it was configured to be.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httptools

CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case name, the last of several."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unreachable(Exception):
    """No answer, or not a whole one; the text is for the operator."""


class TooLarge(Exception):
    """The answer has more bytes than were asked for at most."""


async def exchange(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    largest: int,
    deadline: float,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """`headers` with Host; `largest`: bytes of the answer's body; `deadline`: seconds for everything; `tls`: for https.

    Raises Unreachable, TooLarge."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (80 if tls is None else 443), ssl=tls, limit=CHUNK
            )
            try:
                writer.write(_request(method, parts, headers, body))
                await writer.drain()
                return await _read(reader, largest)
            finally:
                writer.transport.abort()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise Unreachable(f"{parts.netloc} did not answer within {deadline:.0f} s") from None
    except (OSError, httptools.HttpParserError) as error:
        raise Unreachable(f"{parts.netloc}: {error or type(error).__name__}") from error


def _request(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method not in ("GET", "HEAD", "DELETE"):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join([*lines, "Connection: close", "", ""])).encode("latin-1") + body


async def _read(reader: asyncio.StreamReader, largest: int) -> Answer:
    reading = _Reading()
    parser = httptools.HttpResponseParser(reading)
    while not reading.complete:
        piece = await reader.read(CHUNK)
        if not piece:
            if reading.ends_with_connection:
                break
            raise ConnectionResetError("the connection ended before the answer did")
        parser.feed_data(piece)
        if max(reading.size, reading.announced) > largest:
            raise TooLarge
    return Answer(parser.get_status_code(), reading.headers, b"".join(reading.body))


class _Reading:
    """What httptools tells of one answer."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.complete = False
        self._begun = False

    @property
    def ends_with_connection(self) -> bool:
        """An answer that does not say how long it is."""
        return self._begun and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    @property
    def announced(self) -> int:
        """Bytes, as far as the headers say."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isdecimal() else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._begun = True

    def on_body(self, piece: bytes) -> None:
        self.body.append(piece)
        self.size += len(piece)

    def on_message_complete(self) -> None:
        self.complete = True
