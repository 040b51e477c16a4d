"""What all neighbours share: an endpoint, the keys that calls are signed with, and errors in the service's own words.

One call is one exchange, bounded in time. Nothing is tried again here: whoever asks knows how much patience is due, and
`NeighbourError.again` says whether patience could help.
"""

import html
import logging
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

import orjson

from lamplighter.model.clock import Clock
from lamplighter.neighbours.http import Answer, TooLarge, Unreachable, exchange
from lamplighter.neighbours.signing import Keys, sign

DEADLINE: Final = 10.0  # seconds for a call that says one thing and is answered at once
LARGEST_ANSWER: Final = 1024 * 1024  # bytes; the answers to such calls have hundreds
_BUSY: Final = re.compile(r"throttl|slowdown|toomanyrequests|requestlimitexceeded|overlimit|requesttimeout", re.I)

log = logging.getLogger(__name__)


class NeighbourError(Exception):
    """What the service says, in its words. `status` None: it said nothing."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    @property
    def again(self) -> bool:
        """Whether the same call may succeed later: the service was away, busy or broken, or refused our keys, which the
        operator can mend. What is wrong with the call itself stays wrong."""
        return (
            self.status is None
            or self.status >= 500
            or self.status in (401, 403, 408, 429)
            or _BUSY.search(self.code) is not None
        )


class Endpoint:
    """Where one service is. `url`: scheme://host:port, or with a path; `service`: its name in signatures; `name`: for
    people."""

    def __init__(self, service: str, name: str, url: str, keys: Keys, clock: Clock, deadline: float = DEADLINE) -> None:
        self.url = url.rstrip("/")
        self._service = service
        self._name = name
        self._keys = keys
        self._clock = clock
        self._deadline = deadline
        self._tls = ssl.create_default_context() if url.startswith("https://") else None

    async def call(
        self,
        method: str,
        path: str,
        region: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        largest: int | None = None,
    ) -> Answer:
        """`path`: with its slash in front, encoded. Any answer with a status is one; raises NeighbourError without.

        `largest`: bytes of the answer that are welcome; raises TooLarge if there are more."""
        url = self.url + path
        signed = sign(method, url, headers or {}, body, self._keys, self._service, region, self._clock.now())
        try:
            return await exchange(
                method, url, signed, body, largest=largest or LARGEST_ANSWER, deadline=self._deadline, tls=self._tls
            )
        except (Unreachable, TooLarge) as error:
            if largest is not None and isinstance(error, TooLarge):
                raise
            reason = str(error) or "it answered with more than any answer has"
            log.error("%s cannot be reached at %s: %s", self._name, self.url, reason)
            raise NeighbourError("ServiceUnavailable", f"{self._name} cannot be reached: {reason}") from error

    async def call_json(self, target: str, version: str, region: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """An operation of the protocol awsJson: `target` Prefix.Operation, `version` 1.0 or 1.1.

        Raises NeighbourError."""
        headers = {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": target}
        answer = await self.call("POST", "/", region, headers, orjson.dumps(members))
        found = _object(answer.body)
        if answer.status == 200 and found is not None:
            return found
        raise _json_error(answer.status, found or {})


def xml_error(answer: Answer) -> NeighbourError:
    """Of the protocols query and restXml."""
    text = answer.body[:65_536].decode("utf-8", "replace")
    code, message = xml_element("Code", text), xml_element("Message", text)
    return NeighbourError(code or str(answer.status), message or f"HTTP status {answer.status}", answer.status)


def xml_element(name: str, text: str) -> str | None:
    """The text of the first element of this name, without any inside it."""
    match = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(match[1]).strip() if match else None


def _json_error(status: int, members: Mapping[str, Any]) -> NeighbourError:
    code = str(members.get("__type") or members.get("code") or status).rpartition("#")[2].partition(":")[0]
    message = members.get("message") or members.get("Message") or f"HTTP status {status}"
    # What is no JSON did not come from the service, but from something in front of it.
    return NeighbourError(code, str(message), None if status == 200 else status)


def _object(body: bytes) -> dict[str, Any] | None:
    with suppress(orjson.JSONDecodeError):
        found: object = orjson.loads(body)
        if isinstance(found, dict):
            return cast(dict[str, Any], found)
    return None
