"""TLS to upstreams of a real gateway, with nginx and ``openssl s_server`` as the upstreams."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import tls_upstream as upstream
from tests.support.certificates import Authority, Certificate
from tests.support.conditions import accepts, eventually
from tests.support.gateway import Document, Gateway, forward, listener, route
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.raw_http import Response, TruncatedResponse, fetch
from tests.support.recording_backend import Exchange, RecordingBackend

OTHER_NAME = upstream.authority().issue("other.test", uris=["spiffe://mesh/other"])
EXPIRED = upstream.authority().issue(upstream.NAME, lifetime=timedelta(minutes=-30))
UNKNOWN = Authority("unknown").issue(upstream.NAME)
LOOPBACK = upstream.authority().issue("127.0.0.1")
MINE = upstream.client_authority().issue("proxy")

SEEN = "$ssl_session_reused $ssl_protocol $ssl_alpn_protocol $ssl_server_name $ssl_client_s_dn"
"""What nginx says of a connection."""


class Upstream:
    """A server block of nginx."""

    def __init__(self, name: str, certificate: Certificate, *lines: str) -> None:
        self.name = name
        self.port = free_port()
        self._certificate = certificate
        self._lines = lines

    def block(self, directory: Path) -> str:
        cert = self._certificate.cert_file(directory / f"{self.name}.pem")
        key = self._certificate.key_file(directory / f"{self.name}.key")
        return "\n".join(
            [
                f"server {{ listen 127.0.0.1:{self.port} ssl;",
                f"ssl_certificate {cert}; ssl_certificate_key {key};",
                *self._lines,
                f'location / {{ return 200 "{SEEN}"; }} }}',
            ]
        )


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """An nginx with one server for each case; their ports by name."""
    directory = tmp_path_factory.mktemp("tls-nginx")
    clients = directory / "clients.pem"
    clients.write_text(upstream.client_authority().cert_text)
    every_version = "ssl_protocols TLSv1.2 TLSv1.3;"
    servers = [
        Upstream("good", upstream.certificate(), every_version),
        Upstream("closing", upstream.certificate(), every_version, "keepalive_timeout 0;"),
        Upstream("closing-1.2", upstream.certificate(), "ssl_protocols TLSv1.2;", "keepalive_timeout 0;"),
        Upstream("other", OTHER_NAME),
        Upstream("expired", EXPIRED),
        Upstream("unknown", UNKNOWN),
        Upstream("loopback", LOOPBACK, every_version),
        Upstream("1.2", upstream.certificate(), "ssl_protocols TLSv1.2;"),
        Upstream("1.3", upstream.certificate(), "ssl_protocols TLSv1.3;"),
        Upstream("mutual", upstream.certificate(), f"ssl_client_certificate {clients}; ssl_verify_client on;"),
    ]
    blocks = "\n".join(server.block(directory) for server in servers)
    with Nginx(directory, blocks, port=servers[0].port):
        yield {server.name: server.port for server in servers}


def ask(gateway: Gateway, port: int, backend: int, **tls: Any) -> Response:
    """One request through the gateway to the server on *backend*."""
    configure(gateway, port, upstream.secured(backend, **tls))
    return fetch(port)


def configure(gateway: Gateway, port: int, destination: Document) -> None:
    gateway.configure(
        listeners=[listener(port)], destinations=[destination], routes=[route("all", forward=forward("backend"))]
    )


def seen(response: Response) -> list[str]:
    assert response.status == 200, response
    return response.body.decode().split(" ")


def test_what_nginx_sees(gateway: Gateway, port: int, nginx: dict[str, int]) -> None:
    reused, version, protocol, name, subject = seen(ask(gateway, port, nginx["good"]))
    assert (reused, version, protocol, name, subject) == (".", "TLSv1.3", "http/1.1", upstream.NAME, "")
    # By the name of the host, when the endpoint is somewhere else.
    destination = upstream.secured(1, host=upstream.NAME, sni=None)
    configure(gateway, port, {**destination, "endpoints": [{"host": "127.0.0.1", "port": nginx["good"]}]})
    assert seen(fetch(port))[3] == upstream.NAME
    # An address is verified, but not asked for.
    assert seen(ask(gateway, port, nginx["loopback"], sni=None))[3] == ""


@pytest.mark.parametrize(
    ("server", "tls"),
    [
        ("unknown", {}),
        ("unknown", {"ca": None}),
        ("other", {}),
        ("expired", {}),
        ("good", {"sni": None}),
        ("good", {"subjectAltNames": ["spiffe://mesh/other"]}),
        ("1.2", {"minVersion": "TLSv1_3"}),
        ("1.3", {"maxVersion": "TLSv1_2"}),
    ],
)
def test_servers_that_are_not_trusted(
    gateway: Gateway, port: int, nginx: dict[str, int], server: str, tls: dict[str, Any]
) -> None:
    response = ask(gateway, port, nginx[server], **tls)
    assert response.status == 502
    assert b'"tls_handshake_failure"' in response.body
    assert b'"upstream TLS handshake failed"' in response.body


@pytest.mark.parametrize(
    ("server", "tls"),
    [
        ("other", {"subjectAltNames": ["spiffe://mesh/other"]}),
        ("other", {"subjectAltNames": ["nobody.test", "other.test"]}),
        ("1.2", {"minVersion": "TLSv1_2", "maxVersion": "TLSv1_2"}),
        ("1.3", {"minVersion": "TLSv1_3"}),
    ],
)
def test_servers_that_are(gateway: Gateway, port: int, nginx: dict[str, int], server: str, tls: dict[str, Any]) -> None:
    assert ask(gateway, port, nginx[server], **tls).status == 200


def test_mutual_tls(gateway: Gateway, port: int, nginx: dict[str, int]) -> None:
    response = ask(gateway, port, nginx["mutual"], mode="mtls", cert=MINE.cert_text, key=MINE.key_text)
    assert seen(response)[4] == "CN=proxy"
    assert ask(gateway, port, nginx["mutual"]).status == 400  # nginx says so in HTTP


@pytest.mark.parametrize(("server", "version"), [("closing", "TLSv1.3"), ("closing-1.2", "TLSv1.2")])
def test_later_connections_resume_the_session(
    gateway: Gateway, port: int, nginx: dict[str, int], server: str, version: str
) -> None:
    configure(gateway, port, upstream.secured(nginx[server]))
    found = [seen(fetch(port))[:2] for _ in range(20)]
    assert {each for _, each in found} == {version}
    # Each worker begins with a full handshake; there are two.
    assert 1 <= [reused for reused, _ in found].count(".") <= 2
    assert [reused for reused, _ in found].count("r") >= 18


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_large_bodies_both_ways(gateway: Gateway, port: int, version: str) -> None:
    body = os.urandom(20_000_000)

    def send_back(exchange: Exchange) -> None:
        exchange.respond(body=exchange.body)

    with RecordingBackend(script=send_back, tls=upstream.serving(max_version=version)) as backend:
        configure(gateway, port, upstream.secured(backend.port))
        response = fetch(port, method="POST", body=body)
        assert hashlib.sha256(response.body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("ending", ["say_goodbye", "close", "reset"])
def test_a_body_that_ends_without_a_goodbye_is_not_taken_for_whole(gateway: Gateway, port: int, ending: str) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send_head(200)
        exchange.send(b"x" * 300_000)
        getattr(exchange, ending)()

    with RecordingBackend(script=script, tls=upstream.serving()) as backend:
        configure(gateway, port, upstream.secured(backend.port))
        if ending == "say_goodbye":
            assert len(fetch(port).body) == 300_000
        else:
            with pytest.raises((TruncatedResponse, ConnectionResetError)):
                fetch(port)


@contextlib.contextmanager
def s_server(directory: Path, *arguments: str) -> Iterator[int]:
    """``openssl s_server`` that answers with a page on what was agreed on."""
    found = free_port()
    cert = upstream.certificate().cert_file(directory / "server.pem")
    key = upstream.certificate().key_file(directory / "server.key")
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{found}", "-cert", str(cert), "-key", str(key), "-www"]
    process = subprocess.Popen(
        [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(lambda: accepts(found), what="openssl s_server accepts connections")
        yield found
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_server_that_refuses_whoever_shows_no_certificate(
    gateway: Gateway, port: int, tmp_path: Path, version: str
) -> None:
    clients = tmp_path / "clients.pem"
    clients.write_text(upstream.client_authority().cert_text)
    with s_server(tmp_path, version, "-Verify", "1", "-verify_return_error", "-CAfile", str(clients)) as backend:
        response = ask(gateway, port, backend)
        assert (response.status, b'"tls_handshake_failure"' in response.body) == (502, True), response
        response = ask(gateway, port, backend, mode="mtls", cert=MINE.cert_text, key=MINE.key_text)
        assert response.status == 200
        assert b"Client certificate" in response.body


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_resumes_the_session(gateway: Gateway, port: int, tmp_path: Path, version: str) -> None:
    with s_server(tmp_path, version) as backend:
        configure(gateway, port, upstream.secured(backend))
        pages = [fetch(port).body for _ in range(10)]
        assert sum(b"New, TLS" in page for page in pages) <= 2
        assert sum(b"Reused, TLS" in page for page in pages) >= 8


def test_a_server_that_never_answers_the_handshake(gateway: Gateway, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        destination = upstream.secured(silent.getsockname()[1])
        destination["options"]["timeouts"] = {"tlsHandshake": "300ms"}
        configure(gateway, port, destination)
        began = time.monotonic()
        response = fetch(port)
        assert (response.status, b'"tls_handshake_failure"' in response.body) == (502, True)
        assert 0.3 <= time.monotonic() - began < 9  # and not the default of ten


def test_material_that_is_missing_concerns_its_destination_alone(
    gateway: Gateway, port: int, nginx: dict[str, int], tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    bad = upstream.secured(nginx["good"], "bad", ca=str(ca))
    gateway.configure(
        listeners=[listener(port)],
        destinations=[upstream.secured(nginx["good"]), bad],
        routes=[
            route("all", forward=forward("backend")),
            route("bad", {"path": "/bad"}, forward=forward("bad")),
        ],
    )
    problems = gateway.proxies()[0]["lastApply"]["problems"]
    assert [(problem["kind"], problem["id"]) for problem in problems] == [("destination", "bad")]
    assert f"options.tls.ca: {ca}: No such file or directory" in problems[0]["reason"]
    assert fetch(port).status == 200
    assert b'"no_destination"' in fetch(port, "/bad").body
    ca.write_text(upstream.authority().cert_text)
    eventually(lambda: fetch(port, "/bad").status == 200, 20, what="the file is taken up")
