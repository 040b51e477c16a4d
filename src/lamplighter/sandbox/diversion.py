"""The way out of a sandbox's network namespace, without one: it has no interface but `lo`, and what may go on is local.

What connects anywhere by TCP is held at its first packet, of which a tap has a copy; given to the kernel again with a
mark on it, it reaches one listener, whose accepted sockets have the wanted address as their own. Datagrams come to one
socket, with the wanted address beside them, and their answers are written by a raw socket, which can have any sender,
and writes packets with the mark. These sockets go out to the relay (`relay.py`), which decides what may be reached.
Nothing is routed, nothing of the host's network is changed, and nothing is left behind. What is told to the kernel was
made before (`netlink.py`). Runs as a sandbox's process 1, once, before there is a guest. CPython 3.9 and later.
"""

from __future__ import annotations

import os
import socket
import struct

from lamplighter.sandbox import linux

HOME = "169.254.100.1"  # the sandbox's own address, beside 127.0.0.1; the X-Ray daemon's (AWS: spec 10.3)
PORT = 9040  # of the sockets; nobody connects to them by this number, as all that isn't for the sandbox is handed over
MARK = 9040  # of packets that the relay gives to the kernel; no guest has the right to mark its own
PREPARED = ("routes", "routes_six", "table", "table_six", "openings", "openings_six")
_SIX_OUTSIDE = "2000::1"  # any address of the internet; nothing is sent there
_IP_TRANSPARENT, _IP_RECVORIGDSTADDR = 19, 20
_IPV6_RECVORIGDSTADDR, _IPV6_TRANSPARENT = 74, 75
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_IPV4, _IPV6 = 0x0800, 0x86DD  # what a tap sees
_SO_MARK, _SO_LOCK_FILTER = 36, 44
_ACK = 4
_ANSWERS = 1 << 16


def host_has_six() -> bool:
    """Whether the network that this process is in leads to the internet by IPv6, from an address of the internet's."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect((_SIX_OUTSIDE, 9))
            return socket.inet_pton(socket.AF_INET6, probe.getsockname()[0])[0] >> 5 == 1
    except OSError:
        return False


def open_way_out(prepared: dict[str, bytes], six: bool) -> list[socket.socket]:
    """The listener, the datagrams' socket, and the raw ones and taps for IPv4 and perhaps IPv6. HOME must be there.

    six: as `host_has_six` said outside. Raises OSError where the kernel can't."""
    if six:
        try:
            _tell(_NETLINK_ROUTE, prepared["routes_six"])
        except OSError:  # new namespaces have IPv6 switched off
            six = False
    _tell(_NETLINK_ROUTE, prepared["routes"])
    _tell(_NETLINK_NETFILTER, prepared["table_six" if six else "table"])
    listener, datagrams = _transparent(socket.SOCK_STREAM, six), _transparent(socket.SOCK_DGRAM, six)
    listener.listen(128)
    made = [_raw(socket.AF_INET), _tap(_IPV4, prepared["openings"])]
    if six:
        made += [_raw(socket.AF_INET6), _tap(_IPV6, prepared["openings_six"])]
    return [listener, datagrams, *made]


def _raw(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    made.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
    return made


def _tap(kind: int, seen: bytes) -> socket.socket:
    """A copy of those packets of `kind` that the filter `seen` lets through, and never of others."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    linux.attach_filter(made, seen)
    made.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ANSWERS << 4)
    made.bind(("lo", kind))
    return made


def _transparent(kind: int, six: bool) -> socket.socket:
    """For IPv4, or for both."""
    kind |= socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind)
    if six:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    if kind & socket.SOCK_DGRAM:
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVORIGDSTADDR, 1)
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVORIGDSTADDR, 1)
    made.bind(("::" if six else "0.0.0.0", PORT))
    return made


def _tell(protocol: int, messages: bytes) -> None:
    """Send; the kernel acknowledges each that asked for it, in the same call, or says what is wrong."""
    wanted = at = 0
    while at < len(messages):
        length, _, flags = struct.unpack_from("=IHH", messages, at)
        wanted += flags & _ACK != 0
        at += (length + 3) & ~3
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.bind((0, 0))
        kernel.send(messages)
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
