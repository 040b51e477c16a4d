"""IP packets, written as raw sockets take them, and the one kind that is read: a connection's first (SYN).

A function's connection is held at that packet until the relay knows what comes of it. Then the packet is given to the
kernel again, or is answered by a reset or by an unreachable place, as a network would. What is read was made by the
kernel of a sandbox, not by a guest, who can't write packets; it is read as if one had. No I/O here.
"""

import socket
import struct
from typing import Any, NamedTuple

from lamplighter.sandbox.diversion import HOME

LONGEST = 120  # bytes of a first packet that matter: the headers of IP and TCP
_INSIDE = frozenset({socket.inet_aton(HOME), socket.inet_pton(socket.AF_INET6, "::1")})
_MAPPED = bytes(10) + b"\xff\xff"
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_ICMP_UNREACHABLE, _ICMP_HOST = 3, 1
_ICMP6_UNREACHABLE, _ICMP6_ADDRESS = 1, 3


class Place(NamedTuple):
    """address: 4 or 16 bytes."""

    address: bytes
    port: int

    @property
    def is_inside(self) -> bool:
        """Whether it is the sandbox's own. What is sent to others there comes back to the relay."""
        return self.address in _INSIDE or (len(self.address) == 4 and self.address[0] == 127)


class Opening(NamedTuple):
    """Who wants to connect, and where to; the TCP header that says so."""

    sender: Place
    wanted: Place
    header: bytes


def place_of(address: tuple[Any, ...]) -> Place:
    """Of a socket's address; one of IPv4 within IPv6 is one of IPv4."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, address[0])
    return Place(packed.removeprefix(_MAPPED) if len(packed) == 16 else packed, address[1])


def opening_of(packet: bytes) -> Opening | None:
    """None for what is no first packet of a connection from inside."""
    version, start = packet[:1] and packet[0] >> 4, 40
    if version == 4:
        start = (packet[0] & 15) * 4
    if version not in (4, 6) or start < 20 or len(packet) < start + 20:
        return None
    at, size, protocol = (12, 4, packet[9]) if version == 4 else (8, 16, packet[6])
    sender, wanted = packet[at : at + size], packet[at + size : at + 2 * size]
    header = packet[start : start + (packet[start + 12] >> 4) * 4]
    ports = struct.unpack_from(">HH", header) if len(header) >= 20 else None
    if ports is None or protocol != socket.IPPROTO_TCP or header[13] & (_SYN | _RST | _ACK) != _SYN:
        return None
    found = Opening(Place(sender, ports[0]), Place(wanted, ports[1]), header)
    return found if found.sender.is_inside and not found.wanted.is_inside else None


def again(opening: Opening) -> bytes:
    """What was held, without data: those come again."""
    return _ip(opening.sender.address, opening.wanted.address, socket.IPPROTO_TCP, opening.header, 16)


def reset(opening: Opening) -> bytes:
    """Nobody listens there."""
    after = (int.from_bytes(opening.header[4:8], "big") + 1) & 0xFFFFFFFF
    fields = (opening.wanted.port, opening.sender.port, 0, after, 5 << 4, _RST | _ACK, 0, 0, 0)
    header = struct.pack(">HHIIBBHHH", *fields)
    return _ip(opening.wanted.address, opening.sender.address, socket.IPPROTO_TCP, header, 16)


def unreachable(opening: Opening) -> bytes:
    """Nobody gets there."""
    if len(opening.wanted.address) == 4:
        about, protocol = (_ICMP_UNREACHABLE, _ICMP_HOST), socket.IPPROTO_ICMP
    else:
        about, protocol = (_ICMP6_UNREACHABLE, _ICMP6_ADDRESS), socket.IPPROTO_ICMPV6
    body = struct.pack(">BBHI", *about, 0, 0) + again(opening)
    return _ip(opening.wanted.address, opening.sender.address, protocol, body, 2)


def datagram(source: Place, to: Place, payload: bytes) -> bytes:
    head = struct.pack(">HHHH", source.port, to.port, 8 + len(payload), 0)
    return _ip(source.address, to.address, socket.IPPROTO_UDP, head + payload, 6)


def _ip(source: bytes, to: bytes, protocol: int, body: bytes, at: int) -> bytes:
    """`at`: where in the body its checksum is. The kernel sums IPv4's header itself."""
    length = len(body)
    if len(source) == 4:
        first = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, protocol, 0)
    else:
        first = struct.pack(">IHBB", 0x60000000, length, protocol, 64)
    body = body[:at] + b"\0\0" + body[at + 2 :]
    if protocol != socket.IPPROTO_UDP or len(source) != 4:  # there it may be left out
        pseudo = b"" if protocol == socket.IPPROTO_ICMP else source + to + struct.pack(">II", length, protocol)
        total = int.from_bytes(pseudo + body + bytes(length % 2), "big") % 0xFFFF
        body = body[:at] + struct.pack(">H", 0xFFFF - total) + body[at + 2 :]  # never 0, which UDP takes for none
    return b"".join((first, source, to, body))
