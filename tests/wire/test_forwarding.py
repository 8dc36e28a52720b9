"""What the upstream is told of a client that came through a trusted proxy (RFC 7239, X-Forwarded-*)."""

from __future__ import annotations

import pytest

from tests.support.request_message import accepted, message
from vrata.wire.http1.forwarding import (
    forwarded_element,
    forwarding_lines,
    relayed_lines,
    told_host,
    told_port,
    told_scheme,
)
from vrata.wire.http1.head import parse_request_head

PEER = b"192.0.2.1"
OURS = b"for=192.0.2.1;host=a;proto=http"


def relayed(*lines: bytes) -> list[bytes]:
    text = relayed_lines(accepted(message(*lines)), client=PEER, scheme=b"http", port=b"8080")
    assert text.endswith(b"\r\n")
    return text[:-2].split(b"\r\n")


def test_every_line_has_its_end() -> None:
    assert forwarding_lines(b"https", b"443") == b"x-forwarded-proto: https\r\nx-forwarded-port: 443\r\n"


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        ([b"X-Forwarded-Proto: https"], b"https"),
        ([b"x-forwarded-proto: HTTPS "], b"https"),
        ([b"X-Forwarded-Proto: http"], b"http"),
        ([], None),
        ([b"X-Forwarded-Proto:"], None),
        ([b"X-Forwarded-Proto: https, http"], None),
        ([b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: https"], None),
        ([b"X-Forwarded-Proto: wss"], None),
        ([b"X-Forwarded-Proto: javascript"], None),
        ([b"Forwarded: proto=https"], None),
    ],
)
def test_the_scheme_that_is_told(lines: list[bytes], scheme: bytes | None) -> None:
    head = accepted(message(*lines))
    assert told_scheme(head) == scheme
    assert relayed(*lines)[0] == b"x-forwarded-proto: " + (scheme or b"http")


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        ([b"X-Forwarded-Host: b.test"], b"b.test"),
        ([b"X-Forwarded-Host: B.test:8443"], b"B.test:8443"),
        ([b"X-Forwarded-Host: [2001:db8::1]:443"], b"[2001:db8::1]:443"),
        ([], None),
        ([b"X-Forwarded-Host:"], None),
        ([b"X-Forwarded-Host: b.test, c.test"], None),
        ([b"X-Forwarded-Host: b.test", b"x-forwarded-host: b.test"], None),
        ([b"X-Forwarded-Host: u@b.test"], None),
        ([b"X-Forwarded-Host: b.test/x"], None),
    ],
)
def test_the_host_that_is_told(lines: list[bytes], host: bytes | None) -> None:
    assert told_host(accepted(message(*lines))) == host


@pytest.mark.parametrize(
    ("value", "port"),
    [
        (b"443", b"443"),
        (b"1", b"1"),
        (b"65535", b"65535"),
        (b"0", None),
        (b"65536", None),
        (b"100000000000000000000", None),
        (b"-1", None),
        (b"\xb2", None),
        (b"443, 80", None),
        (b"https", None),
        (b"", None),
    ],
)
def test_the_port_that_is_told(value: bytes, port: bytes | None) -> None:
    assert told_port(accepted(message(b"X-Forwarded-Port: " + value))) == port


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ([], [b"x-forwarded-port: 8080"]),
        ([b"X-Forwarded-Port: 443"], [b"x-forwarded-port: 443"]),
        ([b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 8443"], [b"x-forwarded-port: 8443"]),
        ([b"X-Forwarded-Port: x"], [b"x-forwarded-port: 8080"]),
        # The client has not connected to our port, and which one it was nobody has said.
        ([b"X-Forwarded-Proto: https"], []),
        ([b"X-Forwarded-Host: b.test"], []),
        ([b"X-Forwarded-Proto: https", b"X-Forwarded-Port: x"], []),
    ],
)
def test_our_port_is_told_only_beside_our_scheme_and_host(lines: list[bytes], port: list[bytes]) -> None:
    assert [line for line in relayed(*lines) if line.startswith(b"x-forwarded-port")] == port


@pytest.mark.parametrize(
    ("lines", "forwarded"),
    [
        ([], None),
        ([b"Forwarded: for=203.0.113.7"], b"for=203.0.113.7, " + OURS),
        ([b"Forwarded: for=a;proto=https, for=b", b"forwarded: for=c"], b"for=a;proto=https, for=b, for=c, " + OURS),
        ([b'Forwarded: For="[2001:db8::1]:4711";by=_x'], b'For="[2001:db8::1]:4711";by=_x, ' + OURS),
        ([b'Forwarded: for="a\\"b, c"'], b'for="a\\"b, c", ' + OURS),
        ([b"Forwarded: for=a ; proto=http ,\tfor=b"], b"for=a ; proto=http ,\tfor=b, " + OURS),
        # What cannot be read must not swallow what we say, so it is left out.
        ([b'Forwarded: for="a'], OURS),
        ([b'Forwarded: for="a\\"'], OURS),
        ([b"Forwarded: for=a", b'Forwarded: for="b'], OURS),
        ([b"Forwarded: 203.0.113.7"], OURS),
        ([b"Forwarded: for=a;"], OURS),
        ([b"Forwarded: for=[2001:db8::1]"], OURS),
        ([b"Forwarded:"], OURS),
    ],
)
def test_our_element_is_appended_to_forwarded(lines: list[bytes], forwarded: bytes | None) -> None:  # RFC 7239 §4
    found = [line for line in relayed(*lines) if line.startswith(b"forwarded:")]
    assert found == ([] if forwarded is None else [b"forwarded: " + forwarded])


@pytest.mark.parametrize(
    ("client", "authority", "scheme", "element"),
    [
        (b"192.0.2.1", b"a.test", b"http", b"for=192.0.2.1;host=a.test;proto=http"),
        (b"2001:db8::1", b"a.test:80", b"https", b'for="[2001:db8::1]";host="a.test:80";proto=https'),
        (b"192.0.2.1", b"[2001:db8::1]:80", b"http", b'for=192.0.2.1;host="[2001:db8::1]:80";proto=http'),
        (b"192.0.2.1", b"a,b;c=d", b"http", b'for=192.0.2.1;host="a,b;c=d";proto=http'),
        (b"unknown", b"", b"http", b"for=unknown;proto=http"),
    ],
)
def test_our_element_of_forwarded(client: bytes, authority: bytes, scheme: bytes, element: bytes) -> None:  # §5, §6
    assert forwarded_element(client, authority, scheme) == element


def test_a_long_chain_is_judged_in_one_pass() -> None:
    chain = b"for=a;" * 9000
    head = parse_request_head(message(b"Forwarded: " + chain))
    assert head is not None
    text = relayed_lines(head, client=PEER, scheme=b"http", port=b"8080")
    assert text.endswith(b"\r\nforwarded: " + OURS + b"\r\n")
