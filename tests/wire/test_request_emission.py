"""The request head that goes to the next hop (RFC 9110 §7.6)."""

from __future__ import annotations

import pytest

from tests.support.request_message import accepted, emitted, message


def test_an_emitted_head() -> None:
    head = accepted(message(b"Accept: a", b"X:  b ", b"accept: c", b"User-Agent: d", line=b"GET /p?q HTTP/1.1"))
    assert emitted(head) == [
        b"GET /p?q HTTP/1.1",
        b"host: up.test",
        b"Accept: a",
        b"X:  b ",
        b"accept: c",
        b"User-Agent: d",
        b"x-forwarded-for: 192.0.2.1",
        b"x-forwarded-host: a",
        b"x-forwarded-proto: http",
        b"x-forwarded-port: 8080",
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authenticate: Basic",
        b"Proxy-Authorization: Basic eA==",
        b"TE: gzip",
        b"Trailer: X",
        b"Upgrade: websocket",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: forged",
        b"X-Forwarded-Port: 443",
        b"X-Forwarded-Server: forged",
        b"Forwarded: for=192.0.2.1;proto=https",
        b"X-Forwarded-Client-Cert: forged",
        b"X-Vrata-Attempt-Count: 3",
        b"X-Request-Attempt-Count: 3",
    ],
    ids=repr,
)
@pytest.mark.parametrize("spelling", [bytes, bytes.lower, bytes.upper], ids=["as is", "lower", "upper"])
def test_fields_that_do_not_go_on(line: bytes, spelling: type[bytes]) -> None:
    head = accepted(message(spelling(line), b"X: 1"))
    assert emitted(head) == emitted(accepted(message(b"X: 1")))


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([b"Connection: x-a", b"X-A: 1", b"X-B: 2"], [b"X-B: 2"]),
        ([b"X-A: 1", b"x-a: 2", b"Connection: X-A"], []),
        ([b"Connection: x-a, x-b", b"X-A: 1", b"X-B: 2", b"X-C: 3"], [b"X-C: 3"]),
        ([b"Connection: x-a", b"Connection: close ,\tX-B", b"X-A: 1", b"X-B: 2"], []),
        ([b"Connection: x-", b"X-A: 1"], [b"X-A: 1"]),
        ([b"Connection: *", b"X-A: 1"], [b"X-A: 1"]),
    ],
)
def test_fields_that_connection_nominates_do_not_go_on(lines: list[bytes], passed: list[bytes]) -> None:
    assert accepted(message(*lines)).passed == passed


def test_connection_cannot_remove_what_frames_and_addresses_the_message() -> None:  # RFC 9110 §7.6.1
    nominate = b"Connection: host, content-length, transfer-encoding, x-forwarded-host, x-forwarded-proto"
    head = accepted(message(nominate, b"Content-Length: 3", body=b"abc"))
    lines = emitted(head)
    assert lines.count(b"content-length: 3") == 1
    assert lines.count(b"host: up.test") == 1
    assert head.authority == b"a"
    assert b"x-forwarded-host: a" in lines
    assert b"x-forwarded-proto: http" in lines
    chunked = accepted(message(nominate, b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"))
    assert emitted(chunked).count(b"transfer-encoding: chunked") == 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], b"192.0.2.1"),
        ([b"X-Forwarded-For: 203.0.113.7"], b"203.0.113.7, 192.0.2.1"),
        ([b"X-Forwarded-For: a, b", b"x-forwarded-for: c"], b"a, b, c, 192.0.2.1"),
        ([b"X-Forwarded-For:"], b"192.0.2.1"),
        # A proxy before us may pass Connection on: its client must not be able to take out what that proxy appended.
        ([b"X-Forwarded-For: a", b"Connection: X-Forwarded-For"], b"a, 192.0.2.1"),
    ],
)
def test_the_client_is_appended_to_x_forwarded_for(lines: list[bytes], expected: bytes) -> None:
    found = [line for line in emitted(accepted(message(*lines))) if line.lower().startswith(b"x-forwarded-for:")]
    assert found == [b"x-forwarded-for: " + expected]


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ([], []),
        ([b"Content-Length: 0"], [b"content-length: 0"]),
        ([b"CONTENT-LENGTH:005"], [b"content-length: 5"]),
        ([b"TRANSFER-ENCODING:CHUNKED"], [b"transfer-encoding: chunked"]),
    ],
)
def test_framing_is_emitted_once_in_our_own_words(lines: list[bytes], framing: list[bytes]) -> None:  # RFC 9112 §6
    found = emitted(accepted(message(*lines)))
    assert [line for line in found if line.lower().startswith((b"content-length", b"transfer-encoding"))] == framing


