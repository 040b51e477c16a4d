"""The form in which a runtime's client writes its requests: always the same, but for an id and a length.

Once a form has been read, requests in it are told by comparing bytes, without the parser, that calls back for every
header. Taken as a form is only what can be read in one way and moves nothing by its headers: names that are known to
mean nothing here, in printable ASCII. All else is the parser's business, every time.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from lamplighter.worker.runtime_paths import INVOCATION, NEXT

_LONGEST: Final = 1024  # bytes of a head
_LINES: Final = rb"(?:(?i:Host|Accept|Accept-Encoding|User-Agent|Content-Type):[ -~]*\r\n)*"
_ANSWER: Final = re.compile(
    b"POST %b[0-9a-f-]+(/response HTTP/1\\.1\r\n%b(?i:Content-Length): ?)[0-9]+(\r\n%b\r\n)"
    % (INVOCATION, _LINES, _LINES)
)
_NEXT: Final = re.compile(b"GET %b HTTP/1\\.1\r\n%b\r\n" % (NEXT, _LINES))
_HOST: Final = b" HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n"


@dataclass(frozen=True, slots=True)
class Form:
    """`before`, `after`: an answer's head between the request id, the length of its body, and the body. `then`: what
    follows the body in one piece. `asks`: a whole request for the next event; empty if none is known."""

    before: bytes
    after: bytes
    then: bytes
    asks: bytes

    def begins(self, request_id: bytes) -> bytes:
        """How an answer to this invocation begins, up to its length."""
        return b"POST %b%b%b" % (INVOCATION, request_id, self.before)

    def learn(self, data: bytes) -> Self | None:
        """What `data`, a piece that is in another form, teaches; None if it is nothing to be sure of."""
        head = data[:_LONGEST]
        if _NEXT.fullmatch(head):
            return replace(self, asks=head) if len(data) == len(head) else None
        answer = _ANSWER.match(head)
        return replace(self, before=answer[1], after=answer[2], then=b"") if answer else None


# Of our own clients where the sandbox has its usual address.
OWN: Final = Form(
    b"/response" + _HOST + b"Content-Type: application/json\r\nContent-Length: ",
    b"\r\n\r\n",
    b"GET " + NEXT + _HOST + b"\r\n",
    b"",
)
