"""What is read without the parser is read as the parser reads it, or left to it."""

from itertools import permutations
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.api.connection import Connection
from lamplighter.api.http import Request, Response
from lamplighter.api.usual import NAMES, Usual
from support.wires import Wire

LINE = b"POST /2015-03-31/functions/f/invocations HTTP/1.1"
PLAIN = [
    (b"Host", b"127.0.0.1:4566"),
    (b"X-Amz-Date", b"20261125T000000Z"),
    (b"Authorization", b"AWS4-HMAC-SHA256 x=y"),
]


class Door:
    """Answers each request with its number."""

    date = "Wed, 25 Nov 2026 00:00:00 GMT"
    room = 1 << 20

    def __init__(self, usual: Usual | None) -> None:
        self.usual = usual
        self.served: list[Request] = []

    def joined(self, connection: Connection) -> bool:
        return True

    def body_limit(self, method: str, path: str) -> int:
        return 1 << 20

    def refuse(self, connection: Connection, status: int, method: str, path: str) -> None:
        connection.respond(Response(status), "r")

    def serve(self, connection: Connection, request: Request) -> None:
        self.served.append(request)
        connection.respond(Response(200, (), b"%d" % len(self.served)), "r")


def outcome(pieces: list[bytes], usual: Usual | None) -> tuple[list[Request], bytes, bool]:
    door, wire = Door(usual), Wire()
    connection = Connection(cast(Any, door))
    connection.connection_made(cast(Any, wire))
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
    return door.served, wire.written, wire.closed


def message(line: bytes, headers: list[tuple[bytes, bytes]], body: bytes, separator: bytes = b": ") -> bytes:
    return line + b"\r\n" + b"".join(name + separator + value + b"\r\n" for name, value in headers) + b"\r\n" + body


lines = st.sampled_from(
    [
        LINE,
        LINE.replace(b"/f/", b"/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/"),
        LINE.replace(b" HTTP", b"?Qualifier=live HTTP"),
        LINE.replace(b" HTTP", b"?Qualifier=a?b#c HTTP"),
        LINE.replace(b"1.1", b"1.0"),
        LINE.replace(b"POST", b"PUT"),
        LINE.replace(b"POST ", b"POST  "),
        LINE.replace(b"/f/", b"/f/../g/"),
        LINE.replace(b"/f/", b"/\xff/"),
        b"POST /2015-03-31/functions/ HTTP/1.1",
    ]
)
names = st.sampled_from(
    [b"Content-Type", b"content-type", b"X-Amz-Log-Type", b"Connection", b"Expect", b"Transfer-Encoding", b"X-Other"]
)
values = st.sampled_from(
    [b"application/json", b" Tail ", b"keep-alive", b"close", b"Keep-Alive", b"chunked", b"100-continue", b"a\tb", b""]
) | st.binary(max_size=6)
separators = st.sampled_from([b": ", b":", b" : "])
lengths = st.sampled_from([b"2", b"02", b"+2", b"1", b"3", b"0", b"2 ", b"2, 2", b"\xb2", b"999999"])


@given(
    lines, st.lists(st.tuples(names, values), max_size=3), st.none() | lengths, st.sampled_from([b": ", b":", b" : "])
)
@example(LINE, [], b"2", b": ")
@example(LINE, [(b"Content-Type", b"a"), (b"content-type", b"b")], b"2", b": ")
def test_a_request_is_the_same_with_and_without_the_parser(
    line: bytes, more: list[tuple[bytes, bytes]], length: bytes | None, separator: bytes
) -> None:
    sized = [] if length is None else [(b"Content-Length", length)]
    data = message(line, [*PLAIN, *more, *sized], b"{}", separator)
    after = message(LINE, [*PLAIN, (b"Content-Length", b"2")], b"[]")
    for pieces in ([data], [data, after], [data + after], [data[:60], data[60:], after]):
        assert outcome(pieces, Usual()) == outcome(pieces, None)


def test_an_invoke_of_an_sdk_is_read_without_the_parser() -> None:
    data = message(LINE, [*PLAIN, (b"amz-sdk-request", b"attempt=1"), (b"Content-Length", b"2")], b"{}")
    found = Usual().read(data)
    assert found is not None
    assert (found.path, found.body, found.headers["amz-sdk-request"]) == (
        "/2015-03-31/functions/f/invocations",
        b"{}",
        "attempt=1",
    )


def test_lines_that_are_remembered_are_bounded() -> None:
    usual = Usual()
    for number in range(3000):
        data = message(LINE.replace(b"/f/", b"/f%d/" % number), [(b"Content-Length", b"0")], b"")
        found = usual.read(data)
        assert found is not None
        assert found.path == f"/2015-03-31/functions/f{number}/invocations"
    assert len(usual._targets) <= 1024  # pyright: ignore[reportPrivateUsage]


def test_clients_that_send_other_headers_are_read_in_turn_and_no_more_forms_than_a_few_are_kept() -> None:
    usual = Usual()
    spellings = [name for name in NAMES if name not in ("Expect", "Connection", "Content-Length")]
    heads = [
        [(name.encode(), b"v%d" % number) for name in (one, other)]
        for number, (one, other) in enumerate(permutations(spellings, 2))
    ]
    read = 0
    for head in heads * 2:
        found = usual.read(message(LINE, [*head, (b"Content-Length", b"2")], b"{}"))
        if found is not None:
            read += 1
            assert found.headers == {
                **{name.decode().lower(): value.decode() for name, value in head},
                "content-length": "2",
            }
    assert 0 < read < len(heads)
