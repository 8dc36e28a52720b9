"""Fields: RFC 9113 §8.2, §8.2.1, §8.2.2, §8.2.3, §8.3 and §8.3.1, and limits (§10.5.1)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.conformance.http2.case import (
    Act,
    Case,
    Client,
    answered,
    assert_unharmed,
    cases,
    get,
    head,
    malformed,
    sends,
)
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Setting
from tests.support.recording_backend import RecordingBackend

METHOD, SCHEME, AUTHORITY, PATH = PSEUDO = (
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "proxy.test"),
    (":path", "/"),
)
Fields = Iterable[tuple[bytes | str, bytes | str]]


def asks(*fields: tuple[bytes | str, bytes | str]) -> Act:
    """A request with exactly these fields."""
    return sends(head(1, fields))


def replacing(name: str, value: bytes | str) -> Act:
    """A request one of whose pseudo-header fields has another value."""
    return asks(*((found, value if found == name else usual) for found, usual in PSEUDO))


def without(name: str) -> Act:
    return asks(*((found, value) for found, value in PSEUDO if found != name))


def adding(name: bytes | str, value: bytes | str = "x") -> Act:
    return asks(*PSEUDO, (name, value))


@cases(
    [
        Case("8.2", "an upper-case name", adding("X-Field"), malformed),
        Case("8.2", "one upper-case letter at the end", adding("fielD"), malformed),
        Case("8.2.1", "an empty name", adding(""), malformed),
        *(
            Case("8.2.1", f"{character!r} in a name", adding(b"a" + character + b"b"), malformed)
            for character in (
                b"\0",
                b"\t",
                b"\n",
                b"\r",
                b" ",
                b":",
                b"\x1f",
                b"\x7f",
                b"\x80",
                b"\xff",
                b'"',
                b"(",
                b"/",
            )
        ),
        Case("8.2.1", "a name that ends in a colon", adding("field:"), malformed),
        *(
            Case("8.2.1", f"{character!r} in a value", adding("field", b"a" + character + b"b"), malformed)
            for character in (b"\0", b"\n", b"\r")
        ),
        *(
            Case("8.2.1", f"a value that is {value!r}", adding("field", value), malformed)
            for value in (b" x", b"x ", b"\tx", b"x\t", b" ", b"\r\n", b"\n", b"\0")
        ),
        Case("8.2.1", "an empty value", adding("field", ""), answered()),
        Case("8.2.1", "spaces within a value", adding("field", "a b\tc"), answered()),
        Case("8.2.1", "a value of UTF-8", adding("field", "é".encode()), answered()),
        Case("8.2.1", "every letter that a name may have", adding("!#$%&'*+-.^_`|~09az"), answered()),
    ]
)
def test_validity(client: Client, case: Case) -> None:
    case.run(client)


@cases(
    [
        *(
            Case("8.2.2", f"{name}: {value}", adding(name, value), malformed)
            for name, value in (
                ("connection", "close"),
                ("connection", "keep-alive"),
                ("connection", "x-private"),
                ("proxy-connection", "keep-alive"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "identity"),
                ("upgrade", "websocket"),
                ("upgrade", "h2c"),
                ("te", "gzip"),
                ("te", "trailers, gzip"),
                ("te", "trailers;q=0.5"),
            )
        ),
        Case("8.2.2", "te: trailers", adding("te", "trailers"), answered()),
    ]
)
def test_connection_specific(client: Client, case: Case) -> None:
    case.run(client)


def test_te_trailers_goes_on(client: Client, backend: RecordingBackend) -> None:
    """gRPC servers insist on it; HTTP/1 has it nominated in Connection (RFC 9110 §10.1.4)."""
    client.exchange(1, ("te", "trailers"))
    (seen,) = backend.requests
    assert seen.all("te") == ["trailers"]


@cases(
    [
        Case(
            "8.3",
            "a pseudo-header field after another field",
            asks(METHOD, SCHEME, PATH, ("a", "b"), AUTHORITY),
            malformed,
        ),
        Case("8.3", "an unknown pseudo-header field", asks(*PSEUDO, (":test", "x")), malformed),
        Case("8.3", "one of responses", asks(*PSEUDO, (":status", "200")), malformed),
        Case("8.3", "an empty name after the colon", asks(*PSEUDO, (":", "x")), malformed),
        Case("8.3", "upper case", asks(METHOD, SCHEME, (":Path", "/"), AUTHORITY), malformed),
        *(Case("8.3.1", f"{name} twice", asks((name, value), *PSEUDO), malformed) for name, value in PSEUDO),
        Case("8.3.1", "twice with other values", asks((":path", "/a"), METHOD, SCHEME, AUTHORITY, PATH), malformed),
        *(Case("8.3.1", f"without {name}", without(name), malformed) for name in (":method", ":scheme", ":path")),
        *(
            Case("8.3.1", f"an empty {name}", replacing(name, ""), malformed)
            for name in (":method", ":scheme", ":path", ":authority")
        ),
        Case("8.3.1", ":path without a slash", replacing(":path", "path"), malformed),
        Case("8.3.1", ":path * of a GET", replacing(":path", "*"), malformed),
        Case("8.3.1", ":path with a space", replacing(":path", "/a b"), malformed),
        Case("8.3.1", ":path with a fragment", replacing(":path", "/a#b"), malformed),
        Case("8.3.1", ":path in absolute form", replacing(":path", "http://other.test/"), malformed),
        Case("8.3.1", ":path with a NUL", replacing(":path", b"/\0"), malformed),
        Case("8.3.1", ":method with a space", replacing(":method", "GET /"), malformed),
        Case("8.3.1", ":method that is no token", replacing(":method", "GE(T"), malformed),
        Case("8.3.1", ":scheme that nobody serves", replacing(":scheme", "ftp"), malformed),
        Case("8.3.1", ":authority with user information", replacing(":authority", "user@proxy.test"), malformed),
        Case("8.3.1", ":authority with a path", replacing(":authority", "proxy.test/a"), malformed),
        Case("8.3.1", ":authority with a space", replacing(":authority", "proxy test"), malformed),
        Case("8.3.1", ":authority and another host", asks(*PSEUDO, ("host", "other.test")), malformed),
        Case("8.3.1", "host twice", asks(METHOD, SCHEME, PATH, ("host", "a.test"), ("host", "a.test")), malformed),
        Case("8.3.1", "neither :authority nor host", without(":authority"), malformed),
        Case("8.3.1", ":authority and the same host", asks(*PSEUDO, ("host", "proxy.test")), answered()),
        Case("8.3.1", "host alone", asks(METHOD, SCHEME, PATH, ("host", "proxy.test")), answered()),
        Case("8.3.1", "any order", asks(PATH, AUTHORITY, SCHEME, METHOD), answered()),
        Case("8.3.1", "https where TLS ended before us", replacing(":scheme", "https"), answered()),
        Case("8.3.1", "an unknown method", replacing(":method", "BREW"), answered()),
    ]
)
def test_pseudo_header_fields(client: Client, case: Case) -> None:
    case.run(client)


@pytest.mark.parametrize("extra", [[], [("host", "proxy.test")]], ids=["authority", "and host"])
def test_authority_becomes_the_one_host(client: Client, backend: RecordingBackend, extra: Fields) -> None:
    """RFC 9113 §8.3.1: an intermediary that converts to HTTP/1.1 makes a Host of :authority."""
    client.exchange(1, *extra)
    (seen,) = backend.requests
    assert [value for value in seen.all("host") if value != "proxy.test"] == []
    assert len(seen.all("host")) == 1


def test_options_of_the_server_as_a_whole(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.3.1: OPTIONS * has the path ``*``."""
    client.head(1, [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "proxy.test"), (":path", "*")])
    message = client.await_message(1)
    assert message.reset is None
    assert all((seen.method, seen.target) == ("OPTIONS", "*") for seen in backend.requests)


