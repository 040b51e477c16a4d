"""Packages for download: the URLs that GetFunction and GetLayerVersion hand out, and what answers them.

A URL is good for ten minutes and needs no credentials, as S3's presigned ones: it carries a signature of ours over the
package's digest and the time it expires. What is refused looks as it does on S3, since tools print that.
"""

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from lamplighter.api.http import Request, Response
from lamplighter.model.clock import Clock
from lamplighter.store.contract import BlobDamaged, Blobs

PATH: Final = "/_lamplighter/packages/"
GOOD_FOR: Final = 600  # seconds


class Downloads:
    """`secret`: at least 32 random bytes that survive restarts, or URLs do not."""

    def __init__(self, secret: bytes, blobs: Blobs, clock: Clock) -> None:
        self._secret = secret
        self._blobs = blobs
        self._clock = clock

    def url(self, endpoint: str, digest: str) -> str:
        """`endpoint`: scheme://host:port."""
        expires = str(int(self._clock.now()) + GOOD_FOR)
        return f"{endpoint}{PATH}{digest}?" + urlencode({"Expires": expires, "Signature": self._sign(digest, expires)})

    async def __call__(self, request: Request) -> Response:
        """Any request whose path starts with PATH."""
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        digest = request.path.removeprefix(PATH)
        query = dict(parse_qsl(request.query))
        expires, signature = query.get("Expires", ""), query.get("Signature", "")
        if not hmac.compare_digest(self._sign(digest, expires).encode(), signature.encode("utf-8", "replace")):
            return _refusal(403, "SignatureDoesNotMatch", "The signature of this URL does not match its content.")
        if int(expires) < self._clock.now():  # a number, or it would not be signed
            return _refusal(403, "AccessDenied", "Request has expired")
        try:
            content = await self._blobs.read(digest)
        except FileNotFoundError:
            return _refusal(404, "NoSuchKey", "The specified key does not exist.")
        except BlobDamaged:
            return _refusal(500, "InternalError", "The package is damaged; upload it again.")
        headers = (("Content-Type", "application/zip"), ("ETag", f'"{digest}"'))
        return Response(200, headers, content)

    def _sign(self, digest: str, expires: str) -> str:
        return hmac.new(
            self._secret, f"package\n{digest}\n{expires}".encode("utf-8", "replace"), hashlib.sha256
        ).hexdigest()


def _refusal(status: int, code: str, message: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return Response(status, (("Content-Type", "application/xml"),), (declaration + body).encode())
