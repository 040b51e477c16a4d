"""S3, as far as it is needed: an object by bucket, key and version, from whoever serves the endpoint.

Buckets are named in the path, which AWS and every other engine understands. How errors are to be told is for the
caller: here they are S3's own code and message.
"""

import asyncio
from typing import Final
from urllib.parse import quote

from lamplighter.model.clock import Clock
from lamplighter.neighbours.http import Answer
from lamplighter.neighbours.signing import Keys
from lamplighter.neighbours.wire import Endpoint, NeighbourError, xml_error

DEADLINE: Final = 50.0  # seconds for a whole object: clients of ours wait 60 before they ask again
AT_ONCE: Final = 4  # objects fetched at the same time: each may take 250 MB of memory


class S3Error(NeighbourError):
    """What S3 says, in its words; `region`: where the bucket is, if S3 says that."""

    def __init__(self, code: str, message: str, region: str | None = None, status: int | None = None) -> None:
        super().__init__(code, message, status)
        self.region = region


class S3:
    """`endpoint`: scheme://host:port, or with a path in front of the buckets'."""

    def __init__(self, endpoint: str, keys: Keys, clock: Clock, deadline: float = DEADLINE) -> None:
        self._endpoint = Endpoint("s3", "S3", endpoint, keys, clock, deadline)
        self._deadline = deadline
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def get(self, bucket: str, key: str, version: str | None, region: str, largest: int) -> bytes:
        """`largest`: bytes. Raises S3Error, TooLarge."""
        query = "" if version is None else f"?versionId={quote(version, safe='')}"
        begun = False
        try:
            async with asyncio.timeout(self._deadline), self._turns:
                begun = True
                answer = await self._endpoint.call("GET", _path(bucket, key) + query, region, largest=largest)
        except (NeighbourError, TimeoutError) as error:
            if not begun:
                raise S3Error("SlowDown", "Too many packages are being fetched. Please try again.") from None
            raise S3Error("ServiceUnavailable", "The S3 endpoint of this installation cannot be reached.") from error
        if answer.status != 200:
            raise _error(answer)
        return answer.body

    async def put(self, bucket: str, key: str, body: bytes, content_type: str, region: str) -> None:
        """Written again, an object with the same key is the same object. Raises NeighbourError."""
        answer = await self._endpoint.call("PUT", _path(bucket, key), region, {"Content-Type": content_type}, body)
        if answer.status != 200:
            raise _error(answer)


def _path(bucket: str, key: str) -> str:
    return f"/{quote(bucket, safe='')}/{quote(key)}"


def _error(answer: Answer) -> S3Error:
    said = xml_error(answer)
    return S3Error(said.code, said.message, answer.headers.get("x-amz-bucket-region"), said.status)
