"""The metadata endpoint of an environment (AWS: spec 3.2, 2026): where it runs, for who has its token.

Served where the Runtime API is. The token keeps others in the same sandbox's network, such as a page that a function
was tricked into fetching from there, from asking."""

import hmac
import secrets

PATH = b"/2026-01-15/metadata/execution-environment"
_SCHEME = "bearer "
_DIRECTIONS = {
    "north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
    "northeast": "ne", "northwest": "nw", "southeast": "se", "southwest": "sw",
}  # fmt: skip


def zone_of(region: str) -> str:
    """The id of a region's first availability zone, as AWS forms them: us-east-1 has use1-az1."""
    *parts, number = region.split("-")
    place = parts[0] + "".join(_DIRECTIONS.get(part, part[:1]) for part in parts[1:])
    return f"{place}{number}-az1"


class Metadata:
    """Of one environment, with a token of its own."""

    def __init__(self, zone: str) -> None:
        self.token = secrets.token_urlsafe(32)
        self._reply = _reply(
            "200 OK",
            b'{"AvailabilityZoneID":"%s"}' % zone.encode(),
            "Cache-Control: private, max-age=43200, immutable\r\n",
        )

    def get(self, authorization: bytes) -> bytes:
        """The whole HTTP reply."""
        scheme, token = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        known = hmac.compare_digest(token, self.token.encode())
        return self._reply if known and scheme.lower() == _SCHEME.encode() else UNAUTHORIZED


def _reply(status: str, body: bytes, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


UNAUTHORIZED = _reply("401 Unauthorized", b"")
WRONG_METHOD = _reply("405 Method Not Allowed", b"", "Allow: GET\r\n")
