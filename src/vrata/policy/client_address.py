"""Whose request it is: the address of the client behind proxies that can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MOST_KNOWN: Final = 4096
"""Addresses of which the network is remembered."""
_MAPPED_BITS = 96
"""Length of the prefix below which IPv6 keeps the IPv4 addresses (RFC 4291 §2.5.5.2)."""


class ClientNetworks:
    """What tells clients apart by their addresses: one of IPv4 as a whole, of one of IPv6 the network.

    Whoever has IPv6 at all has a network of /64 at least (RFC 6177), and so 2⁶⁴ addresses to choose from.
    """

    __slots__ = ("_known", "_mask", "_suffix")

    def __init__(self, ipv6_prefix_length: int) -> None:
        """*ipv6_prefix_length* are the bits that name a network, 1 to 128."""
        self._mask = (1 << 128) - (1 << (128 - ipv6_prefix_length))
        self._suffix = f"/{ipv6_prefix_length}" if ipv6_prefix_length < 128 else ""
        self._known: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<ClientNetworks of IPv6{self._suffix}>"

    def of(self, address: str) -> str:
        """The network of *address*; an IPv4 address, also where it is mapped into IPv6, and what is none, as it is."""
        if ":" not in address:
            return address
        network = self._known.get(address)
        if network is None:
            network = self._network_of(address)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[address] = network
        return network

    def _network_of(self, address: str) -> str:
        text, mark, zone = address.partition("%")
        try:
            parsed = IPv6Address(text)
        except ValueError:
            return address
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) & self._mask)}{self._suffix}{mark}{zone}"


class TrustedProxies:
    """The networks in which the proxies stand whose word on the client is taken."""

    __slots__ = ("_networks",)

    def __init__(self, networks: Iterable[str]) -> None:
        """*networks* are addresses or CIDR ranges. Raises :class:`ValueError` for anything else."""
        self._networks = tuple(_network(text) for text in networks)

    def __repr__(self) -> str:
        return f"<TrustedProxies {', '.join(map(str, self._networks))}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrustedProxies) and self._networks == other._networks

    def __hash__(self) -> int:
        return hash(self._networks)

    def trusts(self, address: str) -> bool:
        """True when *address* lies in one of the networks; False as well for what is no address."""
        parsed = _peer_address(address)
        return parsed is not None and self._contain(parsed)

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The address of the client, for a request that came from *peer* with these values of X-Forwarded-For.

        Every proxy has appended the address that it got the request from, so the lines are read from the right, as one
        list. The first address that is not trusted is the client's: what is left of it the client may have
        written itself. When all are trusted it is the left-most one; what is no address ends the walk at the last good
        one; and when *peer* is not trusted, it is the client.
        """
        client = _peer_address(peer)
        if client is None or not self._contain(client):
            return peer
        for line in reversed(forwarded_for):
            # Only as far as it has to be read: a client can make this list long.
            end = len(line)
            while end >= 0:
                start = line.rfind(",", 0, end)
                entry = line[start + 1 : end].strip(" \t")
                end = start
                if not entry:
                    continue  # RFC 9110 §5.6.1.2: lists may have empty members
                address = _address(_without_port(entry))
                if address is None:
                    return str(client)
                client = address
                if not self._contain(client):
                    return str(client)
        return str(client)

    def _contain(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _without_port(entry: str) -> str:
    """Some proxies write the port, too: ``192.0.2.1:4711``, ``[2001:db8::1]:4711``; or just the brackets."""
    if entry.startswith("["):
        address, bracket, port = entry[1:].partition("]")
        return address if bracket and ":" in address and (not port or _is_port(port)) else ""
    address, colon, port = entry.partition(":")
    return address if colon and _is_port(":" + port) else entry


def _is_port(text: str) -> bool:
    return text[:1] == ":" and 2 <= len(text) <= 6 and text[1:].isascii() and text[1:].isdigit()


def _peer_address(text: str) -> Address | None:
    """The zone of a link-local address says through which of our interfaces the peer is reached (RFC 4007 §11)."""
    return _address(text.partition("%")[0])


def _address(text: str) -> Address | None:
    if "%" in text:
        return None  # a zone means nothing to other hosts, and could hold any text
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows its IPv4 peers as IPv6 ones.
    return parsed.ipv4_mapped or parsed if isinstance(parsed, IPv6Address) else parsed


def _network(text: str) -> Network:
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
