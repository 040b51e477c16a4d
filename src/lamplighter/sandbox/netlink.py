"""What a sandbox tells the kernel about its own network namespace, as bytes made once for all sandboxes.

Routes: what may go on is local there, what is always refused is unreachable, so that connecting fails at once
(EHOSTUNREACH). A table of nf_tables: what is for neither loopback nor the X-Ray daemon is handed to the relay's
sockets (tproxy), which learn the wanted address; the first packet of a connection only if it has the relay's mark, else
it is dropped, and seen by a tap with a filter like it. `diversion.py` sends this from inside; nothing is sent here.
"""

import socket
import struct
from dataclasses import dataclass

from lamplighter.sandbox.diversion import HOME, MARK, PORT, PREPARED
from lamplighter.sandbox.reach import LOOPBACK, Network, Reach

_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_RTM_NEWROUTE, _BATCH_BEGIN, _BATCH_END = 24, 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 10 << 8, (10 << 8) + 3, (10 << 8) + 6
_NEQ, _EQ = 1, 0
_LOCAL, _UNREACHABLE = 2, 7  # kinds of routes
_LO = 1  # the number of a namespace's loopback interface
_INET, _IPV4, _IPV6 = 1, 2, 10  # families of nf_tables
_DESTINATION = {_IPV4: 16, _IPV6: 24}  # where it is in the header
_SYN_ACK, _SYN, _FLAGS = 0x12, 0x02, 13  # TCP's, and where they are
_BYTE, _HALF, _WORD, _HEADER_LENGTH, _BYTE_AFTER_IT = 0x30, 0x28, 0x20, 0xB1, 0x50  # filters of packets: loads,
_AND, _EQUAL, _ANY_BIT, _RETURN = 0x54, 0x15, 0x45, 0x06  # and what is done with them
_PACKETS_MARK = 0xFFFFF000 + 20  # in the place of an offset
_SEEN = 256  # bytes of a packet


@dataclass(frozen=True, slots=True)
class Plan:
    """Messages for route and netfilter netlink, and the taps' filters. The second of each pair: for a host that has
    IPv6 too."""

    routes: bytes
    routes_six: bytes
    table: bytes
    table_six: bytes
    openings: bytes
    openings_six: bytes

    def prepared(self) -> dict[str, bytes]:
        """As `diversion.open_way_out` takes it."""
        return {name: getattr(self, name) for name in PREPARED}


def plan(reach: Reach) -> Plan:
    routes = {network: goes for network, goes in reach.routes().items() if network != LOOPBACK}  # `lo` has its own
    four = [_route(network, goes) for network, goes in routes.items() if network.version == 4]
    six = [_route(network, goes) for network, goes in routes.items() if network.version == 6]
    return Plan(
        routes=b"".join(four),
        routes_six=b"".join(six),
        table=_table(_IPV4, [_hold(_IPV4, _IPV4), _rule(_IPV4, _IPV4)]),
        table_six=_table(_INET, [made(_INET, family) for family in (_IPV4, _IPV6) for made in (_hold, _rule)]),
        openings=_openings(),
        openings_six=_openings_six(),
    )


def _route(network: Network, goes: bool) -> bytes:
    """ip route add local|unreachable NETWORK dev lo table local"""
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    kind, scope = (_LOCAL, 254) if goes else (_UNREACHABLE, 0)
    body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, 255, 3, scope, kind, 0)
    if network.prefixlen:
        body += _attribute(1, network.network_address.packed)
    if goes:
        body += _attribute(4, struct.pack("=I", _LO))
        if network.version == 4:
            body += _attribute(7, socket.inet_aton(HOME))  # else who sends would have the receiver's address
    return _message(_RTM_NEWROUTE, _REQUEST | _ACK | _CREATE, body)


def _outward(table: int, family: int) -> bytes:
    """What is for neither this sandbox's loopback nor HOME."""
    own = [b"\x7f", socket.inet_aton(HOME)] if family == _IPV4 else [socket.inet_pton(socket.AF_INET6, "::1")]
    tests: list[bytes] = []
    if table == _INET:
        tests += [_expression("meta", (1, _u32(8)), (2, _u32(15))), _compare(_EQ, bytes([family]))]
    for address in own:
        at = ((1, _u32(8)), (2, _u32(1)), (3, _u32(_DESTINATION[family])), (4, _u32(len(address))))
        tests += [_expression("payload", *at), _compare(_NEQ, address)]
    return b"".join(tests)


