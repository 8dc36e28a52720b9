"""The handshake matrix: every version and every mode of client authentication, with curl and with ``openssl s_client``.

One snapshot has a listener for each row; every case is one client process.

Debian's OpenSSL does not speak TLS 1.0 and 1.1 at its usual level of security, so clients are put on level 0 for them.
"""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.gateway import Document, Gateway, listener, route
from tests.support.ports import free_port

AUTHORITY = Authority("servers")
CLIENTS = Authority("clients")
URI = "spiffe://mesh/ns/shop/sa/web"
VERSIONS = ("1.0", "1.1", "1.2", "1.3")
EVERY_VERSION = {"minVersion": "TLSv1_0"}

RANGES: dict[str, tuple[Document, tuple[str, ...]]] = {
    "default": ({}, ("1.2", "1.3")),
    "all": (EVERY_VERSION, VERSIONS),
    "from-1.1": ({"minVersion": "TLSv1_1"}, ("1.1", "1.2", "1.3")),
    "from-1.3": ({"minVersion": "TLSv1_3"}, ("1.3",)),
    "only-1.0": ({"minVersion": "TLSv1_0", "maxVersion": "TLSv1_0"}, ("1.0",)),
    "only-1.1": ({"minVersion": "TLSv1_1", "maxVersion": "TLSv1_1"}, ("1.1",)),
    "only-1.2": ({"minVersion": "TLSv1_2", "maxVersion": "TLSv1_2"}, ("1.2",)),
    "to-1.1": ({"minVersion": "TLSv1_0", "maxVersion": "TLSv1_1"}, ("1.0", "1.1")),
}
"""What a listener says of versions, and those that it speaks."""

MODES: dict[str, tuple[str, ...]] = {
    "none": ("none", "good", "foreign", "expired"),
    "optional": ("none", "good"),
    "require": ("good",),
}
"""Who is let in, by ``clientAuth.mode``."""

SHOWN = ("none", "good", "foreign", "expired")
NAMED = {"shop.test": "shop", "a.tenants.test": "tenants", "elsewhere.test": "127.0.0.1"}
"""Whose certificate is presented to a client that asks for that name."""


class Handshakes:
    """The listeners by name, and clients for them."""

    def __init__(self, directory: Path, ports: dict[str, int]) -> None:
        self._directory = directory
        self.ports = ports

    def write(self) -> None:
        (self._directory / "ca.pem").write_text(AUTHORITY.cert_text)
        for name, found in {
            "good": CLIENTS.issue("web", uris=[URI]),
            "foreign": AUTHORITY.issue("web", uris=[URI]),
            "expired": CLIENTS.issue("web", uris=[URI], lifetime=timedelta(minutes=-1)),
        }.items():
            found.cert_file(self._directory / f"{name}.pem")
            found.key_file(self._directory / f"{name}.key")

    def curl(self, listener_name: str, *arguments: str, shown: str = "none") -> subprocess.CompletedProcess[bytes]:
        """Ask with curl, which verifies the server."""
        certificate = () if shown == "none" else ("--cert", self._file(shown, "pem"), "--key", self._file(shown, "key"))
        command = ["curl", "-sS", "--max-time", "20", "--cacert", self._file("ca", "pem"), *certificate, *arguments]
        url = f"https://127.0.0.1:{self.ports[listener_name]}/"
        return subprocess.run([*command, url], capture_output=True, check=False)

    def openssl(self, listener_name: str, *arguments: str, shown: str = "none") -> subprocess.CompletedProcess[bytes]:
        """Ask with ``openssl s_client`` over HTTP/1.0."""
        certificate = () if shown == "none" else ("-cert", self._file(shown, "pem"), "-key", self._file(shown, "key"))
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.ports[listener_name]}", "-ign_eof"]
        command += ["-CAfile", self._file("ca", "pem"), *certificate, *arguments]
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        return subprocess.run(command, input=asked, capture_output=True, check=False, timeout=20)

    def speaks(self, listener_name: str, version: str, shown: str = "none") -> bool:
        """Whether curl and openssl both get an answer over *version*; they must agree."""
        level = ("DEFAULT:@SECLEVEL=0",) if version in ("1.0", "1.1") else ()
        ciphers = ("--ciphers", *level) if level else ()
        done = self.curl(listener_name, f"--tlsv{version}", "--tls-max", version, *ciphers, shown=shown)
        # 35: the handshake failed; 56: it was refused after our part of it; 60: a certificate is no good, in which curl
        # takes the server's alert about an expired one for its own finding.
        assert done.returncode in ((0, 35, 56, 60) if shown == "expired" else (0, 35, 56)), done
        assert (done.stdout == b"ok") is (done.returncode == 0), done
        if done.returncode:
            # The latter is what the client says when the newest version of the listener is too old for it.
            assert re.search(rb"alert|unsupported protocol|certificate verification failed", done.stderr), done
        option = f"-tls{version.replace('.', '_').removesuffix('_0')}"
        ciphers = ("-cipher", *level) if level else ()
        other = self.openssl(listener_name, option, *ciphers, shown=shown)
        assert (b"\r\n\r\nok" in other.stdout) is (done.returncode == 0), (done, other)
        if done.returncode == 0:
            assert f"Protocol  : TLSv{version.removesuffix('.0')}\n".encode() in other.stdout or (
                f"New, TLSv{version}".encode() in other.stdout
            ), other.stdout
        return done.returncode == 0

    def _file(self, name: str, suffix: str) -> str:
        return str(self._directory / f"{name}.{suffix}")


