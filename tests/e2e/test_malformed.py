"""Requests that no proxy may pass on: refused with one answer, and the connection is closed.

The dangerous ones are those that two readers could divide into messages differently (request smuggling): RFC 9112 §6.3,
§5.1, §5.2, §2.2.
"""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import RecordingBackend

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"


@pytest.fixture(autouse=True)
def _configured(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )


def answer_to(port: int, request: bytes) -> bytes:
    """Everything the proxy says to *request*; it must close the connection by itself."""
    with Connection(port) as client:
        client.send(request)
        return client.read_to_end()


def assert_refused(port: int, backend: RecordingBackend, request: bytes, status: int = 400) -> None:
    answer = answer_to(port, request)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert backend.requests == []


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS to a plain port"),
        pytest.param(b"GET\r\n\r\n", id="no target"),
        pytest.param(b"GET / HTTP/1.1 more\r\nHost: a\r\n\r\n", id="more after the version"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", id="space in the target"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", id="two spaces"),
        pytest.param(b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", id="method that is no token"),
        pytest.param(b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", id="another protocol"),
        pytest.param(b"GET / http/1.1\r\nHost: a\r\n\r\n", id="version in lower case"),
        pytest.param(b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", id="control character in the target"),
        pytest.param(b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", id="target without a slash"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", id="Host with a slash"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n", id="space in a field name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", id="empty field name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", id="field without a colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", id="NUL in a value"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", id="bare CR in a value"),
    ],
)
def test_no_request_at_all(port: int, backend: RecordingBackend, request_: bytes) -> None:
    assert_refused(port, backend, request_)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="length and coding"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", id="coding and length"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 5, 6\r\n", id="two lengths in a list"),
        pytest.param(b"Content-Length: +5\r\n", id="signed length"),
        pytest.param(b"Content-Length: -5\r\n", id="negative length"),
        pytest.param(b"Content-Length: 0x5\r\n", id="hexadecimal length"),
        pytest.param(b"Content-Length: 5 5\r\n", id="length with a space"),
        pytest.param(b"Content-Length: \r\n", id="empty length"),
        pytest.param(b"Content-Length: 1_0\r\n", id="length with an underscore"),
        pytest.param(b"Content-Length: 99999999999999999999999\r\n", id="length beyond all bounds"),
        pytest.param(b"Content-Length : 5\r\n", id="space before the colon"),
        pytest.param(b"Transfer-Encoding : chunked\r\n", id="space before the colon of a coding"),
        pytest.param(b"X: 1\r\n Content-Length: 5\r\n", id="folded line"),
        pytest.param(b"X: 1\r\n\tmore\r\n", id="folded line with a tab"),
        pytest.param(b" X: 1\r\n", id="space before the first field"),
        pytest.param(b"Transfer-Encoding: identity\r\n", id="unknown coding"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="chunked is not last"),
        pytest.param(b"Transfer-Encoding: chunked, chunked\r\n", id="chunked twice"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", id="chunked in two fields"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="almost chunked"),
        pytest.param(b"Transfer-Encoding: \x0bchunked\r\n", id="coding behind a control character"),
        pytest.param(b"X: 1\nContent-Length: 5\r\n", id="line that ends in LF alone"),
    ],
)
def test_a_message_with_doubtful_bounds(port: int, backend: RecordingBackend, fields: bytes) -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + b"0\r\n\r\n" + SMUGGLED
    answer = answer_to(port, request)
    # 501 is right for a transfer coding that is not known (RFC 9112 §6.1).
    assert answer[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 501 "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert backend.requests == []


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n"])
def test_lines_that_end_in_lf_alone(port: int, backend: RecordingBackend, request_: bytes) -> None:
    assert_refused(port, backend, request_)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"g\r\nx\r\n0\r\n\r\n", id="size that is no number"),
        pytest.param(b"-1\r\nx\r\n0\r\n\r\n", id="negative size"),
        pytest.param(b"0x1\r\nx\r\n0\r\n\r\n", id="size with a prefix"),
        pytest.param(b"1 \r\nx\r\n0\r\n\r\n", id="space after the size"),
        pytest.param(b"1\nx\r\n0\r\n\r\n", id="size line that ends in LF alone"),
        pytest.param(b"1\r\nxy\r\n0\r\n\r\n", id="more than the size"),
        pytest.param(b"ffffffffffffffffff\r\nx\r\n", id="size beyond all bounds"),
        pytest.param(b"1;" + b"e" * 100_000 + b"\r\nx\r\n0\r\n\r\n", id="endless extension"),
        pytest.param(b"\r\n0\r\n\r\n", id="empty size"),
    ],
)
def test_a_broken_chunk(port: int, backend: RecordingBackend, body: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answer_to(port, head + body + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    # The head may have gone upstream already; what follows the broken chunk may not.
    assert all(seen.target == "/" and seen.body != b"" for seen in backend.requests) or backend.requests == []
    assert "/smuggled" not in [seen.target for seen in backend.requests]


def test_an_unknown_version(port: int, backend: RecordingBackend) -> None:
    assert_refused(port, backend, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505)


def test_an_endless_head(port: int, backend: RecordingBackend) -> None:
    with Connection(port) as client:
        try:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            for _ in range(4000):
                client.send(b"X-Endless: " + b"x" * 1000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it had enough
        # The answer may be lost to the reset that our unread bytes cause; if it came, it is this one.
        answer = client.read_to_end()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert backend.requests == []


def test_connect_is_no_method_of_a_reverse_proxy(port: int, backend: RecordingBackend) -> None:
    with Connection(port) as client:
        client.send(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")
        status, _, _ = client.read_head()
    assert status in (400, 404, 405, 501)
    assert backend.requests == []


def test_other_clients_are_not_concerned(port: int, backend: RecordingBackend) -> None:
    with Connection(port) as good:
        assert good.exchange("GET", "/before").status == 200
        answer_to(port, b"\x00\x01\x02\r\n\r\n")
        assert good.exchange("GET", "/after").status == 200
    assert fetch(port).status == 200


def test_a_leading_empty_line_is_ignored(port: int, backend: RecordingBackend) -> None:
    # RFC 9112 §2.2: a server SHOULD ignore at least one empty line before the request line.
    with Connection(port) as client:
        client.send(b"\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 200


def test_a_request_that_ends_early_is_dropped(port: int, backend: RecordingBackend) -> None:
    with Connection(port) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
    assert fetch(port, "/next").status == 200
    assert [seen.target for seen in backend.requests] == ["/next"]
