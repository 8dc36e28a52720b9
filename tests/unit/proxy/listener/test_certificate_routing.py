"""Routes that depend on the client's certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certificates import Certificate
from tests.support.gateway import Document, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.tls_listener import authority, client_authority, terminating

SERIAL = "request.tls.peerCertificate.serial"


def when(cel: str) -> list[Document]:
    return [
        route("known", {"cel": cel}, directResponse={"status": 200, "body": "known"}),
        route("unknown", directResponse={"status": 200, "body": "unknown"}),
    ]


async def answer(proxy: InProcessProxy, certificate: Certificate | None, path: Path) -> bytes:
    client = await proxy.connect(tls=authority().client_context(certificate, path))
    answers = {(await client.exchange("GET /")).body for _ in range(2)}
    (only,) = answers
    return only


@pytest.mark.parametrize(
    "cel",
    [
        "has(request.tls)",
        "'spiffe://a/b' in request.tls.peerCertificate.uris",
        "request.tls.peerCertificate.uris.exists(u, u.startsWith('spiffe://a/'))",
        "request.tls.peerCertificate.dnsNames == ['a-client']",
        "request.tls.peerCertificate.subject == 'CN=a client'",
        f"{SERIAL}.matches('^[1-9a-f][0-9a-f]*$') && size({SERIAL}) > 20",
    ],
)
@on_each_loop
async def test_who_shows_one_can_be_known_by_it(proxy: InProcessProxy, tmp_path: Path, cel: str) -> None:
    certificate = client_authority().issue("a client", uris=["spiffe://a/b", "spiffe://a/c;d"])
    asking = {"mode": "optional", "ca": client_authority().cert_text}
    await proxy.apply(*when(cel), listeners=[proxy.listener(tls=terminating(clientAuth=asking))])
    assert await answer(proxy, certificate, tmp_path) == b"known"
    assert await answer(proxy, None, tmp_path) == b"unknown"


@on_each_loop
async def test_a_listener_that_does_not_ask_knows_nobody(proxy: InProcessProxy, tmp_path: Path) -> None:
    certificate = client_authority().issue("a client", uris=["spiffe://a/b"])
    await proxy.apply(*when("has(request.tls)"), listeners=[proxy.listener(tls=terminating())])
    assert await answer(proxy, certificate, tmp_path) == b"unknown"
    await proxy.apply(*when("request.scheme == 'https'"), listeners=[proxy.listener(tls=terminating())])
    assert await answer(proxy, certificate, tmp_path) == b"known"
