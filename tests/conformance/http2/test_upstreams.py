"""Vrata as a client of upstreams that break the rules: RFC 9113 from the other side.

Whatever they do, the client of the proxy gets an error or a response that is plainly cut, and whoever asks next gets an
answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support import http2_frames as frames
from tests.support.conditions import eventually
from tests.support.gateway import destination, forward, route
from tests.support.http2_engines import running
from tests.support.http2_frames import MAX_WINDOW, Code, Kind, Setting
from tests.support.http2_peer import describe
from tests.support.http2_upstream import Http2Upstream, Script, UpstreamPeer, serve
from tests.support.raw_http import Response, TruncatedResponse, fetch
from tests.support.session_engines import ENGINES
from tests.support.threaded_proxy import ThreadedProxy

OK = [(":status", "200")]
Misdeed = Callable[[UpstreamPeer, int], None]
"""What an upstream does instead of answering the request on a stream."""


class Gateway:
    """A proxy whose clients speak HTTP/1 and whose upstreams are the tests'."""

    def __init__(self, threaded: ThreadedProxy) -> None:
        self.threaded = threaded
        self.port = threaded.port

    def forward_to(self, upstream: Http2Upstream) -> None:
        """Send every request to *upstream* from now on."""
        proxy = self.threaded.proxy
        timeouts = {"request": "6s", "responseHeader": "4s"}
        report = self.threaded.run(
            proxy.apply(
                route("all", forward=forward("b")),
                destinations=[destination("b", upstream.port, http2=True, timeouts=timeouts)],
            )
        )
        assert not report.problems, report

    def get(self, target: str, method: str = "GET", body: bytes | None = None) -> Response:
        return fetch(self.port, target, method=method, body=body)


@pytest.fixture(scope="module", params=ENGINES)
def threaded(request: pytest.FixtureRequest) -> Iterator[ThreadedProxy]:
    with running(request.param), ThreadedProxy() as found:
        yield found


@pytest.fixture
def gateway(threaded: ThreadedProxy) -> Iterator[Gateway]:
    yield Gateway(threaded)
    assert not threaded.complaints()


def once(misdeed: Misdeed) -> Script:
    """The first connection answers its first request for /case with the *misdeed*, everything else as it should."""

    def script(peer: UpstreamPeer, number: int) -> None:
        while number == 0:
            stream = peer.next_request()
            path = peer.message(stream).value(b":path")
            if path == b"/case":
                misdeed(peer, stream)
                break
            peer.respond(stream, path)
        peer.serve()

    return script


