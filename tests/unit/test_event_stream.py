"""The event-stream encoding, judged by botocore's own parser and by bytes that AWS has sent."""

from typing import Any

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.api.event_stream import encode_headers, event_headers, message

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
VALUES = st.text(st.characters(codec="utf-8"), max_size=300)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=8)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=2000)), max_size=5)


@given(MESSAGES, st.lists(st.integers(0, 5000), max_size=10))
def test_what_is_encoded_is_what_botocore_reads_however_it_is_cut(
    messages: list[tuple[dict[str, str], bytes]], cuts: list[int]
) -> None:
    encoded = b"".join(message(encode_headers(headers), payload) for headers, payload in messages)
    buffer: Any = EventStreamBuffer()
    begin = 0
    read: list[tuple[dict[str, str], bytes]] = []
    for end in (*sorted(cuts), len(encoded)):
        buffer.add_data(encoded[begin:end])
        begin = max(begin, end)
        read += [(event.headers, event.payload) for event in buffer]  # botocore checks both checksums
    assert read == messages


def test_an_event_is_the_bytes_that_aws_sends() -> None:
    recorded = bytes.fromhex(
        "000000760000005a980e72ec0b3a6576656e742d7479706507000c5061796c6f61644368756e6b0d3a636f6e74656e742d74797065070018"
        "6170706c69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7448656c6c6f20776f726c"
        "642033971fd8"
    )
    assert message(event_headers("PayloadChunk", "application/octet-stream"), b"Hello world ") == recorded
    recorded = bytes.fromhex(
        "00000066000000541f56c8690b3a6576656e742d7479706507000e496e766f6b65436f6d706c6574650d3a636f6e74656e742d7479706507"
        "00106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b7d7006d467"
    )
    assert message(event_headers("InvokeComplete", "application/json"), b"{}") == recorded
