"""Requests that would be two, or others, for an HTTP/1 backend if they were translated without care.

What is asserted is what a backend has received that takes every byte for what HTTP/1 says it is.
"""

from __future__ import annotations

import pytest

from tests.conformance.http2.case import Client, assert_unharmed
from tests.support import http2_frames as frames
from tests.support.recording_backend import RecordingBackend

Field = tuple[bytes | str, bytes | str]

INNER = b"GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
METHOD: Field = (":method", "POST")
SCHEME: Field = (":scheme", "http")
AUTHORITY: Field = (":authority", "proxy.test")
PATH: Field = (":path", "/outer")
PSEUDO = (METHOD, SCHEME, AUTHORITY, PATH)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([*PSEUDO, ("x", b"1\r\nTransfer-Encoding: chunked")], id="a line in a value"),
        pytest.param([*PSEUDO, ("x", b"1\r\n\r\n" + INNER)], id="a request in a value"),
        pytest.param([*PSEUDO, ("x", b"1\n" + INNER)], id="a request in a value after a bare LF"),
        pytest.param([*PSEUDO, ("x", b"1\rTransfer-Encoding: chunked")], id="a bare CR in a value"),
        pytest.param([*PSEUDO, (b"x: 1\r\ntransfer-encoding", "chunked")], id="a line in a name"),
        pytest.param([*PSEUDO, (b"transfer-encoding: chunked\r\nx", "1")], id="a field in a name"),
        pytest.param([*PSEUDO, (b"transfer-encoding:", "chunked")], id="a name with a colon"),
        pytest.param([*PSEUDO, (b"transfer-encoding ", "chunked")], id="a name with a space"),
        pytest.param([*PSEUDO, (b" transfer-encoding", "chunked")], id="a name that would continue the line before"),
        pytest.param([*PSEUDO, ("x", "1"), (b"\ttransfer-encoding", "chunked")], id="a name after a tab"),
        pytest.param([*PSEUDO, ("transfer-encoding", "chunked")], id="transfer-encoding"),
        pytest.param([*PSEUDO, ("transfer-encoding", "xchunked")], id="an unknown transfer-encoding"),
        pytest.param([*PSEUDO, ("transfer_encoding\0", "chunked")], id="a NUL in a name"),
        pytest.param([METHOD, SCHEME, AUTHORITY, (":path", b"/ HTTP/1.1\r\nx: y")], id="a line in the path"),
        pytest.param([METHOD, SCHEME, AUTHORITY, (":path", b"/ HTTP/1.1\r\n\r\n" + INNER)], id="a request in the path"),
        pytest.param([METHOD, SCHEME, AUTHORITY, (":path", b"/smuggled HTTP/1.1")], id="a version in the path"),
        pytest.param([METHOD, SCHEME, AUTHORITY, (":path", b"/a\tb")], id="a tab in the path"),
        pytest.param([(":method", b"GET /smuggled HTTP/1.1\r\nx:"), *PSEUDO[1:]], id="a line in the method"),
        pytest.param([(":method", b"GET /smuggled"), *PSEUDO[1:]], id="a path in the method"),
        pytest.param([METHOD, SCHEME, PATH, (":authority", b"a\r\nx: y")], id="a line in the authority"),
        pytest.param([METHOD, SCHEME, PATH, (":authority", b"a\r\n\r\n" + INNER)], id="a request in the authority"),
        pytest.param([METHOD, PATH, AUTHORITY, (":scheme", b"http://other.test/?")], id="a URL in the scheme"),
        pytest.param([METHOD, PATH, AUTHORITY, (":scheme", b"http\r\nx: y")], id="a line in the scheme"),
        pytest.param([*PSEUDO, ("host", b"proxy.test\r\nx: y")], id="a line in the host"),
        pytest.param([*PSEUDO, ("content-length", b"0\r\n\r\n" + INNER)], id="a request in the length"),
        pytest.param([*PSEUDO, ("content-length", "4"), ("content-length", "0")], id="two lengths"),
        pytest.param([*PSEUDO, ("content-length", "4, 0")], id="a list of lengths"),
        pytest.param([*PSEUDO, ("cookie", b"a=1\r\nx: y")], id="a line in a cookie"),
        pytest.param([*PSEUDO, ("connection", "content-length"), ("content-length", "4")], id="a nominated length"),
        pytest.param([*PSEUDO, ("te", b"trailers\r\nx: y")], id="a line in te"),
    ],
)
def test_nothing_reaches_the_backend(client: Client, backend: RecordingBackend, fields: list[Field]) -> None:
    client.head(1, fields, end=False)
    client.send(frames.data(1, b"0\r\n\r\n" + INNER, end=True))
    message = client.await_message(1)
    assert message.reset is not None or message.status == 400, message
    assert_unharmed(client)
    assert [(seen.method, seen.target) for seen in backend.requests] == [("GET", "/unharmed")]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(INNER, id="a request"),
        pytest.param(b"0\r\n\r\n" + INNER, id="the end of chunks and a request"),
        pytest.param(b"5\r\nhello\r\n0\r\n\r\n", id="chunks"),
        pytest.param(b"\r\n\r\n", id="empty lines"),
    ],
)
@pytest.mark.parametrize("length", [True, False], ids=["content-length", "no length"])
@pytest.mark.parametrize("pieces", [1, 7], ids=["in one frame", "in small frames"])
def test_content_stays_content(
    client: Client, backend: RecordingBackend, content: bytes, length: bool, pieces: int
) -> None:
    """The backend receives one request, whose content is what was sent, however much it looks like something else."""
    client.head(1, [*PSEUDO, *([("content-length", str(len(content)))] if length else [])], end=False)
    size = len(content) if pieces == 1 else 7
    client.send(b"".join(frames.data(1, content[at : at + size]) for at in range(0, len(content), size)))
    client.send(frames.data(1, end=True))
    assert client.await_message(1).status == 200
    assert [(seen.method, seen.target, seen.body) for seen in backend.requests] == [("POST", "/outer", content)]


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param([("transfer-encoding", "chunked")], id="transfer-encoding"),
        pytest.param([("x", b"1\r\n\r\n" + INNER)], id="a request in a value"),
        pytest.param([(b"x: 1\r\ny", "1")], id="a line in a name"),
        pytest.param([("", "1")], id="an empty name"),
        pytest.param([(":path", "/smuggled")], id="a pseudo-header field"),
        pytest.param([("connection", "close")], id="connection"),
    ],
)
def test_trailers_end_no_request_but_their_own(
    client: Client, backend: RecordingBackend, trailers: list[Field]
) -> None:
    client.head(1, PSEUDO, end=False)
    client.send(frames.data(1, b"content"))
    client.head(1, trailers)
    message = client.await_message(1)
    assert message.reset is not None or message.status == 400, message
    assert_unharmed(client)
    assert [(seen.method, seen.target) for seen in backend.requests] == [("GET", "/unharmed")]


