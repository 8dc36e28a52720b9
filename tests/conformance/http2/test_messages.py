"""Messages: RFC 9113 §8.1, §8.1.1, §8.5, and what becomes of the responses of an HTTP/1 backend."""

from __future__ import annotations

import pytest

from tests.conformance.http2.case import (
    Case,
    Client,
    Expectation,
    Made,
    answered,
    assert_unharmed,
    cases,
    get,
    head,
    malformed,
    post,
    refused,
    sends,
)
from tests.conformance.http2.held import Held
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code
from tests.support.recording_backend import Exchange, RecordingBackend, Script

TRAILERS = [("x-checksum", "abc")]


def trailers(*fields: tuple[bytes | str, bytes | str], end: bool = True) -> Made:
    return head(1, fields, end=end)


def announced_at_most(size: int) -> Expectation:
    """The excess is refused; the backend may have had what was announced, as a whole request, before that came."""

    def expect(client: Client) -> None:
        refused(client)
        assert [seen.target for seen in client.backend.requests] in (["/unharmed"], ["/", "/unharmed"])
        assert all(len(seen.body) in (0, size) for seen in client.backend.requests)

    return expect


def unheard(expectation: Expectation) -> Expectation:
    """Nothing of the request is taken by the backend for a whole one."""

    def expect(client: Client) -> None:
        expectation(client)
        assert [seen.target for seen in client.backend.requests] == ["/unharmed"]

    return expect


@cases(
    [
        Case("8.1", "a request without content", sends(get()), answered()),
        Case(
            "8.1",
            "content in several frames",
            sends(post(), frames.data(1, b"ab") * 3, frames.data(1, end=True)),
            answered(),
        ),
        Case("8.1", "trailers", sends(post(), frames.data(1, b"ab"), trailers(*TRAILERS)), answered()),
        Case("8.1", "trailers without content", sends(post(), trailers(*TRAILERS)), answered()),
        Case(
            "8.1",
            "trailers that do not end the stream",
            sends(post(), frames.data(1, b"ab"), trailers(*TRAILERS, end=False)),
            unheard(refused),
        ),
        Case(
            "8.1",
            "a pseudo-header field in trailers",
            sends(post(), frames.data(1, b"ab"), trailers((":path", "/other"))),
            unheard(refused),
        ),
        Case(
            "8.2.1",
            "an upper-case name in trailers",
            sends(post(), frames.data(1, b"ab"), trailers(("X-Checksum", "abc"))),
            unheard(refused),
        ),
        Case(
            "8.2.2",
            "a connection-specific field in trailers",
            sends(post(), frames.data(1, b"ab"), trailers(("transfer-encoding", "chunked"))),
            unheard(refused),
        ),
        Case(
            "8.2.1",
            "a line break in a value in trailers",
            sends(post(), frames.data(1, b"ab"), trailers(("x-checksum", "a\r\n\r\nGET /smuggled HTTP/1.1"))),
            unheard(refused),
        ),
    ]
)
def test_framing(client: Client, case: Case) -> None:
    case.run(client)


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "no length"])
def test_content_reaches_the_backend(client: Client, backend: RecordingBackend, length: bool) -> None:
    extra = [("content-length", "10")] if length else []
    client.request(1, *extra, method="POST", path="/upload", end=False)
    client.send(frames.data(1, b"01234"), frames.data(1, b"56789"), frames.data(1, end=True))
    assert client.await_message(1).status == 200
    (seen,) = backend.requests
    assert (seen.method, seen.target, seen.body) == ("POST", "/upload", b"0123456789")
    assert bool(seen.all("content-length")) is length
    assert bool(seen.all("transfer-encoding")) is not length