def secured(port: int, name: str, **tls: Any) -> Document:
    found = AUTHORITY.issue("127.0.0.1")
    return listener(port, name, tls={"cert": found.cert_text, "key": found.key_text, **tls})


@pytest.fixture(scope="module")
def handshakes(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Handshakes:
    names = [*RANGES, *MODES, "named", "strict", "plain"]
    found = Handshakes(tmp_path_factory.mktemp("handshakes"), {name: free_port() for name in names})
    found.write()
    ports = found.ports
    listeners = [secured(ports[name], name, **limits) for name, (limits, _) in RANGES.items()]
    listeners += [
        secured(ports[mode], mode, **EVERY_VERSION, clientAuth={"mode": mode, "ca": CLIENTS.cert_text})
        for mode in MODES
    ]
    further = [AUTHORITY.issue("shop.test"), AUTHORITY.issue("*.tenants.test")]
    certificates = [{"cert": certificate.cert_text, "key": certificate.key_text} for certificate in further]
    listeners += [
        secured(ports["named"], "named", certificates=certificates),
        secured(ports["strict"], "strict", certificates=certificates, strictSni=True),
        listener(ports["plain"], "plain"),
    ]
    gateway.configure(listeners=listeners, routes=[route("all", directResponse={"status": 200, "body": "ok"})])
    return found


@pytest.mark.parametrize("limits", RANGES)
def test_versions(handshakes: Handshakes, limits: str) -> None:
    spoken = tuple(version for version in VERSIONS if handshakes.speaks(limits, version))
    assert spoken == RANGES[limits][1]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_client_certificates(handshakes: Handshakes, mode: str, version: str) -> None:
    let_in = tuple(shown for shown in SHOWN if handshakes.speaks(mode, version, shown))
    assert let_in == MODES[mode]


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        ("http/1.1", b"ALPN protocol: http/1.1"),
        ("h2,http/1.1", b"ALPN protocol: http/1.1"),
        # RFC 7301 §3.2 has an alert for these, which the ssl module cannot send. They are served without an agreement.
        ("h2", b"No ALPN negotiated"),
        ("spdy/3,x", b"No ALPN negotiated"),
        ("", b"No ALPN negotiated"),
    ],
)
def test_what_is_agreed_on_by_alpn(handshakes: Handshakes, offered: str, agreed: bytes) -> None:
    for name in ("default", "named"):
        done = handshakes.openssl(name, *(("-alpn", offered) if offered else ()), "-servername", "shop.test")
        assert agreed in done.stdout
        assert b"\r\n\r\nok" in done.stdout


def test_curl_is_content_without_http_2(handshakes: Handshakes) -> None:
    for arguments in ((), ("--http2",), ("--http1.1",), ("--no-alpn",)):
        done = handshakes.curl("default", *arguments, "-w", " %{http_version}")
        assert done.stdout == b"ok 1.1", done


@pytest.mark.parametrize("version", ["1_2", "1_3"])
@pytest.mark.parametrize("name", NAMED)
def test_certificates_by_name(handshakes: Handshakes, name: str, version: str) -> None:
    done = handshakes.openssl("named", f"-tls{version}", "-servername", name)
    assert NAMED[name] in (re.findall(rb"subject=CN = (?:\*\.)?([^\n]*)", done.stdout)[0]).decode()
    assert b"Verification: OK" in done.stdout
    assert b"\r\n\r\nok" in done.stdout
    strict = handshakes.openssl("strict", f"-tls{version}", "-servername", name)
    assert (b"unrecognized name" in strict.stderr) is (name == "elsewhere.test"), strict
    assert (b"\r\n\r\nok" in strict.stdout) is (name != "elsewhere.test")


def test_curl_finds_the_certificate_of_each_name(handshakes: Handshakes) -> None:
    for name in ("named", "strict"):
        port = handshakes.ports[name]
        for host in ("shop.test", "b.tenants.test"):
            done = handshakes.curl(name, f"https://{host}:{port}/", "--resolve", f"{host}:{port}:127.0.0.1")
            assert done.stdout.startswith(b"ok"), done


def test_a_name_that_is_not_ascii_leaves_nothing_in_the_log(handshakes: Handshakes, gateway: Gateway) -> None:
    # The session's end looks for tracebacks.
    done = handshakes.openssl("named", "-servername", "\u00e9.test")
    assert b"alert" in done.stderr
    assert handshakes.openssl("named", "-servername", "shop.test").returncode == 0
