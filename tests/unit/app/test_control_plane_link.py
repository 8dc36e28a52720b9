"""How a proxy finds and trusts its control plane."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Authority, Certificate
from vrata.app.control_plane_link import link_to, local_url
from vrata.config import ClientTLS, Pem, load
from vrata.net.client_tls import client_context


def write_config(directory: Path, text: str) -> Path:
    path = directory / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("127.0.0.1:81", "http://127.0.0.1:81"),
        ("192.0.2.7:81", "http://192.0.2.7:81"),
        ("gateway.internal:81", "http://gateway.internal:81"),
    ],
)
def test_the_local_control_plane_is_reached_where_it_listens(tmp_path: Path, address: str, url: str) -> None:
    settings = load(write_config(tmp_path, f'controlPlane: {{address: "{address}"}}'), {}, "serve")
    assert local_url(settings) == url
    assert link_to(settings, local=True).url == url


@pytest.mark.parametrize(
    ("proxy", "key"), [("{}", "first"), ("{apiKey: own}", "own")], ids=["the control plane's first", "its own"]
)
def test_the_key_for_the_local_control_plane(tmp_path: Path, proxy: str, key: str) -> None:
    text = f"""
controlPlane: {{auth: {{apiKeys: [{{name: a, key: first}}, {{name: b, key: second}}]}}}}
proxy: {proxy}
"""
    assert link_to(load(write_config(tmp_path, text), {}, "serve"), local=True).api_key == key


def test_a_remote_control_plane_gets_nothing_of_the_local_one(tmp_path: Path) -> None:
    text = """
controlPlane: {auth: {apiKeys: [{name: a, key: local}]}}
proxy: {controlPlaneUrl: "http://elsewhere:8080/", id: p}
"""
    link = link_to(load(write_config(tmp_path, text), {}, "proxy"), local=False)
    assert (link.url, link.proxy_id, link.api_key, link.tls) == ("http://elsewhere:8080", "p", None, None)


def files(directory: Path, certificate: Certificate, name: str = "server") -> tuple[Path, Path]:
    return certificate.cert_file(directory / f"{name}.pem"), certificate.key_file(directory / f"{name}.key")


def reach(directory: Path, link_tls: ssl.SSLContext, server: Certificate, client_ca: Authority | None = None) -> bool:
    """Whether a client with this context accepts, and is accepted by, a server with this certificate."""

    async def main() -> bool:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files(directory, server, "reached"))
        if client_ca is not None:
            context.load_verify_locations(cadata=client_ca.cert_text)
            context.verify_mode = ssl.CERT_REQUIRED

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                await writer.drain()
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with listening, httpx.AsyncClient(verify=link_tls, trust_env=False) as client:
            port = listening.sockets[0].getsockname()[1]
            try:
                return (await client.get(f"https://127.0.0.1:{port}/")).status_code == 204
            except httpx.TransportError:
                return False

    return asyncio.run(main())


def test_the_local_control_plane_is_trusted_by_its_own_certificate_whatever_its_name(tmp_path: Path) -> None:
    authority = Authority("authority")
    server = authority.issue("gateway.example")
    certificate, key = files(tmp_path, server)
    text = f'controlPlane: {{address: "127.0.0.1:8080", tls: {{cert: "{certificate}", key: "{key}"}}}}'
    link = link_to(load(write_config(tmp_path, text), {}, "serve"), local=True)
    assert link.url == "https://127.0.0.1:8080"
    assert link.tls is not None
    assert reach(tmp_path, link.tls(), server)
    # Another server with a certificate of the same authority is not the control plane.
    assert not reach(tmp_path, link.tls(), authority.issue("127.0.0.1"))


def test_mutual_tls_with_the_local_control_plane(tmp_path: Path) -> None:
    authority = Authority("authority")
    server, client = authority.issue("gateway.example"), authority.issue("proxy.example")
    certificate, key = files(tmp_path, server)
    (tmp_path / "ca.pem").write_text(authority.cert_text)
    text = f"""
controlPlane:
  tls: {{cert: "{certificate}", key: "{key}", ca: "{tmp_path}/ca.pem", clientAuth: require}}
"""
    without = link_to(load(write_config(tmp_path, text), {}, "serve"), local=True)
    certificate, key = files(tmp_path, client, "client")
    text += f"""
proxy:
  tls: {{cert: "{certificate}", key: "{key}"}}
"""
    link = link_to(load(write_config(tmp_path, text), {}, "serve"), local=True)
    assert link.tls is not None
    assert without.tls is not None
    assert reach(tmp_path, link.tls(), server, authority)
    assert not reach(tmp_path, without.tls(), server, authority)


def test_a_remote_control_plane_is_trusted_by_authority_and_name(tmp_path: Path) -> None:
    authority = Authority("authority")
    (tmp_path / "ca.pem").write_text(authority.cert_text)
    text = f'proxy: {{controlPlaneUrl: "https://127.0.0.1:8080", tls: {{ca: "{tmp_path}/ca.pem"}}}}'
    link = link_to(load(write_config(tmp_path, text), {}, "proxy"), local=False)
    assert link.tls is not None
    assert reach(tmp_path, link.tls(), authority.issue("127.0.0.1"))
    assert not reach(tmp_path, link.tls(), authority.issue("gateway.example"))
    assert not reach(tmp_path, link.tls(), Authority("authority").issue("127.0.0.1"))


def test_certificates_given_as_text(tmp_path: Path) -> None:
    authority = Authority("authority")
    issued = authority.issue("127.0.0.1")
    tls = ClientTLS(*(Pem.parse(text) for text in (issued.cert_text, issued.key_text, authority.cert_text)))
    assert reach(tmp_path, client_context(tls), issued, authority)


def test_a_renewed_certificate_is_read_again(tmp_path: Path) -> None:
    authority = Authority("authority")
    certificate, key = files(tmp_path, authority.issue("127.0.0.1"))
    text = f'controlPlane: {{tls: {{cert: "{certificate}", key: "{key}"}}}}'
    link = link_to(load(write_config(tmp_path, text), {}, "serve"), local=True)
    assert link.tls is not None
    old = link.tls()
    renewed = authority.issue("127.0.0.1")
    files(tmp_path, renewed)
    assert not reach(tmp_path, old, renewed)
    assert reach(tmp_path, link.tls(), renewed)
