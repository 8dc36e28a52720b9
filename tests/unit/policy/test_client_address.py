"""The client behind trusted proxies: each rule by example, and all of them against a plain restatement."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.client_address import MOST_KNOWN, ClientNetworks, TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("address", "length", "network"),
    [
        ("192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:c000:207", 128, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::/56"),
        ("2001:db8:1:2:3:4:5:6", 1, "::/1"),
        ("2001:db8:0:0:0:0:0:6", 128, "2001:db8::6"),
        ("2001:db8::7", 127, "2001:db8::6/127"),
        ("fe80::1%eth0", 64, "fe80::/64%eth0"),
        ("unknown:", 64, "unknown:"),
        ("", 64, ""),
    ],
)
def test_what_tells_clients_apart(address: str, length: int, network: str) -> None:
    networks = ClientNetworks(length)
    assert [networks.of(address) for _ in range(2)] == [network] * 2


def test_not_every_address_is_remembered() -> None:
    networks = ClientNetworks(64)
    for number in range(2 * MOST_KNOWN):
        assert networks.of(f"2001:db8::{number:x}") == "2001:db8::/64"
    assert len(networks._known) <= MOST_KNOWN


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("2001:db8:1::", True),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db8:2::", False),
        ("2001:db8:1::1%eth0", True),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("::10.1.2.3", False),
        ("010.0.0.1", False),
        ("10.1", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    assert PROXIES.trusts(address) is trusted


@pytest.mark.parametrize("networks", [["::ffff:10.0.0.0/104"], ["::/0", "0.0.0.0/0"], ["10.1.2.3/8"]])
def test_a_network_is_the_same_in_every_notation(networks: list[str]) -> None:
    assert TrustedProxies(networks).trusts("10.255.0.1")
    assert TrustedProxies(networks).trusts("::ffff:10.255.0.1")


def test_a_network_of_one_family_holds_nothing_of_the_other() -> None:
    assert not TrustedProxies(["::/0"]).trusts("10.0.0.1")
    assert not TrustedProxies(["0.0.0.0/0"]).trusts("2001:db8::1")
    assert not TrustedProxies([]).trusts("10.0.0.1")


@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "proxy.test", "10.0.0.1-10.0.0.9"])
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        TrustedProxies([network])


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        # Nobody is believed who is not trusted.
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("unknown", ["198.51.100.1"], "unknown"),
        # The right-most one that is not trusted.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.2, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2,192.0.2.1 ,\t10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.2, 10.0.0.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        # Several lines are one list.
        ("10.0.0.1", ["198.51.100.2", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.0.0.3", "10.0.0.2"], "198.51.100.1"),
        # All trusted: the left-most.
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["2001:DB8:1:0::9", "10.0.0.2"], "2001:db8:1::9"),
        # What is no address ends the walk at the last good one.
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1", "10.0.0.300", "10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1%<b>"], "10.0.0.1"),
        ("10.0.0.1", ["010.0.0.7"], "10.0.0.1"),
        ("10.0.0.1", ['"198.51.100.1"'], "10.0.0.1"),
        # Empty members are none.
        ("10.0.0.1", ["", ",198.51.100.1, ,", " "], "198.51.100.1"),
        # Ports and brackets are left out.
        ("10.0.0.1", ["198.51.100.1:4711, 10.0.0.2:80"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:http"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:123456"], "10.0.0.1"),
        ("10.0.0.1", ["[198.51.100.1]:80"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7]80"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::7]:"], "10.0.0.1"),
    ],
)
def test_the_client(peer: str, lines: list[str], client: str) -> None:
    assert PROXIES.client_of(peer, lines) == client


def test_only_what_has_to_be_read_is_read() -> None:
    class Unread(str):
        __slots__ = ()

        def rfind(self, *_: object) -> int:
            raise AssertionError("this line is left of the client")

    assert PROXIES.client_of("10.0.0.1", [Unread("10.0.0.2"), "x, 198.51.100.1"]) == "198.51.100.1"


# -- against a restatement that reads the whole list ------------------------------------------------------------------

ADDRESSES = st.one_of(
    st.sampled_from(
        ["10.0.0.1", "10.9.9.9", "192.0.2.1", "198.51.100.1", "203.0.113.9", "2001:db8:1::5", "2001:db8::5"]
    ),
    st.ip_addresses().map(str),
)
ENTRIES = st.one_of(
    ADDRESSES,
    st.sampled_from(["", " ", "unknown", "_x", "256.1.1.1", "10.0.0.1:80"]),
    st.text("0123456789.:[]%", max_size=9),
)
LINES = st.lists(st.lists(ENTRIES, max_size=5).map(", ".join), max_size=4)
NETWORKS = st.lists(st.sampled_from(["10.0.0.0/8", "192.0.2.0/24", "2001:db8:1::/48", "0.0.0.0/0", "::/0"]), max_size=3)


def restated(networks: list[str], peer: str, lines: list[str]) -> str:
    def trusted(text: str) -> bool:
        return any(ip_address(text) in ip_network(network) for network in networks)

    chain: list[str | None] = []
    for entry in (part.strip(" \t") for part in ",".join(lines).split(",")):
        if not entry:
            continue
        bare = entry.rpartition(":")[0] if entry.count(":") == 1 and entry[-1].isdigit() else entry
        if bare.startswith("["):
            bare = bare[1:-1] if bare.endswith("]") and ":" in bare else "bad"
        try:
            parsed = ip_address(bare)
        except ValueError:
            chain.append(None)
            continue
        mapped = getattr(parsed, "ipv4_mapped", None)
        chain.append(None if "%" in bare else str(mapped or parsed))
    client = peer
    while trusted(client) and chain:
        left = chain.pop()
        if left is None:
            break
        client = left
    return client


@given(NETWORKS, ADDRESSES.map(lambda text: str(getattr(ip_address(text), "ipv4_mapped", None) or text)), LINES)
def test_any_chain_is_read_as_its_restatement_reads_it(networks: list[str], peer: str, lines: list[str]) -> None:
    assert TrustedProxies(networks).client_of(peer, lines) == restated(networks, peer, lines)


@given(NETWORKS, ADDRESSES, LINES, st.text(max_size=40))
def test_what_stands_left_of_the_client_changes_nothing(
    networks: list[str], peer: str, lines: list[str], forged: str
) -> None:
    proxies = TrustedProxies(networks)
    client = proxies.client_of(peer, lines)
    if not proxies.trusts(client):
        assert proxies.client_of(peer, [forged, *lines]) == client
