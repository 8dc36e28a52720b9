"""HTTP/2 of listeners to clients that others have written: curl, nghttp, h2load, httpx."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Authority, Certificate
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

LIMIT = 60
"""Seconds that a client may take."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("servers")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("proxy.test")


@pytest.fixture(scope="module")
def secure_port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def _configured(
    gateway: Gateway, port: int, secure_port: int, certificate: Certificate, backend: RecordingBackend
) -> None:
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    gateway.configure(
        listeners=[listener(port, http2=True), listener(secure_port, "secure", http2=True, tls=tls)],
        destinations=[destination("backend", backend.port)],
        routes=[
            route("small", {"path": "/small"}, directResponse={"status": 200, "body": "small"}),
            route("all", forward=forward("backend")),
        ],
    )


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_text(authority.cert_text)
    return path


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return authority.client_context()


def run(*command: object) -> str:
    """What a client prints when it has succeeded."""
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done
    return done.stdout.decode()


def curl(*arguments: object) -> tuple[str, str]:
    """The version that curl has spoken, and the body."""
    text = run("curl", "--silent", "--show-error", "--noproxy", "*", "-w", "\n%{http_version}", *arguments)
    body, _, version = text.rpartition("\n")
    return version, body


class TestCurl:
    def test_with_prior_knowledge(self, port: int) -> None:
        version, body = curl("--http2-prior-knowledge", f"http://127.0.0.1:{port}/path?q=1")
        assert version == "2"
        seen = json.loads(body)
        assert (seen["method"], seen["target"]) == ("GET", "/path?q=1")

    def test_by_upgrade(self, port: int, backend: RecordingBackend) -> None:
        version, body = curl("--http2", f"http://127.0.0.1:{port}/upgraded")
        assert version == "2"
        assert json.loads(body)["target"] == "/upgraded"
        (seen,) = backend.requests
        assert not {"upgrade", "http2-settings", "connection"} & {name.lower() for name, _ in seen.headers}

    def test_a_body_is_not_upgraded(self, port: int) -> None:
        version, body = curl("--http2", "-d", "abc", f"http://127.0.0.1:{port}/")
        assert version == "1.1"
        assert json.loads(body)["method"] == "POST"

    def test_over_tls(self, secure_port: int, trusted: Path) -> None:
        resolve = f"proxy.test:{secure_port}:127.0.0.1"
        url = f"https://proxy.test:{secure_port}/"
        assert curl("--http2", "--cacert", trusted, "--resolve", resolve, url)[0] == "2"
        assert curl("--http1.1", "--cacert", trusted, "--resolve", resolve, url)[0] == "1.1"

    def test_an_upload_that_waits_to_be_asked_for(self, port: int, backend: RecordingBackend, tmp_path: Path) -> None:
        file = tmp_path / "upload"
        file.write_bytes(content := bytes(range(256)) * 8192)
        expecting = ("-H", "Expect: 100-continue")
        version, _ = curl("--http2-prior-knowledge", *expecting, "-T", file, f"http://127.0.0.1:{port}/")
        assert version == "2"
        assert hashlib.sha256(backend.requests[0].body).digest() == hashlib.sha256(content).digest()

    def test_a_head_request(self, port: int) -> None:
        assert curl("--http2-prior-knowledge", "-I", f"http://127.0.0.1:{port}/small")[1].startswith("HTTP/2 200")

    def test_an_upgrade_is_left_alone_where_http_2_is_off(self, gateway: Gateway, port: int) -> None:
        answer = route("all", directResponse={"status": 200, "body": "plain"})
        gateway.configure(listeners=[listener(port)], routes=[answer])
        assert curl("--http2", f"http://127.0.0.1:{port}/") == ("1.1", "plain")


