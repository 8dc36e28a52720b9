"""What a listener does for a request of HTTP/1 it does for one of HTTP/2: each is asked for both ways, and compared."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import http2_frames as frames
from tests.support.certificates import Authority, Certificate
from tests.support.conditions import eventually
from tests.support.gateway import Document, destination, forward, route
from tests.support.http2_frames import MAX_FRAME_SIZE, PREFACE, Code, Kind
from tests.support.http2_peer import Http2Peer
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.proxy_header import binary, line
from tests.support.raw_http import Connection
from tests.support.recording_backend import RecordingBackend
from tests.support.threaded_proxy import ThreadedProxy
from tests.support.tls_listener import authority, client_authority, terminating

Fields = tuple[tuple[str, str], ...]
VARIES = ("date", "x-request-id", "connection", "transfer-encoding", "content-length")
"""What differs from request to request, or is of the connection."""


@dataclass(frozen=True)
class Answer:
    """To a request, whichever way it was made."""

    status: int
    fields: dict[str, str]
    body: bytes


@dataclass
class Served:
    """A proxy, its backends, and how to ask."""

    threaded: ThreadedProxy
    backend: RecordingBackend
    mirror: RecordingBackend
    tls: ssl.SSLContext | None = None
    header: bytes = b""
    """What comes before everything else on a connection."""

    def configure(self, *routes: Document, **settings: Any) -> None:
        async def apply() -> None:
            proxy = self.threaded.proxy
            report = await proxy.apply(
                *(routes or [route("all", forward=forward("backend"))]),
                listeners=[proxy.listener(http2=True, **settings)],
                destinations=[destination("backend", self.backend.port), destination("mirror", self.mirror.port)],
            )
            assert not report.problems, report

        self.threaded.run(apply())

    def old(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        context = self.tls
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
        with Connection(self.threaded.port, tls=context) as client:
            client.send(self.header)
            found = client.exchange(method, target, headers=fields, body=body)
            return Answer(found.status, told(found.headers), found.body)

    def new(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        context = self.tls
        if context is not None:
            context.set_alpn_protocols(["h2"])
        with Http2Peer.connect(self.threaded.port, tls=context) as client:
            client.send(self.header)
            client.start()
            scheme = "http" if context is None else "https"
            length = () if body is None else (("content-length", str(len(body))),)
            extra = [(name.lower(), value) for name, value in (*fields, *length)]
            head = client.request_fields(*extra, method=method, path=target, scheme=scheme)
            client.head(1, head, end=body is None)
            if body is not None:
                pieces = [body[at : at + MAX_FRAME_SIZE] for at in range(0, len(body), MAX_FRAME_SIZE)]
                client.send(*(frames.data(1, piece) for piece in pieces), frames.data(1, end=True))
            message = client.await_message(1)
            assert message.reset is None
            pairs = [(name.decode(), value.decode()) for name, value in message.fields if name != b":status"]
            return Answer(message.status, told(pairs), message.content)

    def both(self, method: str, target: str, fields: Fields = (), body: bytes | None = None) -> Answer:
        """Ask both ways; the answer, which has to be the same, as has what the backend got to see."""
        self.backend.requests.clear()
        old = self.old(method, target, fields, body)
        new = self.new(method, target, fields, body)
        assert new == old
        seen = [(each.method, each.target, told(each.headers), each.body) for each in self.backend.requests]
        assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
        return new

    def seen(self) -> dict[str, str]:
        """The fields of the last request that came to the backend."""
        return told(self.backend.requests[-1].headers)


def told(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in fields if name.lower() not in VARIES}


@pytest.fixture
def served() -> Iterator[Served]:
    with ThreadedProxy() as threaded, RecordingBackend() as backend, RecordingBackend("mirror") as mirror:
        backend.script = lambda exchange: exchange.respond(body=b"fine", headers=[("X-Answer", "1"), ("Server", "b")])
        yield Served(threaded, backend, mirror)
        assert not threaded.complaints()


def test_forwarded_fields_of_anybody(served: Served) -> None:
    served.configure(serverName="vrata")
    fields = (("X-Forwarded-For", "192.0.2.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Client-Cert", "URI=a"))
    answer = served.both("GET", "/a?b=%20c", fields)
    assert answer == Answer(200, {"x-answer": "1", "server": "vrata"}, b"fine")
    assert served.seen()["x-forwarded-for"] == "192.0.2.9, 127.0.0.1"
    assert served.seen()["x-forwarded-proto"] == "http"
    assert "x-forwarded-client-cert" not in served.seen()


def test_those_of_a_trusted_proxy(served: Served) -> None:
    served.configure(trustedProxies=["127.0.0.0/8"])
    fields = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.test"), ("Forwarded", "for=192.0.2.9"))
    served.both("GET", "/", fields)
    assert served.seen()["x-forwarded-proto"] == "https"
    assert served.seen()["x-forwarded-host"] == "shop.test"
    assert served.seen()["forwarded"].startswith("for=192.0.2.9, for=127.0.0.1;host=")


@pytest.mark.parametrize("header", [line("192.0.2.7"), binary("192.0.2.7")], ids=["version 1", "version 2"])
def test_behind_the_proxy_protocol(served: Served, header: bytes) -> None:
    served.configure(proxyProtocol={"mode": "required", "trustedPeers": ["127.0.0.0/8"]})
    served.header = header
    served.both("GET", "/")
    assert served.seen()["x-forwarded-for"] == "192.0.2.7"


def test_a_preface_that_comes_with_the_header(served: Served) -> None:
    served.configure(proxyProtocol={"mode": "required", "trustedPeers": ["127.0.0.0/8"]})
    with Http2Peer.connect(served.threaded.port) as client:
        client.send(line("192.0.2.7") + PREFACE + frames.settings())
        client.await_settings()
        assert client.exchange(1).content == b"fine"
    assert served.seen()["x-forwarded-for"] == "192.0.2.7"


def test_a_clients_certificate(served: Served, tmp_path: Path) -> None:
    ca = client_authority()
    uri = "spiffe://example.org/shop"
    own: Certificate = ca.issue("client.test", uris=[uri])
    served.tls = authority().client_context(own, tmp_path)
    served.configure(tls=terminating(clientAuth={"mode": "require", "ca": ca.cert_text}))
    served.both("GET", "/")
    assert served.seen()["x-forwarded-client-cert"] == uri
    assert served.seen()["x-forwarded-proto"] == "https"


def test_redirects_and_direct_responses(served: Served) -> None:
    served.configure(
        route("away", {"pathPrefix": "/away"}, redirect={"scheme": "https", "code": 301}),
        route("here", {"pathPrefix": "/here"}, directResponse={"status": 418, "body": "teapot"}),
    )
    assert served.both("GET", "/away/x?y").fields["location"].startswith("https://proxy.test")
    assert served.both("GET", "/here") == Answer(418, {"content-type": "text/plain; charset=utf-8"}, b"teapot")
    assert served.both("HEAD", "/here").body == b""
    assert served.both("GET", "/nowhere").status == 404


@pytest.mark.parametrize("detail", ["minimal", "standard", "full"])
def test_failures(served: Served, detail: str) -> None:
    served.configure(route("all", forward=forward("gone")), proxyErrors={"detail": detail})
    assert served.old("GET", "/").status == served.new("GET", "/").status == 502
    if detail != "full":  # which has the time in it
        assert b"no_destination" in served.both("GET", "/").body


def test_routes_by_body(served: Served) -> None:
    served.configure(
        route("large", {"cel": "request.body.json.model == 'large'"}, directResponse={"status": 200, "body": "large"}),
        route("rest", forward=forward("backend")),
    )
    fields = (("Content-Type", "application/json"),)
    assert served.both("POST", "/", fields, b'{"model":"large"}').body == b"large"
    assert served.both("POST", "/", fields, b'{"model":"small"}').body == b"fine"
    assert served.both("POST", "/", fields, b"x" * 200_000).body == b"fine"
    assert len(served.backend.requests[-1].body) == 200_000


def test_a_mirror(served: Served) -> None:
    served.configure(route("all", forward=forward("backend", mirror={"destinationId": "mirror"})))
    served.both("POST", "/copied", (), b"content")
    eventually(lambda: len(served.mirror.requests) == 2, what="two copies")
    old, new = [(each.method, each.target, each.body) for each in served.mirror.requests]
    assert new == old == ("POST", "/copied", b"content")


def test_limits_of_heads(served: Served) -> None:
    served.configure(maxRequestHeadersKB=1)
    assert served.both("GET", "/", (("X", "y" * 900),)).status == 200
    assert served.both("GET", "/", (("X", "y" * 1100),)).status == 431


def test_metrics(served: Served) -> None:
    served.configure(metrics={})
    metrics: list[InProcessMetrics] = []

    async def scrape() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        if not metrics:
            metrics.append(InProcessMetrics(served.threaded.proxy))
        return (await metrics[0].scrape()).counters()

    def counted(ask: Callable[..., Answer], *request: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        before = served.threaded.run(scrape())
        ask(*request)
        after = served.threaded.run(scrape())
        changes = {key: value - before.get(key, 0) for key, value in after.items()}
        return {key: change for key, change in changes.items() if change and "seconds" not in key[0]}

    for request in (("POST", "/", (), b"x" * 100), ("GET", "/", (("Expect", "wonders"),)), ("HEAD", "/")):
        expected = counted(served.old, *request)
        assert expected
        assert counted(served.new, *request) == expected


def test_connections_over_the_limit(served: Served) -> None:
    served.configure(maxConnections=1)
    with Http2Peer.connect(served.threaded.port) as first:
        first.start()
        with Http2Peer.connect(served.threaded.port) as second:
            second.send(PREFACE)
            assert second.await_end() in ("closed", "reset")
        assert first.exchange(1).content == b"fine"
    eventually(lambda: served.threaded.proxy.data_plane.status().connections == 0, what="it has left")
    with Http2Peer.connect(served.threaded.port) as third:
        third.start()
        assert third.exchange(1).content == b"fine"


def test_a_suite_that_http_2_prohibits(served: Served) -> None:
    own = Authority("old")
    certificate = own.issue("proxy.test")
    served.configure(tls={"cert": certificate.cert_text, "key": certificate.key_text, "minVersion": "TLSv1_0"})
    context = own.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    with Http2Peer.connect(served.threaded.port, tls=context) as client:
        client.send(PREFACE + frames.settings())
        assert client.await_frame(Kind.GOAWAY).code == Code.INADEQUATE_SECURITY
        assert client.await_end() == "closed"
    context.set_alpn_protocols(["http/1.1"])
    with Connection(served.threaded.port, tls=context) as old:
        assert old.exchange("GET", "/").body == b"fine"


def test_a_preface_over_tls_that_was_not_agreed_on(served: Served) -> None:
    served.configure(tls=terminating())
    with Connection(served.threaded.port, tls=authority().client_context()) as client:
        client.send(PREFACE)
        assert client.read_response().status == 505
