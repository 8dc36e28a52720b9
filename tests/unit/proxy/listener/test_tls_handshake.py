"""Handshakes with a listener: versions, client certificates, resumption, and those that do not come about."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.bare_tls_client import BareTlsClient
from tests.support.certificates import Certificate
from tests.support.conditions import eventually_async
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import request
from tests.support.tls_listener import (
    GET,
    HELLO,
    answer_hello,
    authority,
    bare,
    client_authority,
    established,
    forward_to,
    server_certificate,
    terminating,
    trusting,
)
from vrata.proxy.listener.secure_connection import PLAIN_HTTP_ANSWER, uris_of

SPIFFE = "spiffe://mesh/ns/shop/sa/web"
VERSIONS = {
    "TLSv1.0": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def speaking(version: str) -> ssl.SSLContext:
    """A client of one version."""
    context = trusting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = VERSIONS[version]
    if version in ("TLSv1.0", "TLSv1.1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


# -- versions and what is agreed on ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "accepted"),
    [
        ({}, ["TLSv1.2", "TLSv1.3"]),
        ({"minVersion": "TLSv1_3"}, ["TLSv1.3"]),
        ({"maxVersion": "TLSv1_2"}, ["TLSv1.2"]),
        ({"minVersion": "TLSv1_1", "maxVersion": "TLSv1_2"}, ["TLSv1.1", "TLSv1.2"]),
        ({"minVersion": "TLSv1_0"}, ["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"]),
    ],
)
@on_each_loop
async def test_versions_within_the_limits_are_accepted_and_no_others(
    proxy: InProcessProxy, limits: dict[str, Any], accepted: list[str]
) -> None:
    await answer_hello(proxy, terminating(**limits))
    for version in VERSIONS:
        async with bare(proxy, speaking(version)) as client:
            if version not in accepted:
                with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                    await client.shake_hands()
                continue
            await client.shake_hands()
            assert client.session.version() == version.removesuffix(".0")
            client.send(GET)
            await client.receive_until(b"hello")


@pytest.mark.parametrize(
    ("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
@on_each_loop
async def test_only_http_1_1_is_agreed_on(proxy: InProcessProxy, offered: list[str], agreed: str | None) -> None:
    await answer_hello(proxy)
    context = trusting()
    if offered:
        context.set_alpn_protocols(offered)
    async with established(proxy, context) as client:
        assert client.session.selected_alpn_protocol() == agreed


@on_each_loop
async def test_what_is_spoken_keeps_past_sessions_secret(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    for ciphers in ("AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384"):
        context = speaking("TLSv1.2")
        context.set_ciphers(ciphers)
        async with bare(proxy, context) as client:
            with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
                await client.shake_hands()
    async with established(proxy, speaking("TLSv1.2")) as client:
        cipher = client.session.cipher()
        assert cipher is not None
        assert cipher[0].startswith("ECDHE-")
        assert client.session.compression() is None


# -- clients' certificates ---------------------------------------------------------------------------------------------


def client_certificates() -> dict[str, Certificate | None]:
    issuer = client_authority()
    return {
        "none": None,
        "good": issuer.issue("web", uris=[SPIFFE, "https://shop.test/web"]),
        "nameless": issuer.issue("web"),
        "expired": issuer.issue("web", lifetime=timedelta(minutes=-1)),
        "foreign": authority().issue("web", uris=[SPIFFE]),
    }


async def ask(client: BareTlsClient) -> None:
    """Shake hands and get an answer. In TLS 1.3 a client has done its part before it learns that it is refused."""
    await client.shake_hands()
    client.send(request("GET /", "X-Forwarded-Client-Cert: spiffe://mesh/admin"))
    await client.receive_until(b"ok")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("mode", "let_in"),
    [
        ("none", {"none", "good", "nameless", "expired", "foreign"}),
        ("optional", {"none", "good", "nameless"}),
        ("require", {"good", "nameless"}),
    ],
)
@on_each_loop
async def test_who_is_let_in(proxy: InProcessProxy, tmp_path: Path, mode: str, let_in: set[str], version: str) -> None:
    client_auth = {"mode": mode, "ca": client_authority().cert_text}
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, terminating(clientAuth=client_auth))
        for kind, certificate in client_certificates().items():
            backend.requests.clear()
            context = authority().client_context(certificate, tmp_path)
            context.minimum_version = context.maximum_version = VERSIONS[version]
            async with bare(proxy, context) as client:
                if kind not in let_in:
                    with capture_logs() as logs, pytest.raises(ssl.SSLError, match="ALERT"):
                        await ask(client)
                    assert [entry["event"] for entry in logs] == ["TLS handshake failed"], kind
                    assert not backend.requests
                    continue
                await ask(client)
            (seen,) = backend.requests
            expected = [f"{SPIFFE};https://shop.test/web"] if kind == "good" and mode != "none" else []
            assert seen.all("x-forwarded-client-cert") == expected, kind
            assert seen.all("x-forwarded-proto") == ["https"]


@on_each_loop
async def test_every_request_of_a_connection_names_its_client(proxy: InProcessProxy, tmp_path: Path) -> None:
    context = authority().client_context(client_authority().issue("web", uris=[SPIFFE]), tmp_path)
    client_auth = {"mode": "require", "ca": client_authority().cert_text}
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, terminating(clientAuth=client_auth))
        client = await proxy.connect(tls=context)
        await client.exchange("GET /1")
        # Other settings, for which the connection stays, and a second apply, which makes nothing anew.
        await forward_to(proxy, backend.port, terminating(clientAuth=client_auth), serverName="other")
        assert (await client.exchange("GET /2"))["server"] == "other"
        assert [seen.all("x-forwarded-client-cert") for seen in backend.requests] == [[SPIFFE], [SPIFFE]]


def test_names_that_could_be_taken_for_others_are_left_out() -> None:
    names = ["spiffe://a/b", "spiffe://a/c;spiffe://a/admin", "spiffe://a/\r\nHost: b", "spiffe://a b", "spiffe://ä/"]
    certificate: dict[str, Any] = {"subjectAltName": [("DNS", "a"), *(("URI", name) for name in names)]}
    assert uris_of(certificate) == b"spiffe://a/b"
    assert uris_of({}) == b""
    assert uris_of({"subjectAltName": (("URI", "https://a/?b=c"), ("URI", "urn:d"))}) == b"https://a/?b=c;urn:d"


# -- resumption --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@on_each_loop
async def test_a_session_is_resumed_with_the_name_of_its_client(
    proxy: InProcessProxy, tmp_path: Path, version: str
) -> None:
    context = authority().client_context(client_authority().issue("web", uris=[SPIFFE]), tmp_path)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    tls = terminating(clientAuth={"mode": "require", "ca": client_authority().cert_text})
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, tls)

        async def reuses(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
            async with bare(proxy, context) as client:
                if session is not None:
                    client.session.session = session
                await client.shake_hands()
                client.send(GET)
                await client.receive_until(b"ok")
                return client.session.session_reused, client.session.session

        reused, session = await reuses(None)
        assert not reused
        # An apply that leaves TLS as it is leaves tickets good; one with other authorities does not.
        await forward_to(proxy, backend.port, tls, serverName="other")
        assert (await reuses(session))[0]
        authorities = client_authority().cert_text + authority().cert_text
        await forward_to(proxy, backend.port, terminating(clientAuth={"mode": "require", "ca": authorities}))
        assert not (await reuses(session))[0]
        assert [seen.all("x-forwarded-client-cert") for seen in backend.requests] == [[SPIFFE]] * 3


@on_each_loop
async def test_a_session_does_not_outlive_the_certificate_it_was_made_with(
    proxy: InProcessProxy, tmp_path: Path
) -> None:
    context = authority().client_context(client_authority().issue("web", lifetime=timedelta(seconds=2)), tmp_path)
    await answer_hello(proxy, terminating(clientAuth={"mode": "require", "ca": client_authority().cert_text}))
    async with established(proxy, context) as client:
        client.send(GET)
        await client.receive_until(b"hello")
        session = client.session.session

    async def is_refused() -> bool:
        async with bare(proxy, context) as client:
            client.session.session = session
            await client.shake_hands()
            assert client.session.session_reused
            client.send(request("GET /", "Connection: close"))
            content, _ = await client.ending()
            return not content

    with capture_logs() as logs:
        async with asyncio.timeout(30):
            while not await is_refused():  # noqa: ASYNC110 - it is the clock that is waited for
                await asyncio.sleep(0.1)
    assert logs[0]["reason"] == "certificate has expired"


# -- what is no handshake ----------------------------------------------------------------------------------------------


@on_each_loop
async def test_plain_http_is_told_so(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    async with bare(proxy) as client:
        client.send_raw(GET)
        assert await client.receive_raw() == PLAIN_HTTP_ANSWER
    head, _, body = PLAIN_HTTP_ANSWER.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in head


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\x00\x05hello", b"\xff"])
@on_each_loop
async def test_garbage_is_answered_with_nothing_but_an_alert(proxy: InProcessProxy, garbage: bytes) -> None:
    await answer_hello(proxy, timeouts={"clientHeader": "200ms"})
    async with bare(proxy) as client:
        client.send_raw(garbage)
        answer = await client.receive_raw()
        assert answer == b"" or answer[0] == 21, answer
    await answer_hello(proxy)
    client_again = await proxy.connect(tls=trusting())
    assert (await client_again.exchange("GET /")).body == b"hello"


@pytest.mark.parametrize("sent", [0, 1, 100], ids=["nothing", "a byte", "half a hello"])
@on_each_loop
async def test_a_handshake_that_does_not_end_is_not_waited_for(proxy: InProcessProxy, sent: int) -> None:
    await answer_hello(proxy, timeouts={"clientHeader": "300ms", "idleBetweenRequests": "20s"})
    began = asyncio.get_running_loop().time()
    async with bare(proxy) as client:
        client.send_raw(client.hello()[:sent])
        await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="it counts as a connection")
        await client.receive_raw()
    assert 0.25 < asyncio.get_running_loop().time() - began < 15
    await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="it is gone")


@on_each_loop
async def test_the_limit_goes_from_accepting_to_the_first_byte_of_a_request(proxy: InProcessProxy) -> None:
    await answer_hello(proxy, timeouts={"clientHeader": "400ms", "idleBetweenRequests": "20s"})
    async with established(proxy) as client:
        assert await client.ending() == (b"", "goodbye")


@on_each_loop
async def test_a_hello_may_come_byte_by_byte(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    async with bare(proxy) as client:
        for byte in client.hello():
            client.send_raw(bytes([byte]))
            await asyncio.sleep(0)
        await client.shake_hands()
        client.send(GET)
        await client.receive_until(b"hello")


@on_each_loop
async def test_a_client_that_rejects_the_certificate_is_noted(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    with capture_logs() as logs:
        async with bare(proxy, client_authority().client_context()) as client:
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.shake_hands()
            await client.receive_raw()
    assert [entry["event"] for entry in logs] == ["TLS handshake failed"]
    assert "alert" in logs[0]["reason"]


# -- settings that change ----------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_new_certificate_is_for_new_connections(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    old = await proxy.connect(tls=trusting())
    await old.exchange("GET /")
    renewed = authority().issue("renewed.test")
    await answer_hello(proxy, terminating(renewed))
    async with established(proxy) as new:
        assert new.session.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(renewed.cert_text)
    assert (await old.exchange("GET /")).body == b"hello"
    assert "connection" not in await old.exchange("GET /")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, terminating()),
        (terminating(), None),
        (terminating(), terminating(minVersion="TLSv1_3")),
        (terminating(), terminating(clientAuth={"mode": "optional", "ca": client_authority().cert_text})),
    ],
    ids=["TLS is turned on", "TLS is turned off", "versions", "client certificates"],
)
@on_each_loop
async def test_connections_made_on_other_terms_end_in_order(
    proxy: InProcessProxy, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    def settings(tls: dict[str, Any] | None) -> dict[str, Any]:
        return {} if tls is None else {"tls": tls}

    await proxy.apply(HELLO, listeners=[proxy.listener(**settings(before))])
    idle = await proxy.connect(tls=None if before is None else trusting())
    busy = await proxy.connect(tls=None if before is None else trusting())
    for client in (idle, busy):
        assert (await client.exchange("GET /")).body == b"hello"
    await proxy.apply(HELLO, listeners=[proxy.listener(**settings(after))])
    assert (await busy.exchange("GET /"))["connection"] == "close"
    assert await busy.ending() == "closed"
    assert await idle.ending() == "closed"
    new = await proxy.connect(tls=None if after is None else trusting())
    assert (await new.exchange("GET /")).body == b"hello"


@on_each_loop
async def test_a_listener_without_usable_material_is_left_out_alone(proxy: InProcessProxy, tmp_path: Path) -> None:
    other = proxy.listen()
    missing = {"cert": str(tmp_path / "cert.pem"), "key": server_certificate().key_text}
    report = await proxy.apply(HELLO, listeners=[proxy.listener(), proxy.listener(other, tls=missing)])
    (problem,) = report.problems
    assert (problem.kind, problem.id) == ("listener", f"listener-{other}")
    assert problem.reason == f"tls.cert: {tmp_path}/cert.pem: No such file or directory"
    assert (await (await proxy.connect()).exchange("GET /")).body == b"hello"
    with pytest.raises(ConnectionRefusedError):
        await proxy.connect(other)


@on_each_loop
async def test_a_connection_in_its_handshake_is_drained_with_the_others(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    async with bare(proxy) as waiting, bare(proxy) as client:
        await eventually_async(lambda: proxy.data_plane.status().connections == 2, what="both are accepted")
        await proxy.apply(HELLO, listeners=[])
        # A request that is on its way is answered, after a handshake that was.
        await client.shake_hands()
        client.send(GET)
        assert b"connection: close\r\n" in await client.receive_until(b"hello")
        assert await client.ending() == (b"", "goodbye")
        assert await waiting.receive_raw() == b""
