"""Vrata as a client of upstreams that break the rules: RFC 9113 from the other side, frame by frame.

Whatever they do, the client of the proxy gets an error or a response that is plainly cut, and whoever asks next gets an
answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.conformance.http2.misdeeds import OK, Gateway, Misdeed, assert_fails, head, once, responds, sends
from tests.support import http2_frames as frames
from tests.support.conditions import eventually
from tests.support.http2_frames import MAX_WINDOW, Code, Kind, Setting
from tests.support.http2_peer import describe
from tests.support.http2_upstream import Http2Upstream, UpstreamPeer


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
        eventually(lambda: bool(first.ended), what="the connection is given up")
        assert first.goodbye is not None, first.ended
        assert first.goodbye.code in case.codes, describe(first.goodbye.code)
        assert gateway.get("/after").body == b"/after"
        assert len(upstream.peers) == 2


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
            eventually(lambda: first.goodbye is not None or bool(first.ended), what="a goodbye")
            assert first.goodbye is not None
            assert first.goodbye.code in (*case.codes, Code.NO_ERROR)
