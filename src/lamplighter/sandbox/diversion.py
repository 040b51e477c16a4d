"""The way out of a sandbox's network namespace, without one: it has no interface but `lo`, and all addresses are local.

What connects anywhere by TCP is handed by the kernel (nf_tables, tproxy) to one listener, whose accepted sockets have
the wanted address as their own; and the resolver that resolv.conf names is a UDP socket here. Both go out to the relay
(`relay.py`), which decides what may be reached. Nothing is routed, nothing of the host's network is changed, and
nothing is left behind. Runs as a sandbox's process 1, once, before there is a guest. CPython 3.9 and later.
"""

from __future__ import annotations

import os
import socket
import struct

RESOLVER = ("169.254.78.1", 53)  # AWS: spec 3.1
_PORT = 9040  # of the listener; nobody connects to it by this number, as all that isn't loopback is handed over
_IP_TRANSPARENT = 19
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_REQUEST, _ACK, _CREATE = 1, 4, 0x400
_RTM_NEWROUTE, _BATCH_BEGIN, _BATCH_END = 24, 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 10 << 8, (10 << 8) + 3, (10 << 8) + 6
_NEQ, _EQ = 1, 0
_ANSWERS = 1 << 16


def open_way_out() -> list[socket.socket]:
    """The listener for all TCP connections, and the resolver's socket. Raises OSError where the kernel can't."""
    _everything_is_local()
    _hand_over()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    listener.bind(("0.0.0.0", _PORT))
    listener.listen(128)
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    resolver.bind(RESOLVER)
    return [listener, resolver]


def _everything_is_local() -> None:
    """ip route add local default dev lo"""
    index = socket.if_nametoindex("lo")
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 255, 3, 254, 2, 0)  # table local, static, host, local
    route = head + _attribute(4, struct.pack("=I", index))
    _ask(_NETLINK_ROUTE, [_message(_RTM_NEWROUTE, _REQUEST | _ACK | _CREATE, 1, route)])


def _hand_over() -> None:
    """In prerouting: TCP whose destination is neither loopback nor the X-Ray daemon's address goes to the listener."""
    rule = (
        _expression("meta", (1, _u32(8)), (2, _u32(16))),  # the protocol
        _expression("cmp", (1, _u32(8)), (2, _u32(_EQ)), (3, _nested((1, b"\x06")))),
        _expression("payload", (1, _u32(8)), (2, _u32(1)), (3, _u32(16)), (4, _u32(1))),  # the first byte of where to
        _expression("cmp", (1, _u32(8)), (2, _u32(_NEQ)), (3, _nested((1, b"\x7f")))),
        _expression("payload", (1, _u32(8)), (2, _u32(1)), (3, _u32(16)), (4, _u32(4))),
        _expression("cmp", (1, _u32(8)), (2, _u32(_NEQ)), (3, _nested((1, socket.inet_aton("169.254.100.1"))))),
        _expression("immediate", (1, _u32(9)), (2, _nested((1, struct.pack(">H", _PORT))))),
        _expression("tproxy", (1, _u32(2)), (3, _u32(9))),
        _expression("immediate", (1, _u32(0)), (2, _nested((2, _nested((1, _u32(1))))))),  # accept
    )
    name, chain = b"lamplighter\0", b"out\0"
    hook = _nested((1, _u32(0)), (2, struct.pack(">i", -150)))
    more = _REQUEST | _ACK | _CREATE
    _ask(
        _NETLINK_NETFILTER,
        [
            _message(_BATCH_BEGIN, _REQUEST, 1, _family(0, 10)),
            _message(_NEW_TABLE, more, 2, _family(2) + _attribute(1, name)),
            _message(
                _NEW_CHAIN,
                more,
                3,
                _family(2)
                + _attribute(1, name)
                + _attribute(3, chain)
                + _attribute(4 | 0x8000, hook)
                + _attribute(7, b"filter\0"),
            ),
            _message(
                _NEW_RULE,
                more | 0x800,
                4,
                _family(2) + _attribute(1, name) + _attribute(2, chain) + _attribute(4 | 0x8000, b"".join(rule)),
            ),
            _message(_BATCH_END, _REQUEST, 5, _family(0, 10)),
        ],
    )


def _ask(protocol: int, messages: list[bytes]) -> None:
    """Send; the kernel acknowledges each that asked for it, in the same call, or says what is wrong."""
    wanted = sum(struct.unpack_from("=H", message, 6)[0] & _ACK != 0 for message in messages)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.bind((0, 0))
        kernel.send(b"".join(messages))
        while wanted:
            answers = kernel.recv(_ANSWERS, socket.MSG_DONTWAIT)
            at = 0
            while at < len(answers):
                length, kind = struct.unpack_from("=IH", answers, at)
                if kind == 2:
                    (number,) = struct.unpack_from("=i", answers, at + 16)
                    if number:
                        raise OSError(-number, "netlink: " + os.strerror(-number))
                    wanted -= 1
                at += (length + 3) & ~3


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body


def _family(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(_attribute(kind, value) for kind, value in parts)


def _expression(name: str, *parts: tuple[int, bytes]) -> bytes:
    data = b"".join(_attribute(kind, value) for kind, value in parts)
    return _attribute(1 | 0x8000, _attribute(1, name.encode() + b"\0") + _attribute(2 | 0x8000, data))


def _u32(value: int) -> bytes:
    return struct.pack(">I", value)