class TestNghttp:
    @pytest.mark.parametrize("upgrade", [True, False], ids=["upgrade", "prior knowledge"])
    def test_many_at_once(self, port: int, upgrade: bool) -> None:
        urls = [f"http://127.0.0.1:{port}/{index}" for index in range(20)]
        text = run("nghttp", *(["-u"] if upgrade else []), *urls)
        assert sorted(re.findall(r'"target": ?"/(\d+)"', text), key=int) == [str(index) for index in range(20)]

    def test_trailers_both_ways(self, port: int, backend: RecordingBackend) -> None:
        def answer(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            exchange.send(b"5\r\nhello\r\n0\r\nX-Checksum: 42\r\n\r\n")

        backend.script = answer
        text = run(
            "nghttp", "-v", "--trailer", "x-sum: 7", "--no-content-length", "-d", __file__, f"http://127.0.0.1:{port}/"
        )
        assert "x-checksum: 42" in text
        assert backend.requests[0].trailers == (("x-sum", "7"),)


class TestH2load:
    @pytest.mark.parametrize("path", ["/small", "/forwarded"])
    @pytest.mark.parametrize("secure", [False, True], ids=["clear", "TLS"])
    def test_no_request_fails(self, port: int, secure_port: int, path: str, secure: bool) -> None:
        url = f"https://127.0.0.1:{secure_port}" if secure else f"http://127.0.0.1:{port}"
        text = run("h2load", "-n", 1000, "-c", 4, "-m", 32, url + path)
        assert "1000 succeeded, 0 failed, 0 errored" in text, text
        assert "status codes: 1000 2xx" in text


class TestHttpx:
    def test_a_session(self, secure_port: int, trusting: ssl.SSLContext) -> None:
        trusting.check_hostname = False
        with httpx.Client(
            http2=True, http1=False, verify=trusting, base_url=f"https://127.0.0.1:{secure_port}"
        ) as client:
            for index in range(20):
                body = bytes([index]) * index * 1000
                response = client.post(f"/{index}", content=body, headers={"X-Index": str(index)})
                assert response.http_version == "HTTP/2"
                seen = response.json()
                assert seen["target"] == f"/{index}"
                assert (seen["bodySize"], seen["bodyDigest"]) == (len(body), hashlib.sha256(body).hexdigest())


class TestAgreement:
    @pytest.mark.parametrize(
        ("offered", "agreed"),
        [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["h3"], None)],
    )
    def test_what_is_agreed_on(
        self, secure_port: int, trusting: ssl.SSLContext, offered: list[str], agreed: str | None
    ) -> None:
        assert self._agreed(secure_port, trusting, offered) == agreed

    def test_without_http_2_it_is_not_offered(
        self, gateway: Gateway, secure_port: int, trusting: ssl.SSLContext, certificate: Certificate
    ) -> None:
        tls = {"cert": certificate.cert_text, "key": certificate.key_text}
        gateway.configure(
            listeners=[listener(secure_port, tls=tls)], routes=[route("all", directResponse={"status": 200})]
        )
        assert self._agreed(secure_port, trusting, ["h2", "http/1.1"]) == "http/1.1"
        assert self._agreed(secure_port, trusting, ["h2"]) is None

    def _agreed(self, port: int, context: ssl.SSLContext, offered: list[str]) -> str | None:
        context.set_alpn_protocols(offered)
        with Connection(port, tls=context) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            return client.sock.selected_alpn_protocol()


def heads_seen(backend: RecordingBackend) -> Iterator[dict[str, str]]:
    for seen in backend.requests:
        fields = {name.lower(): value for name, value in seen.headers}
        fields.pop("x-request-id")
        yield fields


def test_the_backend_is_told_the_same_as_by_http_1(port: int, backend: RecordingBackend) -> None:
    fields = (
        "-H",
        "X-Forwarded-For: 192.0.2.1",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "TE: trailers",
        "-b",
        "a=1; b=2",
    )
    url = f"http://127.0.0.1:{port}/a%2fb?c"
    curl("--http1.1", *fields, url)
    curl("--http2-prior-knowledge", *fields, url)
    old, new = heads_seen(backend)
    assert old["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert new == {**old, "connection": "te", "te": "trailers"}
    assert [seen.target for seen in backend.requests] == ["/a%2fb?c"] * 2
