"""Where functions may connect, by address alone: the internet, what the operator named, and nothing of this host's.

Pure tables and one judgement, for both places that need it: the routes of a sandbox's own network (`netlink.py`), which
refuse at once what is always refused, and the relay (`relay.py`), which has the last word. Tables of our own, as what
`ipaddress` calls global changes between Pythons. Source: IANA's registries of special-purpose addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
RESOLVER = ("169.254.78.1", 53)  # AWS: spec 3.1


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


# Whatever the operator allows: this host, the link (cloud metadata among it), and what is no unicast. 168.63.129.16 is
# the metadata and agent service of Azure's hosts, and fd00:ec2::, fd20:ce:: those of AWS and Google.
NEVER = networks(
    (
        *("0.0.0.0/8", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "224.0.0.0/3"),
        *("::/96", "fd00:ec2::/32", "fd20:ce::/32", "fe80::/9", "ff00::/8"),
    )
)
PRIVATE = networks(("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_SPECIAL = networks(
    (
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
GLOBAL_SIX = ipaddress.IPv6Network("2000::/3")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # the last four bytes are an IPv4 address, behind a NAT64


@dataclass(frozen=True, slots=True)
class Reach:
    """allowed: private networks that count as the internet. refused: what doesn't, wherever it is; it goes before."""

    allowed: Sequence[Network] = ()
    refused: Sequence[Network] = ()

    def has(self, address: Address) -> bool:
        """Whether functions may connect there, if it is not this host."""
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is not None:
                return self.has(address.ipv4_mapped)
            if address in _TRANSLATED:
                return self.has(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)) and not _among(address, self.refused)
        if _among(address, NEVER) or _among(address, self.refused):
            return False
        if _among(address, self.allowed):
            return True
        if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_SIX:
            return False
        return not (_among(address, PRIVATE) or _among(address, _SPECIAL))

    def routes(self) -> dict[Network, bool]:
        """Of a sandbox's network: whether what goes there goes on to the relay. The longest prefix wins, and the relay
        refuses whatever this lets through."""
        found: dict[Network, bool] = {ipaddress.IPv4Network("0.0.0.0/0"): True, GLOBAL_SIX: True}
        found |= {network: False for network in PRIVATE if not _covered(network, self.allowed)}
        found |= dict.fromkeys(self.allowed, True)
        found |= dict.fromkeys(self.refused, False)
        found |= dict.fromkeys(NEVER, False)
        found = {network: goes for network, goes in found.items() if not (goes and _covered(network, NEVER))}
        return {**found, _TRANSLATED: True, ipaddress.IPv4Network(RESOLVER[0]): True}


def _among(address: Address, given: Iterable[Network]) -> bool:
    return any(address in network for network in given)


def _covered(network: Network, given: Iterable[Network]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in given)  # pyright: ignore[reportArgumentType]