@pytest.mark.parametrize("name", ["content-length", "host", "authorization", "cookie", "set-cookie", "content-type"])
def test_trailers_are_not_merged_into_the_head(client: Client, backend: RecordingBackend, name: str) -> None:
    """RFC 9110 §6.5.1: fields that route, frame or authorise are not taken from trailers."""
    client.head(1, PSEUDO, end=False)
    client.send(frames.data(1, b"content"))
    client.head(1, [(name, "7")])
    client.await_message(1)
    for seen in backend.requests:
        assert (seen.target, seen.body) == ("/outer", b"content")
        assert "7" not in seen.all(name)


def test_requests_after_a_refused_one_are_not_its_rest(client: Client, backend: RecordingBackend) -> None:
    """A backend connection that carried half a request carries no other."""
    client.head(1, [*PSEUDO, ("content-length", "100")], end=False)
    client.send(frames.data(1, INNER))
    client.round_trip()
    client.send(frames.rst_stream(1))
    for stream in (3, 5):
        assert client.exchange(stream).status == 200
    assert [(seen.method, seen.target) for seen in backend.requests] == [("GET", "/")] * 2


def test_the_path_goes_on_as_it_is(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.3.1: what is routed is what is sent."""
    for number, path in enumerate(("/a%0d%0ab", "/%2e%2e/x", "/a//b?c=%20", "/;p=1?", "/?x=/../y")):
        client.send(client.request_frame(2 * number + 1, path=path))
        assert client.await_message(2 * number + 1).status == 200
        assert backend.requests[-1].target == path
