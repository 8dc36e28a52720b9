"""What upstreams of HTTP/2 do wrong, and a proxy in front of them whose clients speak HTTP/1."""

from __future__ import annotations

from collections.abc import Callable

from tests.support import http2_frames as frames
from tests.support.gateway import destination, forward, route
from tests.support.http2_upstream import Http2Upstream, Script, UpstreamPeer
from tests.support.raw_http import Response, TruncatedResponse, fetch
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


def responds(*fields: tuple[str | bytes, str | bytes], content: bytes | None = None, end: bool = True) -> Misdeed:
    """A response with exactly these fields."""

    def misdeed(peer: UpstreamPeer, stream: int) -> None:
        peer.head(stream, fields, end=end and content is None)
        if content is not None:
            peer.send(frames.data(stream, content, end=end))

    return misdeed


def assert_fails(gateway: Gateway, method: str = "GET") -> None:
    """The request for the case gets an error of the proxy, or what cannot be taken for a whole response."""
    try:
        response = gateway.get("/case", method)
    except TruncatedResponse:
        return
    assert response.status in (502, 504), response