@pytest.mark.parametrize(
    ("lines", "goes_on"),
    [
        ([b"TE: trailers"], True),
        ([b"te:  TRAILERS "], True),
        ([b"TE: trailers", b"Connection: TE"], True),
        ([b"TE: trailers", b"Connection: te, keep-alive"], True),
        ([b"TE: gzip;q=0.5, trailers"], True),
        ([b"TE: ,trailers,"], True),
        ([b"TE: gzip", b"TE: trailers"], True),
        ([b"TE:"], False),
        ([b"TE: gzip, deflate;q=0.5"], False),
        ([b"TE: trailers;q=0.5"], False),
        ([b"TE: xtrailers"], False),
        ([b"TE: trailersx"], False),
        ([b"TE: trailer"], False),
        ([b'TE: x;y="trailers"'], False),
        ([b"Connection: te"], False),
    ],
)
def test_of_te_nothing_but_trailers_goes_on(lines: list[bytes], goes_on: bool) -> None:  # RFC 9110 §10.1.4
    found = emitted(accepted(message(b"X: 1", *lines)))
    told = [b"connection: te", b"te: trailers"] if goes_on else []
    assert [line for line in found if line.lower().startswith((b"te:", b"connection:"))] == told
    assert b"X: 1" in found


def test_te_of_http_1_0_means_nothing() -> None:  # RFC 9112 §7.1: it could not be sent a chunked message
    head = accepted(message(b"TE: trailers", line=b"GET / HTTP/1.0"))
    assert not head.accepts_trailers
    assert b"te: trailers" not in emitted(head)


def test_an_upgrade_goes_on_as_the_only_connection_option() -> None:  # RFC 9110 §7.8
    head = accepted(message(b"TE: trailers", b"Connection: TE, Upgrade", b"Upgrade: websocket"))
    found = [line for line in emitted(head) if line.startswith((b"te:", b"connection:", b"upgrade:"))]
    assert found == [b"connection: upgrade", b"upgrade: websocket"]


def test_what_is_told_of_the_client_is_written_once() -> None:
    head = accepted(message(b"Connection: close, x-forwarded-port"))
    told = b"x-forwarded-proto: https\r\nforwarded: for=a, for=b\r\n"
    assert emitted(head, forwarding=told, host=b"told.test:443")[-4:] == [
        b"x-forwarded-for: 192.0.2.1",
        b"x-forwarded-host: told.test:443",
        b"x-forwarded-proto: https",
        b"forwarded: for=a, for=b",
    ]


@pytest.mark.parametrize("size", range(3700, 4200, 7))
def test_a_head_of_any_size_is_emitted_whole(size: int) -> None:
    lines = [b"X-Forwarded-For: " + b"f" * (size // 2), b"X-Forwarded-For: g", b"Y: " + b"y" * (size // 2)]
    head = accepted(message(*lines, b"Content-Length: 999999999999999999"))
    assert emitted(head, authority=b"u" * 255, forwarding=b"z: 1\r\n" * 9, host=b"h" * 255) == [
        b"GET / HTTP/1.1",
        b"host: " + b"u" * 255,
        lines[2],
        b"content-length: 999999999999999999",
        b"x-forwarded-for: " + b"f" * (size // 2) + b", g, 192.0.2.1",
        b"x-forwarded-host: " + b"h" * 255,
        *([b"z: 1"] * 9),
    ]


def test_all_values_of_a_field() -> None:
    head = accepted(message(b"X: 1", b"Forwarded: a", b"x:  2 ", b"forwarded: b", b"X-: 3"))
    assert head.values(b"x") == [b"1", b"2"]
    assert head.values(b"forwarded") == [b"a", b"b"]
    assert head.values(b"host") == [b"a"]
    assert head.values(b"y") == []


def test_a_request_without_an_authority_forwards_no_claim_of_one() -> None:
    head = accepted(message(host=None, line=b"GET / HTTP/1.0"))
    lines = emitted(head)
    assert lines[:2] == [b"GET / HTTP/1.1", b"host: up.test"]
    assert not any(line.startswith(b"x-forwarded-host") for line in lines)


def test_an_emitted_head_can_be_read_again_to_the_same_effect() -> None:
    head = accepted(
        message(b"X: 1", b"Content-Length: 3", b"Expect: 100-continue", line=b"PUT /p HTTP/1.1", body=b"abc")
    )
    again = accepted(b"\r\n".join([*emitted(head, b"a"), b"", b"abc"]))
    assert (again.method, again.target, again.authority) == (head.method, head.target, head.authority)
    assert (again.content_length, again.chunked, again.expects_continue) == (3, False, True)
    assert again.passed == head.passed
    assert again.forwarded_for == [b"192.0.2.1"]


def test_the_repr_says_what_is_asked() -> None:
    assert repr(accepted(message(line=b"GET /p HTTP/1.1"))) == "<RequestHead b'GET' b'/p'>"
