"""An Invoke as SDKs send it, read without the parser: that calls back for every header, which costs more than the rest.

Taken is only what can be read in one way: a whole request in one piece, a plain path, headers by names that are known,
each once, in printable ASCII, and exactly as many bytes behind them as they say. Whatever is not exactly that is the
parser's business, and so is every refusal.
"""

import re
from typing import Final

from lamplighter.api.http import Request

_HEAD: Final = 16_384  # bytes
_LARGEST: Final = 65_536  # bytes of the whole
_BEGIN: Final = b"POST /2015-03-31/functions/"
_LINE: Final = re.compile(
    r"POST (/2015-03-31/functions/[A-Za-z0-9:_$%.-]+/invocations)(?:\?([A-Za-z0-9:_$%.=&-]*))? HTTP/1\.1"
)
_LINES: Final = 1024  # remembered request lines
_LONGEST: Final = 512  # characters of one of them
_DIGITS: Final = 5  # of a length
_FORMS: Final = 64  # of heads, of all clients; to make one takes as long as several calls
_VALUE: Final = "([!-~](?:[ -~]*[!-~])?)"  # printable, without spaces around it

# As clients spell them: with capitals, or without.
NAMES: Final = (
    *("Host", "User-Agent", "Accept", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "Expect"),
    *("Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-SHA256"),
    *("X-Amz-Invocation-Type", "X-Amz-Log-Type", "X-Amz-Client-Context", "X-Amzn-Trace-Id"),
    *("amz-sdk-invocation-id", "amz-sdk-request"),
)
_KEYS: Final = {spelled: name.lower() for name in NAMES for spelled in (name, name.lower()) if name != "Expect"}


_NEVER: Final = re.compile("(?!)")


class Usual:
    """Reads for all connections of a front door: they call the same functions."""

    def __init__(self) -> None:
        self._targets: dict[str, tuple[str, str]] = {}  # request lines: path and query
        self._headers: tuple[str, ...] = ()  # as the last client has sent them, whose next request will have the same
        self._form = _NEVER  # of those, behind the request line
        self._forms: dict[tuple[str, ...], re.Pattern[str]] = {}  # by names as they are spelled, in their order

    def read(self, data: bytes) -> Request | None:
        """`data`: what has come since the last request. None: it may be anything."""
        if not data.startswith(_BEGIN) or len(data) > _LARGEST:
            return None
        end = data.find(b"\r\n\r\n", 0, _HEAD)
        if end < 0:
            return None
        first, _, rest = data[:end].decode("latin-1").partition("\r\n")
        target = self._targets.get(first) or self._target(first)
        if target is None:
            return None
        match = self._form.fullmatch(rest) or self._other_form(rest)
        if match is None:
            return None
        headers = dict(zip(self._headers, match.groups(), strict=True))
        length = headers.get("content-length", "")
        body = data[end + 4 :]
        if not length.isdecimal() or len(length) > _DIGITS or int(length) != len(body):
            return None
        if headers.get("connection", "keep-alive") != "keep-alive":
            return None
        return Request("POST", target[0], target[1], headers, body)

    def _other_form(self, rest: str) -> re.Match[str] | None:
        """Of a client that sends other headers than the last one."""
        names = tuple([line.partition(": ")[0] for line in rest.split("\r\n")])
        form = self._forms.get(names)
        if form is None:
            headers = [_KEYS.get(name, "") for name in names]
            if "" in headers or len(set(headers)) != len(headers) or len(self._forms) >= _FORMS:
                return None
            form = self._forms[names] = re.compile("\r\n".join(f"{re.escape(name)}: {_VALUE}" for name in names))
        match = form.fullmatch(rest)
        if match is not None:
            self._headers, self._form = tuple([_KEYS[name] for name in names]), form
        return match

    def _target(self, line: str) -> tuple[str, str] | None:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        target = match[1], match[2] or ""
        if len(line) <= _LONGEST:
            if len(self._targets) >= _LINES:
                self._targets.clear()
            self._targets[line] = target
        return target
