"""Where functions may connect, as a table; what datagrams' answers look like; and the pace of connections."""

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter.sandbox.connections import Pace
from lamplighter.sandbox.datagrams import Flow, flow_of
from lamplighter.sandbox.packets import Opening, Place, again, datagram, opening_of, place_of, reset, unreachable
from lamplighter.sandbox.reach import NEVER, PRIVATE, RESOLVER, Reach, networks

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
some_networks = st.lists(
    st.sampled_from(("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "169.254.0.0/16", "8.8.0.0/16", "fd12::/32", "::/0")),
    max_size=3,
    unique=True,
).map(networks)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"],
)
def test_the_internet_is_reached(address: str) -> None:
    assert Reach().has(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1"),
        *("168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1"),
        *("2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1"),
        *("ff02::1", "4000::1"),
    ],
)
def test_what_is_no_place_of_the_internet_is_not(address: str) -> None:
    assert not Reach().has(ipaddress.ip_address(address))


@given(addresses, some_networks, some_networks)
def test_no_setting_opens_what_is_never_reached_and_a_refusal_goes_before(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    allowed: tuple[ipaddress.IPv4Network, ...],
    refused: tuple[ipaddress.IPv4Network, ...],
) -> None:
    reach = Reach(allowed, refused)
    mapped = getattr(address, "ipv4_mapped", None) or address
    if any(mapped in network for network in (*NEVER, *refused)):
        assert not reach.has(address)
    elif any(mapped in network for network in allowed) and mapped not in ipaddress.ip_network("64:ff9b::/96"):
        assert reach.has(address)


@given(addresses, some_networks, some_networks)
def test_a_sandboxs_routes_let_through_all_that_is_reached(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    allowed: tuple[ipaddress.IPv4Network, ...],
    refused: tuple[ipaddress.IPv4Network, ...],
) -> None:
    """And without settings, refuse every private address by themselves."""
    routes = Reach(allowed, refused).routes()
    reach = Reach(allowed, refused)
    goes = _goes(routes, address)
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is None and reach.has(address):
        assert goes
    if not allowed and any(address in network for network in (*PRIVATE, *NEVER)) and str(address) != RESOLVER[0]:
        assert not goes


def _goes(
    routes: dict[ipaddress.IPv4Network | ipaddress.IPv6Network, bool],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> bool:
    matching = [network for network in routes if address in network]
    return bool(matching) and routes[max(matching, key=lambda network: network.prefixlen)]


@given(st.sampled_from((4, 6)), st.binary(max_size=3000), st.integers(1, 65535), st.integers(1, 65535))
def test_a_packet_says_who_sent_what_and_its_sum_is_right(version: int, payload: bytes, source: int, to: int) -> None:
    size = 4 if version == 4 else 16
    made = datagram(Place(bytes([1] * size), source), Place(bytes([2] * size), to), payload)
    head = made[: 20 if version == 4 else 40]
    assert head[0] >> 4 == version
    assert head[-2 * size :] == bytes([1] * size + [2] * size)
    body = made[len(head) :]
    assert struct.unpack_from(">HHH", body) == (source, to, 8 + len(payload))
    assert body[8:] == payload
    if version == 6:
        summed = head[-32:] + struct.pack(">II", len(body), 17) + body + bytes(len(body) % 2)
        words = struct.unpack(f">{len(summed) // 2}H", summed)
        total = sum(words)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF
        assert body[6:8] != bytes(2)


@given(st.binary(max_size=150), st.sampled_from((0x45, 0x46, 0x4F, 0x60, None)))
def test_any_bytes_are_a_first_packet_or_none(packet: bytes, first: int | None) -> None:
    found = opening_of(packet if first is None or not packet else bytes([first]) + packet[1:])
    assert found is None or (found.sender.is_inside and not found.wanted.is_inside and 20 <= len(found.header) <= 60)


@pytest.mark.parametrize(("inside", "outside"), [("169.254.100.1", "8.8.8.8"), ("::1", "2606:4700::11")])
@given(options=st.binary(max_size=10).map(lambda words: words * 4), sequence=st.integers(0, 0xFFFFFFFF))
def test_what_was_held_is_given_again_or_answered_as_a_network_would(
    inside: str, outside: str, options: bytes, sequence: int
) -> None:
    size = (5 + len(options) // 4) << 4
    header = struct.pack(">HHIIBBHHH", 4000, 80, sequence, 0, size, 2, 64_000, 7, 0) + options
    sender, wanted = place_of((inside, 4000)), place_of((outside, 80))
    opening = Opening(sender, wanted, header)
    for packet, protocol in (
        (again(opening), 6),
        (reset(opening), 6),
        (unreachable(opening), 1 if "." in inside else 58),
    ):
        assert _sum(packet, protocol) == 0xFFFF
    assert opening_of(again(opening)) == opening._replace(header=again(opening)[-len(header) :])
    assert opening_of(reset(opening)) is None
    assert struct.unpack_from(">HHIIBB", reset(opening)[-20:]) == (80, 4000, 0, (sequence + 1) % (1 << 32), 0x50, 0x14)
    assert unreachable(opening).endswith(again(opening))  # so the kernel finds whose it was


def _sum(packet: bytes, protocol: int) -> int:
    """Of what the packet carries; a right one's is 0xFFFF."""
    start, size = (20, 4) if packet[0] >> 4 == 4 else (40, 16)
    assert packet[9 if size == 4 else 6] == protocol
    body = packet[start:]
    pseudo = packet[start - 2 * size : start] + struct.pack(">II", len(body), protocol) if protocol != 1 else b""
    total = sum(struct.unpack(f">{len(pseudo + body) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_a_datagram_from_another_address_than_the_sandboxs_own_is_no_flow() -> None:
    """Its answer would come back to the relay, for ever."""
    beside = [(socket.IPPROTO_IP, 20, struct.pack(">HH4s8x", 2, 53, socket.inet_aton("8.8.8.8")))]
    wanted = Place(socket.inet_aton("8.8.8.8"), 53)
    assert flow_of(("169.254.100.1", 4000), beside) == Flow(Place(socket.inet_aton("169.254.100.1"), 4000), wanted)
    assert flow_of(("::ffff:127.0.0.1", 4000, 0, 0), beside) == Flow(Place(b"\x7f\0\0\1", 4000), wanted)
    assert flow_of(("8.8.4.4", 4000), beside) is None
    assert flow_of(("169.254.100.1", 4000), []) is None


@given(st.lists(st.floats(0, 3), max_size=200))
def test_no_more_than_the_burst_and_the_rate_get_through(pauses: list[float]) -> None:
    pace, now, through = Pace(0.0, rate=10, burst=5), 0.0, 0
    for pause in pauses:
        now += pause
        through += pace.wait(now) == 0
        assert through <= 5 + 10 * now + 1e-6


def test_whoever_waits_as_long_as_said_gets_through() -> None:
    pace = Pace(0.0, rate=4, burst=1)
    assert pace.wait(0.0) == 0
    wait = pace.wait(0.0)
    assert wait == pytest.approx(0.25)
    assert pace.wait(wait + 1e-9) == 0
