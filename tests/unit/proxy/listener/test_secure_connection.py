"""Limits of time of a connection over TLS, on a clock that the test moves."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import DownstreamClient, settings
from tests.support.manual_loop import ManualLoop
from tests.support.memory_transport import MemoryTransport
from tests.support.tls_listener import server_certificate
from vrata.net.deadlines import INTERVAL
from vrata.net.server_tls import server_context
from vrata.net.tls_transport import TlsTransport
from vrata.proxy.listener.secure_connection import SecureConnection
from vrata.proxy.listener.time_limits import LINGER


class SecureClient(DownstreamClient):
    """A client that has connected and not shaken hands."""

    def __init__(self) -> None:
        super().__init__(settings())
        self.transport.abort()  # of the connection in clear
        self.loop.settle()
        self.secure = SecureConnection(self.owner)
        certificate = server_certificate()
        context = server_context(certificate.cert_text, certificate.key_text)
        self.kernel = MemoryTransport(self.loop, TlsTransport(self.loop.as_event_loop(), context, self.secure))


@pytest.fixture
def client() -> SecureClient:
    return SecureClient()


def passes(loop: ManualLoop, seconds: float) -> None:
    loop.advance(seconds + 2 * INTERVAL)


def test_the_handshake_has_the_time_of_a_head(client: SecureClient) -> None:
    limit = client.owner.settings.timeouts.client_header
    client.loop.advance(limit - 0.1)
    client.kernel.receive(b"\x16\x03\x01")  # which is no reason to wait longer
    assert not client.kernel.is_lost()
    passes(client.loop, 0.1)
    assert client.kernel.closed
    assert not client.owner.connections


def test_after_a_failure_the_client_has_a_moment_to_read_why(client: SecureClient) -> None:
    client.kernel.receive(b"\x16\x03\x01\x00\x05hello")
    assert client.owner.handshake_failures == 1
    assert client.kernel.take()[:1] == b"\x15"
    client.loop.advance(LINGER - 0.1)
    client.kernel.receive(b"more of it")
    assert not client.kernel.is_lost()
    passes(client.loop, 0.1)
    assert client.kernel.closed
    assert not client.owner.connections


def test_a_client_that_does_not_read_why_is_cut(client: SecureClient) -> None:
    client.kernel.stop_reading()
    client.kernel.receive(b"\x16\x03\x01\x00\x05hello")
    passes(client.loop, LINGER)
    assert client.kernel.aborted
    assert not client.owner.connections


def test_a_connection_in_its_handshake_drains_as_an_idle_one_does(client: SecureClient) -> None:
    client.drain()
    client.loop.advance(0.4)
    assert not client.kernel.is_lost()
    passes(client.loop, 0.1)
    assert client.kernel.closed