def _hold(table: int, family: int) -> bytes:
    """In prerouting: a connection's first packet is dropped, unless the relay has marked it."""
    flags = ((1, _u32(8)), (2, _u32(2)), (3, _u32(_FLAGS)), (4, _u32(1)))
    mask = ((1, _u32(8)), (2, _u32(8)), (3, _u32(1)), (4, _nested((1, bytes([_SYN_ACK])))), (5, _nested((1, b"\0"))))
    return b"".join(
        (
            _outward(table, family),
            _expression("meta", (1, _u32(8)), (2, _u32(16))),
            _compare(_EQ, bytes([socket.IPPROTO_TCP])),
            _expression("payload", *flags),
            _expression("bitwise", *mask),
            _compare(_EQ, bytes([_SYN])),
            _expression("meta", (1, _u32(8)), (2, _u32(3))),
            _compare(_NEQ, struct.pack("=I", MARK)),
            _expression("immediate", (1, _u32(0)), (2, _nested((2, _nested((1, _u32(0))))))),  # drop
        )
    )


def _rule(table: int, family: int) -> bytes:
    """In prerouting: the rest goes to the sockets on PORT."""
    return b"".join(
        (
            _outward(table, family),
            _expression("immediate", (1, _u32(9)), (2, _nested((1, struct.pack(">H", PORT))))),
            _expression("tproxy", (1, _u32(family if table != _INET else 0)), (3, _u32(9))),
            _expression("immediate", (1, _u32(0)), (2, _nested((2, _nested((1, _u32(1))))))),  # accept
        )
    )


def _table(family: int, rules: list[bytes]) -> bytes:
    name, chain = _attribute(1, b"lamplighter\0"), b"out\0"
    hook = _nested((1, _u32(0)), (2, struct.pack(">i", -150)))
    more, head = _REQUEST | _ACK | _CREATE, struct.pack(">BBH", family, 0, 0) + name
    frame = struct.pack(">BBH", 0, 0, 10)
    body = _attribute(3, chain) + _attribute(4 | 0x8000, hook) + _attribute(7, b"filter\0")
    return b"".join(
        (
            _message(_BATCH_BEGIN, _REQUEST, frame),
            _message(_NEW_TABLE, more, head),
            _message(_NEW_CHAIN, more, head + body),
            *(
                _message(_NEW_RULE, more | _APPEND, head + _attribute(2, chain) + _attribute(4 | 0x8000, rule))
                for rule in rules
            ),
            _message(_BATCH_END, _REQUEST, frame),
        )
    )


def _openings() -> bytes:
    """A tap's filter: what `_hold` drops. For IPv4."""
    return _filter(
        (_BYTE, 9),
        (_EQUAL, socket.IPPROTO_TCP, True),
        (_HALF, 6),
        (_ANY_BIT, 0x1FFF, False),  # a later fragment
        (_WORD, _DESTINATION[_IPV4]),
        (_EQUAL, int.from_bytes(socket.inet_aton(HOME), "big"), False),
        (_BYTE, _DESTINATION[_IPV4]),
        (_EQUAL, 127, False),
        (_HEADER_LENGTH, 0),
        (_BYTE_AFTER_IT, _FLAGS),
    )


def _openings_six() -> bytes:
    """For IPv6; of what is for ::1, too."""
    return _filter((_BYTE, 6), (_EQUAL, socket.IPPROTO_TCP, True), (_BYTE, 40 + _FLAGS))


def _filter(*steps: tuple[int, int] | tuple[int, int, bool]) -> bytes:
    """In the kernel's language for packets. A step loads something, or is a test that has to come out so."""
    every = (*steps, (_AND, _SYN_ACK), (_EQUAL, _SYN, True), (_WORD, _PACKETS_MARK), (_EQUAL, MARK, False))
    out = b""
    for left, step in zip(range(len(every), 0, -1), every, strict=True):  # steps to the end: `left` leads to "none"
        held, failed = (left if step[2:] == (wrong,) else 0 for wrong in (False, True))
        out += struct.pack("=HBBI", step[0], held, failed, step[1])
    return out + struct.pack("=HBBI", _RETURN, 0, 0, _SEEN) + struct.pack("=HBBI", _RETURN, 0, 0, 0)


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", (1, _u32(8)), (2, _u32(how)), (3, _nested((1, value))))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(_attribute(kind, value) for kind, value in parts)


def _expression(name: str, *parts: tuple[int, bytes]) -> bytes:
    data = _nested(*parts)
    return _attribute(1 | 0x8000, _attribute(1, name.encode() + b"\0") + _attribute(2 | 0x8000, data))


def _u32(value: int) -> bytes:
    return struct.pack(">I", value)