def sends(*parts: bytes | Callable[[UpstreamPeer, int], bytes]) -> Misdeed:
    """Send *parts*; those that are functions are told the stream."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.send(*(part if isinstance(part, bytes) else part(peer, stream) for part in parts))

    return misdeed


def head(*fields: tuple[str | bytes, str | bytes], end: bool = False) -> Callable[[UpstreamPeer, int], bytes]:
    """A HEADERS frame with exactly these fields."""
    return lambda peer, stream: frames.headers(stream, peer.block(fields), end=end)


@dataclass(frozen=True, slots=True)
class Case:
    section: str
    what: str
    misdeed: Misdeed
    codes: tuple[Code, ...] = (Code.PROTOCOL_ERROR,)


def cases(*found: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.section}: {case.what}") for case in found])


SIZE = (Code.FRAME_SIZE_ERROR,)
BROKEN = (Code.COMPRESSION_ERROR,)
FLOW = (Code.FLOW_CONTROL_ERROR,)
MISPLACED = (Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@cases(
    Case("4.2", "a frame that is too large", sends(frames.frame(0x16, 0, 0, bytes(frames.MAX_FRAME_SIZE + 1))), SIZE),
    Case(
        "4.3", "a block that cannot be decoded", sends(lambda peer, stream: frames.headers(stream, b"\xff" * 6)), BROKEN
    ),
    Case("4.3", "an index of nothing", sends(lambda peer, stream: frames.headers(stream, b"\xfe")), BROKEN),
    Case(
        "4.3",
        "another frame within a head",
        sends(lambda peer, stream: frames.headers(stream, b"\x88", end_headers=False), frames.ping()),
    ),
    Case(
        "5.1",
        "HEADERS on an idle stream of ours",
        sends(lambda peer, stream: frames.headers(stream + 200, peer.block(OK))),
        MISPLACED,
    ),
    Case(
        "5.1", "DATA on an idle stream of ours", sends(lambda peer, stream: frames.data(stream + 200, b"x")), MISPLACED
    ),
    Case("5.1", "RST_STREAM on an idle stream of ours", sends(lambda peer, stream: frames.rst_stream(stream + 200))),
    Case("5.1", "WINDOW_UPDATE on an idle stream", sends(lambda peer, stream: frames.window_update(stream + 200, 1))),
    Case(
        "5.1.1",
        "a stream of the server's own",
        sends(lambda peer, stream: frames.headers(2, peer.block(OK))),
        MISPLACED,
    ),
    Case("6.1", "DATA on stream 0", sends(frames.data(0, b"x"))),
    Case(
        "6.1",
        "padding that is too long",
        sends(head(*OK), lambda peer, stream: frames.frame(Kind.DATA, frames.PADDED, stream, b"\x09x")),
    ),
    Case("6.2", "HEADERS on stream 0", sends(frames.headers(0, b"\x88"))),
    Case("6.4", "RST_STREAM on stream 0", sends(frames.rst_stream(0))),
    Case(
        "6.4",
        "RST_STREAM of 3 bytes",
        sends(lambda peer, stream: frames.frame(Kind.RST_STREAM, 0, stream, bytes(3))),
        SIZE,
    ),
    Case("6.5", "SETTINGS of 5 bytes", sends(frames.frame(Kind.SETTINGS, 0, 0, bytes(5))), SIZE),
    Case("6.5", "SETTINGS on a stream", sends(frames.frame(Kind.SETTINGS, 0, 1))),
    Case("6.5.2", "ENABLE_PUSH 1 of a server", sends(frames.settings({Setting.ENABLE_PUSH: 1}))),
    Case("6.5.2", "INITIAL_WINDOW_SIZE 2^31", sends(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31})), FLOW),
    Case("6.5.2", "MAX_FRAME_SIZE 0", sends(frames.settings({Setting.MAX_FRAME_SIZE: 0}))),
    Case(
        "6.6",
        "a push that we have forbidden",
        sends(lambda peer, stream: frames.push_promise(stream, 2, peer.block(peer.request_fields()))),
    ),
    Case("6.7", "PING of 7 bytes", sends(frames.frame(Kind.PING, 0, 0, bytes(7))), SIZE),
    Case("6.7", "PING on a stream", sends(frames.frame(Kind.PING, 0, 1, bytes(8)))),
    Case("6.8", "GOAWAY on a stream", sends(frames.frame(Kind.GOAWAY, 0, 1, bytes(8)))),
    Case("6.9", "an increment of 0", sends(frames.window_update(0, 0))),
    Case("6.9.1", "a window above 2^31-1", sends(frames.window_update(0, MAX_WINDOW)), FLOW),
    Case("6.10", "CONTINUATION without a head", sends(lambda peer, stream: frames.continuation(stream, b"\x88"))),
)
def test_connection_errors(gateway: Gateway, case: Case) -> None:
    """The client gets 502 (or a cut response), the upstream a GOAWAY that says why; then there is a new connection."""
    with Http2Upstream(once(case.misdeed)) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/before").body == b"/before"
        # A POST is not sent again when its connection ends.
        assert_fails(gateway, "POST")
        first = upstream.peers[0]
        eventually(lambda: bool(first.ended), 10, what="the connection is given up")
        assert first.goodbye is not None, first.ended
        assert first.goodbye.code in case.codes, describe(first.goodbye.code)
        assert gateway.get("/after").body == b"/after"
        assert len(upstream.peers) == 2


def assert_fails(gateway: Gateway, method: str = "GET") -> None:
    """The request for the case gets an error of the proxy, or what cannot be taken for a whole response."""
    try:
        response = gateway.get("/case", method)
    except TruncatedResponse:
        return
    assert response.status in (502, 504), response


def responds(*fields: tuple[str | bytes, str | bytes], content: bytes | None = None, end: bool = True) -> Misdeed:
    """A response with exactly these fields."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, fields, end=end and content is None)
        if content is not None:
            peer.send(frames.data(stream, content, end=end))

    return misdeed


