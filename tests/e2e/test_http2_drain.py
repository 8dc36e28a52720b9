"""HTTP/2 connections that have to end lose no request: on new terms of a listener, and with their worker."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from typing import Any

import pytest

from tests.support.certificates import Authority, Certificate
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_frames import Code, Kind
from tests.support.http2_peer import TIMEOUT, Http2Peer, Message
from tests.support.load import BackgroundLoad
from tests.support.ports import free_port
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

AT_ONCE = 16
"""Streams that a client has open."""
ANNOUNCED = 2**31 - 1
"""The last stream of a GOAWAY that only says that another will follow (RFC 9113 §6.8)."""


class MultiplexedLoad(BackgroundLoad):
    """Clients that each keep streams open on a connection until the last word, and then go on with another."""

    def __init__(self, port: int, tls: ssl.SSLContext | None, *, clients: int = 3) -> None:
        super().__init__(clients)
        self._port = port
        self._tls = tls
        self.connections = 0
        self.refused = 0
        """Streams that were begun after the last word, and so are asked for again."""

    def _run(self) -> None:
        try:
            while not self._over.is_set() and not self.failures:
                with Http2Peer.connect(self._port, tls=self._tls) as peer:
                    self.connections += 1
                    peer.start()
                    self._serve(peer)
        except (AssertionError, OSError) as error:
            self.failures.append(repr(error))

    def _serve(self, peer: Http2Peer) -> None:
        open_streams: dict[int, Message] = {}
        following = 1
        while not self.failures:
            said = [frame.last_stream for frame in peer.received if frame.kind == Kind.GOAWAY]
            last = said[-1] if said else ANNOUNCED
            for stream in [stream for stream in open_streams if stream > last]:
                del open_streams[stream]
                self.refused += 1
            while last == ANNOUNCED and not self._over.is_set() and len(open_streams) < AT_ONCE:
                peer.request(following, path=f"/{following}")
                open_streams[following] = peer.message(following)
                following += 2
            if not open_streams:
                return
            if peer.next_frame(time.monotonic() + TIMEOUT) is None:
                self.failures.append(f"{peer.ended} with {sorted(open_streams)} open, after {said}")
                return
            self._collect(open_streams)
            if not said and len(peer.received) > 1000:
                del peer.received[:500]

    def _collect(self, open_streams: dict[int, Message]) -> None:
        for stream in [stream for stream, message in open_streams.items() if message.is_over]:
            message = open_streams.pop(stream)
            if message.reset == Code.REFUSED_STREAM:
                self.refused += 1
            elif message.reset is not None or message.status != 200 or message.content != b"/%d" % stream:
                self.failures.append(f"stream {stream}: {message}")
            else:
                with self._lock:
                    self.answered += 1


def tell_target(exchange: Exchange) -> None:
    exchange.respond(body=exchange.target.encode())


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Authority("servers").issue("proxy.test")


@pytest.fixture
def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
def ports(gateway: Gateway, certificate: Certificate, backend: RecordingBackend) -> tuple[int, int]:
    """A port in clear, and one with TLS."""
    backend.script = tell_target
    clear, secure = free_port(), free_port()
    configure(gateway, backend, clear, secure, certificate)
    return clear, secure


def configure(
    gateway: Gateway, backend: RecordingBackend, clear: int, secure: int, certificate: Certificate, **terms: Any
) -> None:
    tls = {"cert": certificate.cert_text, "key": certificate.key_text, **terms}
    gateway.configure(
        listeners=[listener(clear, http2=True), listener(secure, "secure", http2=True, tls=tls)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )


def test_new_terms_lose_no_request(
    gateway: Gateway,
    ports: tuple[int, int],
    backend: RecordingBackend,
    certificate: Certificate,
    trusting: ssl.SSLContext,
) -> None:
    with MultiplexedLoad(ports[1], trusting) as load:
        for version in ("TLSv1_3", "TLSv1_2", "TLSv1_3"):
            load.more(200)
            before = load.connections
            configure(gateway, backend, *ports, certificate, minVersion=version)
            eventually(lambda before=before: load.connections >= before + 3 or load.failures, what="new connections")  # type: ignore[misc]
        load.more(200)
    assert load.failures == []


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
def test_a_worker_that_ends_loses_no_request(
    gateway: Gateway, ports: tuple[int, int], trusting: ssl.SSLContext, secure: bool
) -> None:
    with MultiplexedLoad(ports[secure], trusting if secure else None) as load:
        for _ in range(2):
            load.more(200)
            before = set(gateway.workers())
            for worker in before:
                os.kill(worker, signal.SIGTERM)
            eventually(lambda before=before: not before & set(gateway.workers()), what="all are replaced")  # type: ignore[misc]
        load.more(200)
    assert load.failures == []
    assert load.connections > 6


def test_turning_it_off_ends_what_speaks_it_and_the_port_goes_on(
    gateway: Gateway, ports: tuple[int, int], backend: RecordingBackend
) -> None:
    with Http2Peer.connect(ports[0]) as client:
        client.start()
        assert client.exchange(1).content == b"/"
        gateway.configure(
            listeners=[listener(ports[0])],
            destinations=[destination("backend", backend.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        assert client.await_end() == "closed"
        assert [(frame.last_stream, frame.code) for frame in client.received if frame.kind == Kind.GOAWAY] == [
            (ANNOUNCED, Code.NO_ERROR),
            (1, Code.NO_ERROR),
        ]
    with Connection(ports[0]) as old:
        assert old.exchange("GET", "/old").body == b"/old"
    with Connection(ports[0]) as refused:
        refused.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert refused.read_response().status == 505


def test_a_stream_that_is_served_ends_before_its_connection(gateway: Gateway, backend: RecordingBackend) -> None:
    port = free_port()
    go_on = threading.Event()

    def patient(exchange: Exchange) -> None:
        exchange.send_head(200, [("Content-Length", "10")])
        exchange.send(b"01234")
        go_on.wait(10)
        exchange.send(b"56789")

    backend.script = patient
    with_listener = {
        "destinations": [destination("backend", backend.port)],
        "routes": [route("all", forward=forward("backend"))],
    }
    gateway.configure(listeners=[listener(port, http2=True)], **with_listener)
    with Http2Peer.connect(port) as client:
        client.start()
        client.request(1)
        client.await_head(1)
        gateway.configure(listeners=[listener(port)], **with_listener)
        client.await_that(lambda: client.goodbye is not None and client.goodbye.last_stream == 1, "the goodbye")
        go_on.set()
        assert client.await_message(1).content == b"0123456789"
        assert client.await_end() == "closed"
