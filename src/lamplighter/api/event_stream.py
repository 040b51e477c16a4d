"""Messages of `application/vnd.amazon.eventstream`, as far as we send any: headers that are all texts, and a payload.

A message is two lengths (its own and the headers'), a CRC of these, the headers, the payload, and a CRC of all that.
"""

from collections.abc import Mapping
from struct import Struct
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_TEXT = 7  # the type of a header's value
_AROUND = 16  # bytes of a message beside headers and payload

_LENGTHS = Struct(">II")
_CRC = Struct(">I")


def encode_headers(values: Mapping[str, str]) -> bytes:
    """Encoded. Names are at most 255 bytes, values at most 32,767."""
    encoded = bytearray()
    for name, value in values.items():
        name_bytes, value_bytes = name.encode(), value.encode()
        encoded += bytes((len(name_bytes),)) + name_bytes
        encoded += bytes((_TEXT,)) + len(value_bytes).to_bytes(2) + value_bytes
    return bytes(encoded)


def message(headers: bytes, payload: bytes) -> bytes:
    """`headers`: encoded."""
    lengths = _LENGTHS.pack(_AROUND + len(headers) + len(payload), len(headers))
    prelude = lengths + _CRC.pack(crc32(lengths))
    crc = crc32(payload, crc32(headers, crc32(prelude)))
    return b"".join((prelude, headers, payload, _CRC.pack(crc)))


def event_headers(event: str, content_type: str) -> bytes:
    """Of an event, in the order in which AWS sends them."""
    return encode_headers({":event-type": event, ":content-type": content_type, ":message-type": "event"})
