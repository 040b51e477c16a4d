"""What a runtime's client writes in its usual form moves what it moves through the parser, or is left to that."""

from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from lamplighter.worker.runtime_connection import Connection
from lamplighter.worker.runtime_form import OWN
from lamplighter.worker.runtime_paths import INVOCATION, NEXT
from lamplighter.worker.runtime_turns import Turns
from support.wires import Wire

IDS = [f"8a6f3f3c-0000-4000-8000-00000000000{number}" for number in range(4)]
AWS = [(b"Host", b"127.0.0.1:9001"), (b"Accept", b"*/*"), (b"User-Agent", b"aws-lambda-python/3.11.7-4.2.2")]
IN_ITS_HEAD, BEFORE_ITS_END = 40, -1  # where a message is cut that only the parser can read
Headers = list[tuple[bytes, bytes]]


class Guest:
    """An environment with a few events, which notes what its runtime moves."""

    def __init__(self) -> None:
        self.turns = Turns(cast(Any, self))
        self.wire = Wire()
        self.connection = Connection(self.turns)
        self.connection.connection_made(cast(Any, self.wire))
        self.heard: list[tuple[object, ...]] = []
        self._ids = iter(IDS)

    def send(self, data: bytes) -> None:
        if not self.wire.closed:
            self.connection.data_received(data)

    def asked(self) -> None:
        self.heard.append(("asked",))
        request_id = next(self._ids, None)
        if request_id is not None:
            self.turns.give(request_id, b"<event>", b"{}")

    def answered(self, body: bytes | list[bytes], failed: bool) -> None:
        self.heard.append(("answered", body, failed))

    def answer_too_large(self) -> None:
        self.heard.append(("too large",))

    def init_failed(self, body: bytes, error_type: str) -> None:
        self.heard.append(("init failed", body, error_type))

    def read(self) -> None:
        """All is told at once here."""


def message(line: bytes, headers: Headers, body: bytes = b"", separator: bytes = b": ") -> bytes:
    return line + b"\r\n" + b"".join(name + separator + value + b"\r\n" for name, value in headers) + b"\r\n" + body


def asking(headers: Headers = AWS, separator: bytes = b": ") -> bytes:
    return message(b"GET " + NEXT + b" HTTP/1.1", headers, b"", separator)


def answering(
    request_id: str, body: bytes, before: Headers = AWS, length: bytes | None = None, after: Headers | None = None
) -> bytes:
    sized = (b"content-length", b"%d" % len(body) if length is None else length)
    line = b"POST " + INVOCATION + request_id.encode() + b"/response HTTP/1.1"
    return message(line, [*before, sized, *(after or [])], body)


def outcome(messages: list[bytes], cut: int | None) -> tuple[object, ...]:
    """Of a session, with each message in one piece, or (`cut`) in two."""
    guest = Guest()
    for data in messages:
        for piece in [data] if cut is None else [data[:cut], data[cut:]]:
            guest.send(piece)
    return guest.heard, guest.wire.written, guest.wire.closed


names = st.sampled_from(
    [
        *(b"Content-Type", b"accept-encoding", b"Connection", b"Expect", b"Transfer-Encoding", b"Content-Length"),
        *(b"X-Other", b"Lambda-Runtime-Function-Error-Type", b"Lambda-Runtime-Function-Response-Mode"),
    ]
)
values = st.sampled_from(
    [b"application/json", b"keep-alive", b"close", b"chunked", b"100-continue", b"streaming", b"a\tb", b"", b"2"]
) | st.binary(max_size=5)
more = st.lists(st.tuples(names, values), max_size=2)
lengths = st.none() | st.sampled_from([b"2", b"02", b"+2", b"1", b"3", b"0", b"2 ", b"\xb2", b"9999999", b"6291557"])


@given(more, more, lengths, st.sampled_from([IDS[1], IDS[0], "x"]), st.sampled_from([b": ", b":", b" : "]))
@example([], [], None, IDS[1], b": ")
@example([], [(b"Connection", b"close")], None, IDS[1], b": ")
@example([(b"Expect", b"100-continue")], [], None, IDS[1], b": ")
@example([], [(b"Lambda-Runtime-Function-Response-Mode", b"x")], None, IDS[1], b": ")
def test_a_session_is_the_same_with_and_without_the_parser(
    before: Headers, after: Headers, length: bytes | None, second: str, separator: bytes
) -> None:
    third = answering(IDS[2], b"[1]", [*AWS, *before], None, after)
    messages = [
        asking(),
        answering(IDS[0], b"{}"),
        asking([*AWS, *before], separator),
        answering(second, b"[]", [*AWS, *before], length, after),
        asking([*AWS, *before], separator),
        third,
        third,
        asking(),
        asking(),
    ]
    assert outcome(messages, None) == outcome(messages, IN_ITS_HEAD) == outcome(messages, BEFORE_ITS_END)


@given(st.lists(st.binary(max_size=30), max_size=3))
def test_a_session_of_our_own_clients_is_the_same_with_and_without_the_parser(bodies: list[bytes]) -> None:
    def own(request_id: str, body: bytes) -> bytes:
        return OWN.begins(request_id.encode()) + b"%d" % len(body) + OWN.after + body + OWN.then

    messages = [OWN.then, *(own(request_id, body) for request_id, body in zip(IDS, bodies, strict=False))]
    assert outcome(messages, None) == outcome(messages, IN_ITS_HEAD) == outcome(messages, BEFORE_ITS_END)


def test_the_form_of_awss_client_is_known_after_one_answer_and_our_own_from_the_beginning() -> None:
    question = asking()
    learned = OWN.learn(question)
    assert learned is not None and learned.asks == question and learned.then == OWN.then
    assert learned.learn(question[:-1]) is None
    learned = learned.learn(answering(IDS[0], b"{}"))
    assert learned is not None and learned.then == b""
    assert learned.begins(IDS[1].encode()) + b"3" + learned.after + b"[1]" == answering(IDS[1], b"[1]")


def test_a_client_that_has_no_form_is_not_looked_at_for_ever() -> None:
    guest = Guest()
    guest.send(asking())
    for _ in range(20):
        guest.send(message(b"GET /ping HTTP/1.1", AWS))
    known = guest.turns.form
    guest.send(answering(IDS[0], b"{}"))
    assert guest.turns.form is known and ("answered", b"{}", False) in guest.heard
