"""TLS listeners of a real gateway, with curl and openssl as clients."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority, Certificate
from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import Exchange, RecordingBackend

AUTHORITY = Authority("servers")
CLIENTS = Authority("clients")
CERTIFICATE = AUTHORITY.issue("127.0.0.1")
URI = "spiffe://mesh/ns/shop/sa/web"
OK = route("all", directResponse={"status": 200, "body": "ok"})


def secured(port: int, certificate: Certificate = CERTIFICATE, id: str = "main", **tls: Any) -> Document:  # noqa: A002
    """A listener with TLS."""
    return listener(port, id, tls={"cert": certificate.cert_text, "key": certificate.key_text, **tls})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with the authorities and with clients' certificates."""
    (tmp_path / "ca.pem").write_text(AUTHORITY.cert_text)
    for name, found in {
        "good": CLIENTS.issue("web", uris=[URI]),
        "foreign": AUTHORITY.issue("web", uris=[URI]),
    }.items():
        found.cert_file(tmp_path / f"{name}.pem")
        found.key_file(tmp_path / f"{name}.key")
    return tmp_path


def curl(port: int, files: Path, *arguments: str, path: str = "/") -> subprocess.CompletedProcess[bytes]:
    """Ask with curl, which verifies the server."""
    command = ["curl", "-sS", "--max-time", "20", "--cacert", str(files / "ca.pem"), *arguments]
    return subprocess.run([*command, f"https://127.0.0.1:{port}{path}"], capture_output=True, check=False)


