"""S3, as far as it is needed: an object by bucket, key and version, from whoever serves the endpoint.

Buckets are named in the path, which AWS and every other engine understands. How errors are to be told is for the
caller: here they are S3's own code and message.
"""

import asyncio
import html
import logging
import re
import ssl
from typing import Final
from urllib.parse import quote

from lamplighter.model.clock import Clock
from lamplighter.neighbours.http import Answer, Unreachable, exchange
from lamplighter.neighbours.signing import Keys, sign

DEADLINE: Final = 50.0  # seconds for a whole object: clients of ours wait 60 before they ask again
AT_ONCE: Final = 4  # objects fetched at the same time: each may take 250 MB of memory

log = logging.getLogger(__name__)


class S3Error(Exception):
    """What S3 says, in its words; `region`: where the bucket is, if S3 says that."""

    def __init__(self, code: str, message: str, region: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.region = region


class S3:
    """`endpoint`: scheme://host:port, or with a path in front of the buckets'."""

    def __init__(self, endpoint: str, keys: Keys, clock: Clock, deadline: float = DEADLINE) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._keys = keys
        self._clock = clock
        self._deadline = deadline
        self._tls = ssl.create_default_context() if endpoint.startswith("https://") else None
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def get(self, bucket: str, key: str, version: str | None, region: str, largest: int) -> bytes:
        """`largest`: bytes. Raises S3Error, TooLarge."""
        url = f"{self._endpoint}/{quote(bucket, safe='')}/{quote(key)}"
        if version is not None:
            url += f"?versionId={quote(version, safe='')}"
        try:
            async with asyncio.timeout(self._deadline), self._turns:
                headers = sign("GET", url, {}, b"", self._keys, "s3", region, self._clock.now())
                answer = await exchange("GET", url, headers, largest=largest, deadline=self._deadline, tls=self._tls)
        except TimeoutError:
            raise S3Error("SlowDown", "Too many packages are being fetched. Please try again.") from None
        except Unreachable as error:
            log.error("S3 cannot be reached at %s: %s", self._endpoint, error)
            raise S3Error("ServiceUnavailable", "The S3 endpoint of this installation cannot be reached.") from error
        if answer.status != 200:
            raise _error(answer)
        return answer.body


def _error(answer: Answer) -> S3Error:
    text = answer.body[:65_536].decode("utf-8", "replace")
    code, message = _element("Code", text), _element("Message", text)
    return S3Error(
        code or str(answer.status), message or f"HTTP status {answer.status}", answer.headers.get("x-amz-bucket-region")
    )


def _element(name: str, text: str) -> str | None:
    match = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(match[1]).strip() if match else None