def trails(*fields: tuple[str | bytes, str | bytes], end: bool = True) -> Misdeed:
    """A response with content and these trailers."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, OK, end=False)
        peer.send(frames.data(stream, b"content"))
        peer.head(stream, fields, end=end)

    return misdeed


@cases(
    Case("8.3.2", "no :status", responds(("server", "x"))),
    Case("8.3.2", "an empty head", responds()),
    Case("8.3.2", ":status twice", responds(*OK, *OK)),
    Case("8.3.2", "an empty :status", responds((":status", ""))),
    Case("8.3.2", ":status of two digits", responds((":status", "20"))),
    Case("8.3.2", ":status of four digits", responds((":status", "2000"))),
    Case("8.3.2", ":status that is no number", responds((":status", "abc"))),
    Case("8.3.2", ":status with a reason", responds((":status", "200 OK"))),
    Case("8.3.2", ":status with a line", responds((":status", b"200\r\nx: y"))),
    Case("8.3.2", ":status -20", responds((":status", "-20"))),
    Case("8.3.2", ":status 99", responds((":status", "099"))),
    Case("8.3", ":path in a response", responds(*OK, (":path", "/"))),
    Case("8.3", ":method in a response", responds((":method", "GET"), *OK)),
    Case("8.3", ":status after other fields", responds(("server", "x"), *OK)),
    Case("8.3", "an unknown pseudo-header field", responds(*OK, (":x", "y"))),
    Case("8.2.1", "an upper-case name", responds(*OK, ("Server", "x"))),
    Case("8.2.1", "an empty name", responds(*OK, ("", "x"))),
    Case("8.2.1", "a space in a name", responds(*OK, ("a b", "x"))),
    Case("8.2.1", "a colon in a name", responds(*OK, ("a:b", "x"))),
    Case("8.2.1", "a line in a name", responds(*OK, (b"a\r\nb", "x"))),
    Case("8.2.1", "a NUL in a value", responds(*OK, ("a", b"b\0"))),
    Case("8.2.1", "a line in a value", responds(*OK, ("a", b"b\r\nset-cookie: c=d"))),
    Case("8.2.1", "a response in a value", responds(*OK, ("a", b"b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))),
    Case("8.2.2", "connection", responds(*OK, ("connection", "close"))),
    Case("8.2.2", "transfer-encoding", responds(*OK, ("transfer-encoding", "chunked"), content=b"0\r\n\r\n")),
    Case("8.2.2", "upgrade", responds(*OK, ("upgrade", "h2c"))),
    Case("8.6", "101 over HTTP/2", responds((":status", "101"))),
    Case("8.6", "101 with an upgrade that goes on", responds((":status", "101"), end=False)),
    Case("8.1", "an informational response that ends the stream", responds((":status", "103"))),
    Case("8.1", "DATA before a head", sends(lambda peer, stream: frames.data(stream, b"content", end=True)), MISPLACED),
    Case("8.1", "trailers that do not end the stream", trails(("x", "y"), end=False)),
    Case("8.1", "a second final head", sends(head(*OK), head(*OK, end=True))),
    Case("8.3", ":status in trailers", trails(*OK)),
    Case("8.2.1", "an upper-case name in trailers", trails(("X", "y"))),
    Case("8.2.1", "a line in trailers", trails(("x", b"y\r\n\r\nHTTP/1.1 200 OK"))),
    Case("8.2.2", "transfer-encoding in trailers", trails(("transfer-encoding", "chunked"))),
    Case("8.1.1", "less content than announced", responds(*OK, ("content-length", "10"), content=b"four")),
    Case("8.1.1", "more content than announced", responds(*OK, ("content-length", "2"), content=b"four")),
    Case("8.1.1", "no content where some is announced", responds(*OK, ("content-length", "2"))),
    Case("8.1.1", "content-length -1", responds(*OK, ("content-length", "-1"), content=b"")),
    Case("8.1.1", "two lengths", responds(*OK, ("content-length", "1"), ("content-length", "2"), content=b"x")),
    Case("6.9", "an increment of 0 for a stream", sends(lambda peer, stream: frames.window_update(stream, 0))),
    Case(
        "6.9.1",
        "a window of a stream above 2^31-1",
        sends(lambda peer, stream: frames.window_update(stream, MAX_WINDOW)),
        FLOW,
    ),
)
def test_stream_errors(gateway: Gateway, case: Case) -> None:
    """The client gets 502 (or a cut response), and the next request an answer, most often on the same connection."""
    with Http2Upstream(once(case.misdeed)) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"
        first = upstream.peers[0]
        if len(upstream.peers) > 1:
            # An error of the stream may be made one of the connection (RFC 9113 §5.4.1).
            eventually(lambda: first.goodbye is not None or bool(first.ended), 10, what="a goodbye")
            assert first.goodbye is not None
            assert first.goodbye.code in (*case.codes, Code.NO_ERROR)


@pytest.mark.parametrize(
    "code", [code for code in Code if code not in (Code.REFUSED_STREAM,)], ids=lambda code: Code(code).name
)
def test_a_reset_before_the_head_is_502(gateway: Gateway, code: Code) -> None:
    """RFC 9113 §7: whatever it is for; the connection stays."""
    with Http2Upstream(once(lambda peer, stream: peer.send(frames.rst_stream(stream, code)))) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"
        assert len(upstream.peers) == 1


def test_a_reset_within_the_content_cuts_the_response(gateway: Gateway) -> None:
    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, [*OK, ("content-length", "10")], end=False)
        peer.send(frames.data(stream, b"four"), frames.rst_stream(stream, Code.INTERNAL_ERROR))

    with Http2Upstream(once(misdeed)) as upstream:
        gateway.forward_to(upstream)
        with pytest.raises(TruncatedResponse):
            gateway.get("/case")
        assert gateway.get("/after").body == b"/after"


def test_a_reset_with_no_error_after_the_whole_response_is_none(gateway: Gateway) -> None:
    """RFC 9113 §8.1: a server that needs no more of the request says so; the response stands."""

    def early(peer: UpstreamPeer, stream: int) -> None:
        peer.respond(stream, b"early")
        peer.send(frames.rst_stream(stream, Code.NO_ERROR))

    with Http2Upstream(once(early)) as upstream:
        gateway.forward_to(upstream)
        response = gateway.get("/case", "POST", b"x" * 1000)
        assert (response.status, response.body) == (200, b"early")


def test_what_was_refused_is_sent_again(gateway: Gateway) -> None:
    """RFC 9113 §8.7: REFUSED_STREAM says that nothing was done, whatever the method."""
    with Http2Upstream(
        once(lambda peer, stream: peer.send(frames.rst_stream(stream, Code.REFUSED_STREAM)))
    ) as upstream:
        gateway.forward_to(upstream)
        response = gateway.get("/case", "POST", b"content")
        assert response.status in (200, 502), response
        assert gateway.get("/after").body == b"/after"


def test_what_a_goodbye_leaves_out_is_sent_again(gateway: Gateway) -> None:
    """RFC 9113 §6.8: streams above the last one were not acted on, and can be repeated on a new connection."""

    def leave(peer: UpstreamPeer, stream: int) -> None:
        peer.send(frames.goaway(stream - 2 if stream > 1 else 0))
        peer.await_end()

    with Http2Upstream(once(leave)) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/before").body == b"/before"
        assert gateway.get("/case", "POST", b"content").body == b"/case"
        assert len(upstream.peers) == 2


def test_what_a_goodbye_includes_is_still_answered(gateway: Gateway) -> None:
    """RFC 9113 §6.8: streams up to the last one go on; new ones go elsewhere."""

    def leave(peer: UpstreamPeer, stream: int) -> None:
        peer.send(frames.goaway(stream))
        peer.respond(stream, b"the last")
        peer.await_end()

    with Http2Upstream(once(leave)) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/case").body == b"the last"
        assert gateway.get("/after").body == b"/after"
        assert len(upstream.peers) == 2


def test_a_goodbye_in_two_steps_loses_nothing(gateway: Gateway) -> None:
    """RFC 9113 §6.8: first with the greatest number, then with the true one."""

    def leave(peer: UpstreamPeer, stream: int) -> None:
        peer.send(frames.goaway(MAX_WINDOW), frames.goaway(stream))
        peer.respond(stream, b"the last")
        peer.await_end()

    with Http2Upstream(once(leave)) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/case").body == b"the last"
        assert gateway.get("/after").body == b"/after"


def test_a_connection_that_ends_within_a_head(gateway: Gateway) -> None:
    def leave(peer: UpstreamPeer, stream: int) -> None:
        peer.send(frames.headers(stream, b"\x88", end_headers=False))
        peer.sock.shutdown(2)

    with Http2Upstream(once(leave)) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", id="HTTP/1.1"),
        pytest.param(frames.ping(), id="another frame"),
        pytest.param(frames.goaway(0, Code.INADEQUATE_SECURITY), id="a goodbye"),
        pytest.param(b"\0" * 100, id="zeros"),
        pytest.param(b"SSH-2.0-x\r\n", id="another protocol"),
    ],
)
def test_an_upstream_that_does_not_begin_with_settings(gateway: Gateway, beginning: bytes) -> None:
    """RFC 9113 §3.4."""

    def script(peer: UpstreamPeer, number: int) -> None:
        peer.send(beginning)
        peer.sock.settimeout(10)
        while peer.sock.recv(65536):
            pass

    with Http2Upstream(script, greets=False) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")


def test_a_head_beyond_any_bound_is_502(gateway: Gateway) -> None:
    """RFC 9113 §10.5.1."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        block = peer.block([*OK, *((f"x-{number}", "v" * 4000) for number in range(100))])
        size = frames.MAX_FRAME_SIZE
        parts = [block[at : at + size] for at in range(0, len(block), size)]
        peer.send(frames.headers(stream, parts[0], end=True, end_headers=False))
        peer.send(*(frames.continuation(stream, part, end_headers=part is parts[-1]) for part in parts[1:]))

    with Http2Upstream(once(misdeed)) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"