def openssl(port: int, files: Path, *arguments: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Connect with ``openssl s_client`` and say something; a line that begins with ``Q`` makes it leave."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(files / "ca.pem"), *arguments]
    return subprocess.run(command, input=said, capture_output=True, check=False, timeout=20)


class TestCurl:
    def test_every_version_that_is_allowed(self, gateway: Gateway, port: int, files: Path) -> None:
        gateway.configure(listeners=[secured(port)], routes=[OK])
        for version in ("1.2", "1.3"):
            done = curl(
                port, files, f"--tlsv{version}", "--tls-max", version, "-w", "%{http_version} %{ssl_verify_result}"
            )
            assert done.stdout == b"ok1.1 0", done
        for newest in ("1.0", "1.1"):
            assert curl(port, files, "--tls-max", newest).returncode == 35  # the handshake failed
        gateway.configure(listeners=[secured(port, minVersion="TLSv1_3")], routes=[OK])
        assert curl(port, files, "--tls-max", "1.2").returncode == 35
        assert curl(port, files).stdout == b"ok"

    def test_http_2_is_not_agreed_on(self, gateway: Gateway, port: int, files: Path) -> None:
        gateway.configure(listeners=[secured(port)], routes=[OK])
        assert curl(port, files, "--http2", "-w", "%{http_version}").stdout == b"ok1.1"

    @pytest.mark.parametrize(
        ("mode", "answers"),
        [
            ("none", {"": "", "good": "", "foreign": ""}),
            ("optional", {"": "", "good": URI}),
            ("require", {"good": URI}),
        ],
    )
    def test_client_certificates(
        self,
        gateway: Gateway,
        port: int,
        files: Path,
        backend: RecordingBackend,
        mode: str,
        answers: dict[str, str],
    ) -> None:
        gateway.configure(
            listeners=[secured(port, clientAuth={"mode": mode, "ca": CLIENTS.cert_text})],
            destinations=[destination("backend", backend.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        for name in ("", "good", "foreign"):
            backend.requests.clear()
            shown = ("--cert", str(files / f"{name}.pem"), "--key", str(files / f"{name}.key")) if name else ()
            done = curl(port, files, *shown, "-H", "X-Forwarded-Client-Cert: spiffe://mesh/admin")
            if name not in answers:
                assert done.returncode in (35, 56), (name, done)
                assert b"alert" in done.stderr, (name, done)
                assert not backend.requests
                continue
            assert done.returncode == 0, (name, done)
            (seen,) = backend.requests
            assert seen.all("X-Forwarded-Client-Cert") == ([answers[name]] if answers[name] else [])
            assert seen.all("X-Forwarded-Proto") == ["https"]

    def test_large_bodies_both_ways(
        self, gateway: Gateway, port: int, files: Path, backend: RecordingBackend, tmp_path: Path
    ) -> None:
        gateway.configure(
            listeners=[secured(port)],
            destinations=[destination("backend", backend.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        backend.script = lambda exchange: exchange.respond(body=exchange.body)
        content = os.urandom(24 << 20)
        (tmp_path / "body").write_bytes(content)
        done = curl(port, files, "--data-binary", f"@{tmp_path / 'body'}", "-H", "Expect:")
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest(), done.stderr

    def test_a_redirect_stays_with_https(self, gateway: Gateway, port: int, files: Path) -> None:
        moved = route("moved", {"path": "/old"}, redirect={"path": "/new", "code": 302})
        gateway.configure(listeners=[secured(port)], routes=[moved, OK])
        done = curl(port, files, "-w", "%{redirect_url}", path="/old")
        assert done.stdout.endswith(f"https://127.0.0.1:{port}/new".encode())


class TestOpenssl:
    def test_renegotiation_is_refused_and_harms_nobody_else(self, gateway: Gateway, port: int, files: Path) -> None:
        gateway.configure(listeners=[secured(port)], routes=[OK])
        done = openssl(port, files, "-tls1_2", said=b"R\n")
        assert b"no renegotiation" in done.stderr
        assert curl(port, files).stdout == b"ok"

    def test_keys_may_be_updated_at_any_time(self, gateway: Gateway, port: int, files: Path) -> None:
        gateway.configure(listeners=[secured(port)], routes=[OK])
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-crlf"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stderr is not None
            for said in (b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\nHost: a\nConnection: close\n\n"):
                # A command has to be read apart from anything else.
                client.stdin.write(b"K\n")
                client.stdin.flush()
                assert any(b"KEYUPDATE" in line for line in client.stderr)
                client.stdin.write(said)
                client.stdin.flush()
                assert any(line.startswith(b"HTTP/1.1 200 OK") for line in client.stdout)
                assert any(line == b"\r\n" for line in client.stdout)
                assert client.stdout.read(2) == b"ok"
            client.communicate(timeout=20)

    def test_sessions_are_resumed(self, gateway: Gateway, port: int, files: Path, tmp_path: Path) -> None:
        gateway.configure(listeners=[secured(port)], routes=[OK])
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        for version in ("-tls1_2", "-tls1_3"):
            stored = str(tmp_path / f"session{version}")
            first = openssl(port, files, version, "-sess_out", stored, "-ign_eof", said=asked)
            assert b"\r\n\r\nok" in first.stdout
            # A ticket is good at the worker that gave it, and the kernel chooses the worker.
            for _ in range(40):
                again = openssl(port, files, version, "-sess_in", stored, "-ign_eof", said=asked)
                assert b"\r\n\r\nok" in again.stdout
                if re.search(rb"^Reused, ", again.stdout, re.MULTILINE):
                    break
            else:
                pytest.fail("no session was resumed")


def test_certificates_change_under_traffic_and_no_connection_breaks(gateway: Gateway, port: int) -> None:
    trusting = AUTHORITY.client_context()
    certificates = [AUTHORITY.issue(f"certificate-{number}") for number in range(4)]
    seen: set[bytes] = set()
    over = threading.Event()
    failures: list[str] = []
    answered = [0, 0]

    def keep_alive() -> None:
        with Connection(port, tls=trusting) as client:
            while not over.is_set():
                response = client.exchange("GET", "/")
                if response.body != b"ok" or "Connection" in response:
                    failures.append(f"keep-alive: {response}")
                answered[0] += 1

    def new_connections() -> None:
        while not over.is_set():
            with Connection(port, tls=trusting) as client:
                assert isinstance(client.sock, ssl.SSLSocket)
                seen.add(client.sock.getpeercert(binary_form=True) or b"")
                if client.exchange("GET", "/").body != b"ok":
                    failures.append("new connection")
            answered[1] += 1

    def guarded(work: Any) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            failures.append(repr(error))

    gateway.configure(listeners=[secured(port, certificates[0])], routes=[OK])
    clients = [threading.Thread(target=guarded, args=(work,)) for work in (keep_alive, new_connections, keep_alive)]
    for thread in clients:
        thread.start()
    try:
        for certificate in certificates * 2:
            gateway.configure(listeners=[secured(port, certificate)], routes=[OK])
            expected = ssl.PEM_cert_to_DER_cert(certificate.cert_text)
            eventually(lambda expected=expected: expected in seen, what="a new connection got the new certificate")  # type: ignore[misc]
    finally:
        over.set()
        for thread in clients:
            thread.join(30)
    assert failures == []
    assert min(answered) > 20


def test_material_in_secrets_and_in_files(gateway: Gateway, port: int, tmp_path: Path) -> None:
    second = free_port()
    trusting = AUTHORITY.client_context()
    gateway.call("POST", "/secrets", {"id": "tls-key", "name": "tls-key", "value": CERTIFICATE.key_text})
    from_secret = listener(port, tls={"cert": CERTIFICATE.cert_text, "key": "{{secret:value:tls-key}}"})
    in_files = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    gateway.configure(listeners=[from_secret, listener(second, "files", tls=in_files)], routes=[OK])
    with Connection(port, tls=trusting) as client:
        assert client.exchange("GET", "/").body == b"ok"

    def state() -> Document:
        (proxy,) = [proxy for proxy in gateway.proxies() if proxy["connected"]]
        return next(found for found in proxy["listeners"] if found["id"] == "files")

    assert state()["state"] == "failed"
    assert state()["reason"] == f"tls.cert: {in_files['cert']}: No such file or directory (not served)"
    CERTIFICATE.cert_file(tmp_path / "cert.pem")
    CERTIFICATE.key_file(tmp_path / "key.pem")
    eventually(lambda: state()["state"] == "listening", 20, what="the files were found")
    with Connection(second, tls=trusting) as client:
        assert client.exchange("GET", "/").body == b"ok"


def test_half_configured_tls_is_refused(gateway: Gateway, port: int) -> None:
    for tls, reason in (
        ({"cert": CERTIFICATE.cert_text}, "tls.key: is required"),
        ({"key": CERTIFICATE.key_text}, "tls.cert: is required"),
        ({}, "tls.cert: is required"),
        ({"cert": "/c", "key": "/k", "clientAuth": {"mode": "require"}}, "clientAuth.ca is required"),
        ({"cert": "/c", "key": "/k", "minVersion": "TLSv1_3", "maxVersion": "TLSv1_2"}, "tls.maxVersion"),
    ):
        response = gateway.api.post("/listeners", json=listener(port, "half", tls=tls))
        assert response.status_code == 400, response.text
        assert reason in response.text


def test_an_upstream_that_dies_shows_over_tls(
    gateway: Gateway, port: int, files: Path, backend: RecordingBackend
) -> None:
    def dies(exchange: Exchange) -> None:
        exchange.send_head(200, [("Transfer-Encoding", "chunked")])
        exchange.send(b"5\r\nhello\r\n")
        exchange.close()

    gateway.configure(
        listeners=[secured(port)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )
    backend.script = dies
    done = curl(port, files)
    assert done.stdout in (b"", b"hello")
    assert done.returncode in (18, 56), done  # partial file; failure in receiving


def test_http_where_https_is_spoken(gateway: Gateway, port: int) -> None:
    gateway.configure(listeners=[secured(port)], routes=[OK])
    response = fetch(port)
    assert response.status == 400
    assert b"HTTPS" in response.body
