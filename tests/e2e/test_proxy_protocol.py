"""Behind real senders of the PROXY protocol: curl with version 1, HAProxy with version 2."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.haproxy import Haproxy, find_haproxy
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend

AUTHORITY = Authority("servers")
CLIENT = "127.0.0.5"
"""Where clients connect from; HAProxy does so from 127.0.0.1."""

needs_haproxy = pytest.mark.skipif(find_haproxy() is None, reason="haproxy is not installed")


@pytest.fixture
def ports(gateway: Gateway, backend: RecordingBackend, tmp_path: Path) -> dict[str, int]:
    """Listeners that want the protocol: in clear, with TLS, and one that trusts nobody who is there."""
    found = {name: free_port() for name in ("http", "https", "closed")}
    certificate = AUTHORITY.issue("127.0.0.1")
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    required = {"mode": "required", "trustedPeers": ["127.0.0.0/8"]}
    gateway.configure(
        listeners=[
            listener(found["http"], "http", proxyProtocol=required),
            listener(found["https"], "https", proxyProtocol=required, tls=tls),
            listener(found["closed"], "closed", proxyProtocol={"mode": "required", "trustedPeers": ["192.0.2.1"]}),
        ],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )
    backend.script = lambda exchange: exchange.respond(body=b"ok")
    (tmp_path / "ca.pem").write_text(AUTHORITY.cert_text)
    return found


def curl(directory: Path, scheme: str, port: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "-sS", "--max-time", "20", "--cacert", str(directory / "ca.pem"), "--interface", CLIENT]
    return subprocess.run([*command, *arguments, f"{scheme}://127.0.0.1:{port}/"], capture_output=True, check=False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl(ports: dict[str, int], backend: RecordingBackend, tmp_path: Path, scheme: str) -> None:
    done = curl(tmp_path, scheme, ports[scheme], "--haproxy-protocol")
    assert done.stdout == b"ok", done
    (seen,) = backend.requests
    assert seen.all("X-Forwarded-For") == [CLIENT]
    assert seen.all("X-Forwarded-Proto") == [scheme]
    # 35: the connection was cut within the handshake, 55: before curl could send, 56: after; 52: nothing was answered.
    for done in (
        curl(tmp_path, scheme, ports[scheme]),
        curl(tmp_path, "http", ports["closed"], "--haproxy-protocol"),
    ):
        assert done.returncode in (35, 52, 55, 56), done
    assert len(backend.requests) == 1


@needs_haproxy
@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_haproxy(ports: dict[str, int], backend: RecordingBackend, tmp_path: Path, scheme: str, options: str) -> None:
    with Haproxy(tmp_path, options, port=free_port(), upstream=ports[scheme]) as balancer:
        done = curl(tmp_path, scheme, balancer.port)
        assert done.stdout == b"ok", done
    (seen,) = backend.requests
    assert seen.all("X-Forwarded-For") == [CLIENT]
    assert seen.all("X-Forwarded-Proto") == [scheme]


@needs_haproxy
def test_haproxy_may_see_whether_it_is_there(gateway: Gateway, ports: dict[str, int], tmp_path: Path) -> None:
    # It then says LOCAL, speaks for itself, and counts the server as down when the connection is cut.
    checks = "send-proxy-v2 check check-send-proxy inter 50ms rise 1 fall 1"
    with Haproxy(tmp_path, checks, port=free_port(), upstream=ports["http"]) as balancer:
        eventually(lambda: curl(tmp_path, "http", balancer.port).stdout == b"ok", what="the server is up")
        for _ in range(5):
            assert curl(tmp_path, "http", balancer.port).stdout == b"ok"