def test_more_than_our_window_is_a_flow_control_error(gateway: Gateway) -> None:
    """RFC 9113 §6.9.1; a HEAD is not asked for content, so nothing renews what it sends."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, OK, end=False)
        window = peer.settings.get(Setting.INITIAL_WINDOW_SIZE, frames.INITIAL_WINDOW)
        piece = frames.data(stream, bytes(frames.MAX_FRAME_SIZE))
        peer.send(piece * (window // frames.MAX_FRAME_SIZE + 64))

    with Http2Upstream(once(misdeed)) as upstream:
        gateway.forward_to(upstream)
        # Nobody is there to read it: the client closes with the response under way.
        assert gateway.get("/case", "HEAD").status in (200, 502)
        assert gateway.get("/after").body == b"/after"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_content_where_there_is_none(gateway: Gateway, method: str) -> None:
    """RFC 9110 §6.4.1: a response to HEAD and a 204 have no content; what comes all the same is not passed on."""
    status = "200" if method == "HEAD" else "204"
    with Http2Upstream(once(responds((":status", status), content=b"unwanted"))) as upstream:
        gateway.forward_to(upstream)
        response = gateway.get("/case", method)
        assert response.status in (int(status), 502)
        assert response.body == b"" or response.status == 502
        assert gateway.get("/after").body == b"/after"


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(frames.ping() * 10_000, id="PING"),
        pytest.param(frames.settings() * 10_000, id="SETTINGS"),
        pytest.param(frames.priority(1, 3) * 10_000, id="PRIORITY"),
        pytest.param(frames.frame(0x2A, 0, 0, b"x") * 10_000, id="unknown frames"),
    ],
)
def test_floods_end(gateway: Gateway, flood: bytes) -> None:
    """RFC 9113 §10.5: whether they are survived or answered with a goodbye, the next request is answered."""
    with Http2Upstream(once(lambda peer, stream: peer.send(flood))) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"


def test_informational_responses_without_end_are_bounded(gateway: Gateway) -> None:
    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        for _ in range(2000):
            peer.head(stream, [(":status", "103")], end=False)

    with Http2Upstream(once(misdeed)) as upstream:
        gateway.forward_to(upstream)
        assert_fails(gateway, "POST")
        assert gateway.get("/after").body == b"/after"


def test_an_upstream_that_does_everything_right(gateway: Gateway) -> None:
    """So that what fails above fails for its reason; and what we send is as it should be."""
    with Http2Upstream(serve) as upstream:
        gateway.forward_to(upstream)
        for number in range(5):
            assert gateway.get(f"/{number}").body == f"/{number}".encode()
        (peer,) = upstream.peers
        first = peer.received[0]
        assert (first.kind, first.stream, first.is_ack) == (Kind.SETTINGS, 0, False)
        assert first.settings.get(Setting.ENABLE_PUSH) == 0
        heads = [frame.stream for frame in peer.received if frame.kind == Kind.HEADERS]
        assert heads == sorted(set(heads))
        assert all(stream % 2 for stream in heads)
        for stream in heads:
            fields = peer.message(stream).fields
            names = [name for name, _ in fields]
            assert {b":method", b":scheme", b":authority", b":path"} == {n for n in names if n.startswith(b":")}
            assert all(name.startswith(b":") for name in names[:4])
            assert not {b"connection", b"host", b"transfer-encoding", b"keep-alive"} & set(names)
            assert all(name == name.lower() for name in names)


def test_unknown_frames_and_settings_of_an_upstream_are_ignored(gateway: Gateway) -> None:
    """RFC 9113 §5.5."""

    def extended(peer: UpstreamPeer, stream: int) -> None:
        peer.send(frames.frame(0x2A, 0xFF, 0, b"x"), frames.frame(0x2A, 0, stream, b"y"), frames.settings({0xFFFE: 1}))
        peer.respond(stream, b"/case")

    with Http2Upstream(once(extended)) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/case").body == b"/case"
        assert len(upstream.peers) == 1


def test_a_response_before_the_request_is_whole(gateway: Gateway) -> None:
    """RFC 9113 §8.1: a server may answer early, and the client must not throw that away."""

    def early(peer: UpstreamPeer, stream: int) -> None:
        peer.respond(stream, b"early")

    with Http2Upstream(once(early), settings={Setting.INITIAL_WINDOW_SIZE: 10}) as upstream:
        gateway.forward_to(upstream)
        response = gateway.get("/case", "POST", b"x" * 100_000)
        assert (response.status, response.body) == (200, b"early")
        assert gateway.get("/after").body == b"/after"


def test_our_content_keeps_to_the_windows_of_the_upstream(gateway: Gateway) -> None:
    """RFC 9113 §6.9."""
    sizes: list[list[int]] = []

    def slow(peer: UpstreamPeer, stream: int) -> None:
        message = peer.message(stream)
        peer.renews = False
        for size in range(10, 60, 10):
            peer.await_that(lambda size=size: len(message.content) >= size, "content")  # type: ignore[misc]
            peer.round_trip()
            assert len(message.content) == size
            peer.send(frames.window_update(stream, 10))
        peer.await_that(lambda: message.ended, "the end")
        sizes.append(message.sizes)
        peer.respond(stream, message.content)

    with Http2Upstream(once(slow), settings={Setting.INITIAL_WINDOW_SIZE: 10}) as upstream:
        gateway.forward_to(upstream)
        content = bytes(range(55))
        assert gateway.get("/case", "POST", content).body == content
    assert sizes


def test_no_more_streams_than_the_upstream_allows(gateway: Gateway) -> None:
    """RFC 9113 §5.1.2: what is more goes to a further connection, or waits."""
    limit = 2
    peaks: list[int] = []

    def script(peer: UpstreamPeer, number: int) -> None:
        while True:
            waiting = [peer.next_request()]
            peer.round_trip()
            waiting += [stream for stream, found in list(peer.messages.items()) if found.fields and stream > waiting[0]]
            peaks.append(len(waiting))
            peer.respond(waiting[0], b"done")

    statuses: list[int] = []
    with Http2Upstream(script, settings={Setting.MAX_CONCURRENT_STREAMS: limit}) as upstream:
        gateway.forward_to(upstream)
        assert gateway.get("/first").status == 200
        threads = [
            threading.Thread(target=lambda: statuses.append(gateway.get("/many").status), name=f"client {number}")
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert statuses == [200] * 12
    assert max(peaks) <= limit