def test_trailers_reach_the_backend(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.1: a trailer section follows the content."""
    client.send(client.request_frame(1, method="POST", end=False), frames.data(1, b"content"))
    client.head(1, TRAILERS)
    assert client.await_message(1).status == 200
    (seen,) = backend.requests
    assert (seen.body, seen.trailers) == (b"content", (("x-checksum", "abc"),))


def test_a_whole_request_has_no_body_at_the_backend(client: Client, backend: RecordingBackend) -> None:
    """Neither a length nor chunks, which some servers refuse in a GET."""
    client.exchange(1)
    (seen,) = backend.requests
    assert (seen.all("transfer-encoding"), seen.all("content-length"), seen.body) == ([], [], b"")


def length(value: str, *content: bytes, ends_at_head: bool = False) -> Made:
    """A request that announces *value* and brings *content*."""

    def make(client: Client) -> bytes:
        block = client.block(client.request_fields(("content-length", value), method="POST"))
        parts = [frames.data(1, part, end=part is content[-1]) for part in content]
        return frames.headers(1, block, end=ends_at_head) + b"".join(parts)

    return make


MISMATCH = unheard(refused)


@cases(
    [
        Case("8.1.1", "as much content as announced", sends(length("4", b"ab", b"cd")), answered()),
        Case("8.1.1", "content-length 0 and no content", sends(length("0", ends_at_head=True)), answered()),
        Case("8.1.1", "content-length 0 and empty DATA", sends(length("0", b"")), answered()),
        Case("8.1.1", "less content than announced", sends(length("5", b"abcd")), MISMATCH),
        Case("8.1.1", "more content than announced", sends(length("3", b"abcd")), announced_at_most(3)),
        Case("8.1.1", "more content in a second frame", sends(length("3", b"abc", b"d")), announced_at_most(3)),
        Case("8.1.1", "no content where some is announced", sends(length("1", ends_at_head=True)), MISMATCH),
        Case(
            "8.1.1", "content where none is announced", sends(length("0", b"GET / HTTP/1.1\r\n")), announced_at_most(0)
        ),
        Case(
            "8.1.1",
            "less content than announced, then trailers",
            sends(length("5", ends_at_head=False), frames.data(1, b"abc"), trailers(*TRAILERS)),
            MISMATCH,
        ),
        Case(
            "8.1.1",
            "a GET with content and no length",
            sends(lambda client: client.request_frame(1, end=False), frames.data(1, b"content", end=True)),
            answered(),
        ),
        *(
            Case("8.1.1", f"content-length {value!r}", sends(length(value, b"abcd")), malformed)
            for value in ("-4", "+4", "4,4", "4, 4", "0x4", "4 ", "", "four", "4.0", "18446744073709551620")
        ),
        Case(
            "8.1.1",
            "two lengths that differ",
            sends(post(1, ("content-length", "4"), ("content-length", "5")), frames.data(1, b"abcd", end=True)),
            malformed,
        ),
    ]
)
def test_content_length(client: Client, case: Case) -> None:
    case.run(client)


def test_two_equal_lengths_are_one_or_malformed(client: Client, backend: RecordingBackend) -> None:
    """RFC 9110 §8.6 allows both."""
    client.send(client.request_frame(1, *[("content-length", "4")] * 2, method="POST", end=False))
    client.send(frames.data(1, b"abcd", end=True))
    message = client.await_message(1)
    if message.status == 200:
        assert [(seen.all("content-length"), seen.body) for seen in backend.requests] == [(["4"], b"abcd")]
    else:
        assert message.reset == Code.PROTOCOL_ERROR
        assert not backend.requests


@cases(
    [
        Case(
            "8.5",
            "CONNECT with :scheme and :path",
            sends(head(1, [(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a.test:80")])),
            malformed,
        ),
        Case("8.5", "CONNECT without :authority", sends(head(1, [(":method", "CONNECT")])), malformed),
        Case(
            "8.5",
            "CONNECT with :path",
            sends(head(1, [(":method", "CONNECT"), (":path", "/"), (":authority", "a.test:80")])),
            malformed,
        ),
    ]
)
def test_connect(client: Client, case: Case) -> None:
    case.run(client)


def test_connect_is_not_passed_on(client: Client, backend: RecordingBackend) -> None:
    """RFC 9110 §9.3.6: a proxy that makes no tunnels for clients answers so, and does not forward the request."""
    client.head(1, [(":method", "CONNECT"), (":authority", "a.test:80")], end=False)
    message = client.await_message(1)
    assert message.status >= 400 or message.reset is not None, message
    assert not backend.requests
    assert_unharmed(client)


def respond(*lines: str, body: bytes = b"", status: str = "200 OK") -> Script:
    """A backend that answers with these bytes."""
    text = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines))
    return lambda exchange: exchange.send(text.encode() + b"\r\n" + body)


def test_connection_specific_fields_of_the_backend_do_not_go_on(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.2.2."""
    backend.script = respond(
        "Connection: keep-alive, X-Hop",
        "Keep-Alive: timeout=5",
        "X-Hop: 1",
        "X-Kept: 2",
        "Proxy-Connection: keep-alive",
        "Upgrade: h2c",
        "Transfer-Encoding: chunked",
        body=b"2\r\nok\r\n0\r\n\r\n",
    )
    message = client.exchange(1)
    names = {name for name, _ in message.fields}
    assert not names & {b"connection", b"keep-alive", b"x-hop", b"proxy-connection", b"upgrade", b"transfer-encoding"}
    assert (message.value(b"x-kept"), message.content) == (b"2", b"ok")


def test_names_of_the_backend_are_lowered_and_the_status_comes_first(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.2 and §8.3."""
    backend.script = respond("X-MiXeD: Value", "Content-Length: 0")
    message = client.exchange(1)
    assert message.fields[0] == (b":status", b"200")
    assert [name for name, _ in message.fields if name.startswith(b":")] == [b":status"]
    assert (b"x-mixed", b"Value") in message.fields
    assert all(name == name.lower() for name, _ in message.fields)


def test_cookies_of_the_backend_stay_apart(client: Client, backend: RecordingBackend) -> None:
    """RFC 6265 §3: Set-Cookie lines must not be folded into one."""
    backend.script = respond("Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Length: 0")
    assert client.exchange(1).all(b"set-cookie") == [b"a=1", b"b=2"]


def test_trailers_of_the_backend_end_the_stream(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.1."""
    backend.script = respond("Transfer-Encoding: chunked", "Trailer: X-Sum", body=b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
    message = client.exchange(1)
    assert (message.content, message.ended) == (b"ok", True)
    assert (b"x-sum", b"1") in message.trailers


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")],
)
def test_responses_that_have_no_content(client: Client, backend: RecordingBackend, method: str, status: str) -> None:
    """RFC 9113 §8.1: END_STREAM, and no DATA but an empty one; the length of a HEAD is no mismatch (§8.1.1)."""
    lines = ["Content-Length: 10"] if method == "HEAD" else []
    backend.script = respond(*lines, status=status)
    message = client.exchange(1, method=method)
    assert (message.status, message.content, message.ended) == (int(status[:3]), b"", True)
    if method == "HEAD":
        assert message.value(b"content-length") == b"10"
    backend.forget()
    assert_unharmed(client)


def test_a_response_that_ends_early_is_not_ended(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.1: what the backend cut off must not look complete."""

    def cut(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")
        exchange.close()

    backend.script = cut
    message = client.exchange(1)
    assert not message.ended
    assert message.reset in (Code.INTERNAL_ERROR, Code.PROTOCOL_ERROR, Code.CANCEL)
    backend.forget()
    assert_unharmed(client)


def test_a_response_up_to_the_end_of_the_connection_is_whole(client: Client, backend: RecordingBackend) -> None:
    def close(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        exchange.close()

    backend.script = close
    message = client.exchange(1)
    assert (message.content, message.ended) == (b"to the end", True)


def test_informational_responses_go_on(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §8.1: any number of them comes before the final response, without END_STREAM."""

    def hint(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
        exchange.respond(body=b"done")

    backend.script = hint
    message = client.exchange(1)
    assert message.content == b"done"
    assert [dict(fields)[b":status"] for fields in message.informational] == [b"103"]
    assert (b"link", b"</a>; rel=preload") in message.informational[0]


def test_100_continue(client: Client, backend: RecordingBackend) -> None:
    """RFC 9110 §10.1.1: a client that waits for the 100 gets it, and its content goes on."""
    client.request(1, ("expect", "100-continue"), ("content-length", "4"), method="POST", end=False)
    message = client.message(1)
    client.await_that(lambda: bool(message.informational), "100 (Continue)")
    assert dict(message.informational[0])[b":status"] == b"100"
    client.send(frames.data(1, b"body", end=True))
    assert client.await_message(1).status == 200
    assert [seen.body for seen in backend.requests] == [b"body"]


def test_content_goes_both_ways_at_once(client: Client, held: Held) -> None:
    """Streams take turns: what waits on one does not hold another."""
    client.request(1, method="POST", end=False)
    held.release()
    assert client.exchange(3).status == 200
    client.send(frames.data(1, b"late", end=True))
    assert client.await_message(1).status == 200


def test_many_streams_are_answered_each_with_its_own(client: Client, backend: RecordingBackend) -> None:
    backend.script = lambda exchange: exchange.respond(body=exchange.target.encode())
    for number in range(100):
        client.send(client.request_frame(2 * number + 1, path=f"/{number}"))
    for number in range(100):
        assert client.await_message(2 * number + 1).content == f"/{number}".encode()
