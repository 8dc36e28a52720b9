"""Vrata as a client of upstreams that refuse, leave, flood or answer early: RFC 9113 §5.1.2, §6.8, §6.9, §8.1, §8.7."""

from __future__ import annotations

import threading

import pytest

from tests.conformance.http2.misdeeds import OK, Gateway, assert_fails, once, responds
from tests.support import http2_frames as frames
from tests.support.http2_frames import MAX_WINDOW, Code, Kind, Setting
from tests.support.http2_upstream import Http2Upstream, UpstreamPeer, serve
from tests.support.raw_http import TruncatedResponse


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
        assert gateway.get("/case", "POST", b"content").body == b"/case"
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


def test_content_beyond_our_window_harms_nobody_else(gateway: Gateway) -> None:
    """RFC 9113 §6.9.1; a HEAD asks for no content, so that nobody takes what comes."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, OK, end=False)
        window = peer.settings.get(Setting.INITIAL_WINDOW_SIZE, frames.INITIAL_WINDOW)
        piece = frames.data(stream, bytes(frames.MAX_FRAME_SIZE))
        peer.send(piece * (window // frames.MAX_FRAME_SIZE + 64))

    with Http2Upstream(once(misdeed)) as upstream:
        gateway.forward_to(upstream)
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
