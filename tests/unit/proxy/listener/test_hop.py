"""One hop: what is told of it, what is believed of what came over it; trailers and identifiers of its requests."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import DownstreamClient, head_and_body, response_head, settings
from tests.support.request_message import accepted, message
from vrata.policy.client_address import TrustedProxies
from vrata.proxy.listener.hop import Hop, address_of
from vrata.wire.http1.head import ResponseHead

PROXIES = TrustedProxies(["192.0.2.0/24", "fe80::/10"])
BEHIND_A_PROXY = message(b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https", b"Forwarded: for=203.0.113.9")


def upstream_lines(hop: Hop, data: bytes) -> dict[str, str]:
    """The fields of the head that goes to the upstream, each of which stands there once."""
    text = hop.upstream_head(accepted(data), b"/", b"up.test").decode()
    pairs = [line.split(": ", 1) for line in text.removesuffix("\r\n\r\n").split("\r\n")[1:]]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.1", b"192.0.2.1"),
        ("2001:db8::1", b"2001:db8::1"),
        ("::ffff:192.0.2.1", b"192.0.2.1"),
        ("::ffff:2", b"::ffff:2"),
        ("fe80::1%eth0", b"fe80::1%eth0"),
    ],
)
def test_the_address_of_a_peer(peer: str, address: bytes) -> None:
    assert address_of(peer) == address


def test_a_hop_says_who_it_is() -> None:
    assert repr(Hop(b"192.0.2.1", b"https", "[::]:8443", None)) == "<Hop 192.0.2.1 https 8443>"


@pytest.mark.parametrize("peer", [b"192.0.2.1", b"fe80::1%eth0"])
def test_what_a_trusted_peer_says_is_believed(peer: bytes) -> None:
    hop = Hop(peer, b"http", "[::]:8080", PROXIES)
    head = accepted(BEHIND_A_PROXY)
    assert (hop.scheme_of(head), hop.client_of(head)) == (b"https", "203.0.113.9")
    found = upstream_lines(hop, BEHIND_A_PROXY)
    assert found["x-forwarded-proto"] == "https"
    assert found["x-forwarded-for"] == f"203.0.113.9, {peer.decode()}"
    assert found["forwarded"].startswith("for=203.0.113.9, for=")


@pytest.mark.parametrize("peer", [b"198.51.100.1", b"2001:db8::1", b"unknown"])
@pytest.mark.parametrize("proxies", [PROXIES, TrustedProxies([]), None])
def test_what_anybody_else_says_is_not(peer: bytes, proxies: TrustedProxies | None) -> None:
    hop = Hop(peer, b"http", "0.0.0.0:8080", proxies)
    head = accepted(BEHIND_A_PROXY)
    assert (hop.scheme_of(head), hop.client_of(head)) == (b"http", peer.decode())
    found = upstream_lines(hop, BEHIND_A_PROXY)
    assert (found["x-forwarded-proto"], found["x-forwarded-port"]) == ("http", "8080")
    assert "forwarded" not in found


@pytest.mark.parametrize("proxies", [PROXIES, None])
def test_the_certificate_of_the_peer_is_ours_to_tell(proxies: TrustedProxies | None) -> None:
    lie = message(b"X-Forwarded-Client-Cert: URI=lie")
    hop = Hop(b"192.0.2.1", b"https", "0.0.0.0:8443", proxies, b"spiffe://a/b;spiffe://a/c")
    assert upstream_lines(hop, lie)["x-forwarded-client-cert"] == "spiffe://a/b;spiffe://a/c"
    assert "x-forwarded-client-cert" not in upstream_lines(Hop(b"192.0.2.1", b"https", ":8443", proxies), lie)


# -- through a connection ---------------------------------------------------------------------------------------------


def test_a_request_knows_its_client() -> None:
    client = DownstreamClient(settings(trusted_proxies=PROXIES))
    client.send(BEHIND_A_PROXY)
    request = client.last.request
    assert (request.peer, request.client_ip, request.scheme) == (b"192.0.2.1", "203.0.113.9", "https")
    client.answer()
    client.owner.settings = settings()
    client.send(BEHIND_A_PROXY)
    request = client.last.request
    assert (request.peer, request.client_ip, request.scheme) == (b"192.0.2.1", "192.0.2.1", "http")


def test_every_attempt_says_the_same_identifier() -> None:
    client = DownstreamClient()
    client.send(message())
    request = client.last.request
    first, second = (request.upstream_head(b"/", authority) for authority in (b"one.test", b"two.test"))
    line = f"\r\nx-request-id: {request.request_id}\r\n".encode()
    assert line in first
    assert line in second


@pytest.mark.parametrize("chunks", [b"1\r\na\r\n0\r\n", b"0\r\n"])
def test_trailers_are_known_when_the_content_has_ended(chunks: bytes) -> None:
    data = message(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1") + chunks + b"T: 1\r\nDate: x\r\nu:\r\n\r\n"
    following = message(b"Content-Length: 1", line=b"POST /next HTTP/1.1") + b"a"
    for cut in range(1, len(data)):
        client = DownstreamClient()
        client.send(data[:cut])
        if client.handled:
            assert client.last.request.trailers == b""
        client.send(data[cut:])
        assert client.last.end
        assert client.last.request.trailers == b"T: 1\r\nu:\r\n"
        client.answer()
        client.send(following)
        assert client.last.end
        assert client.last.request.trailers == b""


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("line", "head", "body"),
    [
        (b"GET / HTTP/1.1", response_head(b"Transfer-Encoding: chunked"), b"1\r\na\r\n0\r\nT: 1\r\n\r\n"),
        (b"GET / HTTP/1.1", response_head(), b"1\r\na\r\n0\r\nT: 1\r\n\r\n"),
        (b"GET / HTTP/1.1", response_head(b"Content-Length: 1"), b"a"),
        (b"GET / HTTP/1.0", response_head(b"Transfer-Encoding: chunked"), b"a"),
        (b"HEAD / HTTP/1.1", response_head(b"Transfer-Encoding: chunked"), b""),
    ],
)
def test_trailers_go_to_the_client_behind_a_last_chunk(
    at_once: bool, line: bytes, head: ResponseHead, body: bytes
) -> None:
    client = DownstreamClient()
    client.send(message(line=line))
    request = client.last.request
    if at_once:
        request.start_response(head, b"a", True, b"T: 1\r\n")
    else:
        request.start_response(head, b"a", False)
        request.send_content(b"", True, b"T: 1\r\n")
    assert head_and_body(client.transport.take())[1] == body