def test_pseudo_header_fields_are_no_fields_of_http1(client: Client, backend: RecordingBackend) -> None:
    client.exchange(1)
    (seen,) = backend.requests
    assert not [name for name, _ in seen.headers if name.startswith(":")]


def test_cookies_are_put_together(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.2.3: with ``; `` between, before they go to HTTP/1.1."""
    client.exchange(1, ("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d"), ("cookie", "e=f"))
    (seen,) = backend.requests
    assert seen.all("cookie") == ["a=b; c=d; e=f"]


def test_other_fields_keep_their_order(client: Client, backend: RecordingBackend) -> None:
    """RFC 9110 §5.3: the order of lines with one name says something."""
    client.exchange(1, ("x-list", "1"), ("x-other", "2"), ("x-list", "3"))
    (seen,) = backend.requests
    assert seen.all("x-list") in (["1", "3"], ["1, 3"])


def test_a_head_beyond_the_limit_is_refused(client: Client) -> None:
    """RFC 9113 §10.5.1: 431, or a reset; the connection goes on, since the block could be decoded."""
    limit = client.settings[Setting.MAX_HEADER_LIST_SIZE]
    fields = [(f"x-{number}", "v" * 1000) for number in range(limit // 1000 + 2)]
    block = client.block(client.request_fields(*fields))
    client.send(in_frames(block))
    message = client.await_message(1)
    assert message.status == 431 or message.reset is not None, message
    assert [seen.target for seen in client.backend.requests] == []
    assert_unharmed(client)


def test_a_limit_of_heads_is_announced(client: Client) -> None:
    """RFC 9113 §6.5.2: so that clients need not find out."""
    assert 8192 <= client.settings[Setting.MAX_HEADER_LIST_SIZE] <= 1 << 20


def test_a_head_far_beyond_the_limit_may_end_the_connection(client: Client) -> None:
    """RFC 9113 §10.5.1: what is too large to be decoded need not be; nothing of it reaches the backend."""
    piece = client.block([("x-bomb", "b" * 4000)])
    indexed = bytes((0x80 | 62,)) * 16000
    client.send(frames.headers(1, piece + indexed, end=True))
    client.await_that(
        lambda: client.message(1).is_over or client.goodbye is not None or bool(client.ended), "the end of it"
    )
    assert not client.backend.requests


def in_frames(block: bytes) -> bytes:
    """A whole request on stream 1 whose block takes several frames."""
    size = frames.MAX_FRAME_SIZE
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    last = len(parts) - 1
    return frames.headers(1, parts[0], end=True, end_headers=last == 0) + b"".join(
        frames.continuation(1, part, end_headers=number == last) for number, part in enumerate(parts[1:], 1)
    )


def test_a_head_just_within_the_limit_is_served(client: Client, backend: RecordingBackend) -> None:
    client.send(in_frames(client.block(client.request_fields(*((f"x-{n}", "v" * 1000) for n in range(20))))))
    assert client.await_message(1).status == 200
    (seen,) = backend.requests
    assert len([name for name, _ in seen.headers if name.lower().startswith("x-") and name[2:].isdigit()]) == 20


def test_a_refused_head_does_not_end_other_streams(client: Client) -> None:
    """RFC 9113 §8.1.1: malformed is an error of the stream."""
    client.request(1, method="POST", end=False)
    client.send(client.request_frame(3, ("connection", "close")))
    client.await_that(lambda: client.message(3).reset == Code.PROTOCOL_ERROR, "RST_STREAM")
    client.send(frames.data(1, b"x", end=True))
    assert client.await_message(1).status == 200


def test_never_indexed_fields_are_served(client: Client, backend: RecordingBackend) -> None:
    """RFC 7541 §6.2.3."""
    block = client.block(client.request_fields()) + b"\x10\x06secret\x05value"
    client.send(frames.headers(1, block, end=True))
    assert client.await_message(1).status == 200
    assert backend.requests[0].all("secret") == ["value"]


def test_a_request_after_another_is_not_mixed_with_it(client: Client, backend: RecordingBackend) -> None:
    """Fields belong to their own request, whatever HPACK remembers."""
    client.send(get(1, ("x-first", "1"))(client), get(3)(client))
    client.await_message(1)
    client.await_message(3)
    assert sorted(tuple(seen.all("x-first")) for seen in backend.requests) == [(), ("1",)]
