"""Listeners with several certificates: which one a client gets for the name that it asks for (SNI, RFC 6066 §3)."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.bare_tls_client import BareTlsClient
from tests.support.certificates import Certificate
from tests.support.gateway import Document
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend
from tests.support.tls_listener import (
    GET,
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
from vrata.net import server_tls

SPIFFE = "spiffe://mesh/ns/shop/sa/web"
CERTIFICATES = {
    "default": server_certificate(),  # proxy.test
    "shop": authority().issue("shop.test"),
    "tenants": authority().issue("*.tenants.test"),
    "special": authority().issue("special.tenants.test"),
    "many": authority().issue("first.test", dns_names=["Second.test", "*.third.test"]),
    "renamed": authority().issue("unused.test"),
    "wide": authority().issue("*.test"),
}


def entry(name: str, **members: Any) -> Document:
    found = CERTIFICATES[name]
    return {"cert": found.cert_text, "key": found.key_text, **members}


FURTHER = [
    *(entry(name) for name in ("wide", "shop", "tenants", "special", "many")),
    entry("renamed", hostnames=["Renamed.example", "*.renamed.example."]),
]


def several(**members: Any) -> Document:
    return terminating(CERTIFICATES["default"], certificates=FURTHER, **members)


def limited(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    return context


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
GIVEN: list[tuple[str, str]] = [
    ("shop.test", "shop"),
    ("SHOP.Test", "shop"),
    ("a.tenants.test", "tenants"),
    ("special.tenants.test", "special"),
    ("first.test", "many"),
    ("second.test", "many"),
    ("x.third.test", "many"),
    ("renamed.example", "renamed"),
    ("a.renamed.example", "renamed"),
    ("unused.test", "wide"),  # not by its own name, as others are stated for it
    ("elsewhere.test", "wide"),
    ("proxy.test", "default"),  # its own name goes before the wildcard of another
]
UNKNOWN = ["a.b.tenants.test", "tenants.example", "renamed.example.test.example", "a.a.renamed.example", None]


async def ask(client: BareTlsClient) -> None:
    """Shake hands and get an answer. In TLS 1.3 a client has done its part before it learns that it is refused."""
    await client.shake_hands()
    client.send(GET)
    await client.receive_until(b"ok")


def is_presented(session: ssl.SSLObject, certificate: Certificate) -> bool:
    return session.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(certificate.cert_text)


@pytest.mark.parametrize("version", VERSIONS)
@on_each_loop
async def test_which_certificate_is_presented_for_a_name(proxy: InProcessProxy, version: ssl.TLSVersion) -> None:
    await answer_hello(proxy, several())
    asked: list[tuple[str | None, str]] = [*GIVEN, *((name, "default") for name in UNKNOWN)]
    for name, expected in asked:
        context = limited(version)
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with established(proxy, context, name=name) as client:
            assert is_presented(client.session, CERTIFICATES[expected]), name
            assert client.session.version() == version.name.replace("_", ".")
            assert client.session.selected_alpn_protocol() == "http/1.1"
            client.send(GET)
            await client.receive_until(b"hello")


@pytest.mark.parametrize("version", VERSIONS)
@on_each_loop
async def test_who_asks_for_no_known_name_may_be_refused(proxy: InProcessProxy, version: ssl.TLSVersion) -> None:
    await answer_hello(proxy, several(strictSni=True))
    for name, expected in GIVEN:
        async with established(proxy, limited(version), name=name) as client:
            assert is_presented(client.session, CERTIFICATES[expected]), name
    for unknown in UNKNOWN:
        with capture_logs() as logs:
            async with bare(proxy, limited(version), name=unknown) as client:
                with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                    await client.shake_hands()
        assert [entry["reason"] for entry in logs] == ["no certificate for the name that was asked for"]


@on_each_loop
async def test_strictness_needs_no_further_certificates(proxy: InProcessProxy) -> None:
    await answer_hello(proxy, terminating(strictSni=True))
    async with established(proxy, name="proxy.test") as client:
        assert is_presented(client.session, server_certificate())
    async with bare(proxy, name="other.test") as client:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await client.shake_hands()


@pytest.mark.parametrize("name", ["shop.test", "proxy.test"])
@pytest.mark.parametrize("version", VERSIONS)
@on_each_loop
async def test_clients_are_verified_whatever_they_ask_for(
    proxy: InProcessProxy, tmp_path: Path, version: ssl.TLSVersion, name: str
) -> None:
    tls = several(clientAuth={"mode": "require", "ca": client_authority().cert_text})
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, tls)
        for number, (issuer, is_let_in) in enumerate(((client_authority(), True), (authority(), False), (None, False))):
            directory = tmp_path / str(number)
            directory.mkdir()
            certificate = None if issuer is None else issuer.issue("web", uris=[SPIFFE])
            context = authority().client_context(certificate, directory)
            context.minimum_version = context.maximum_version = version
            async with bare(proxy, context, name=name) as client:
                if is_let_in:
                    await ask(client)
                else:
                    with pytest.raises(ssl.SSLError, match="ALERT"):
                        await ask(client)
        (seen,) = backend.requests
        assert seen.all("x-forwarded-client-cert") == [SPIFFE]


@pytest.mark.parametrize("version", VERSIONS)
@on_each_loop
async def test_a_session_is_resumed_with_its_client_under_another_name_too(
    proxy: InProcessProxy, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    # All names of a listener let in the same clients on the same terms, so this changes nothing for anybody.
    context = authority().client_context(client_authority().issue("web", uris=[SPIFFE]), tmp_path)
    context.minimum_version = context.maximum_version = version
    tls = several(clientAuth={"mode": "require", "ca": client_authority().cert_text}, strictSni=True)
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, tls)
        session: ssl.SSLSession | None = None
        for name in ("shop.test", "shop.test", "proxy.test"):
            async with bare(proxy, context, name=name) as client:
                if session is not None:
                    client.session.session = session
                await client.shake_hands()
                client.send(GET)
                await client.receive_until(b"ok")
                assert client.session.session_reused is (session is not None)
                session = session or client.session.session
        assert [seen.all("x-forwarded-client-cert") for seen in backend.requests] == [[SPIFFE]] * 3
        if version is ssl.TLSVersion.TLSv1_3:
            # In TLS 1.2 OpenSSL goes by the name in the session, which was a good one.
            async with bare(proxy, context, name="unknown.example") as client:
                client.session.session = session
                with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                    await client.shake_hands()


@on_each_loop
async def test_a_renewed_certificate_leaves_connections_and_the_other_certificates_alone(
    proxy: InProcessProxy,
) -> None:
    await answer_hello(proxy, several())
    async with established(proxy, name="shop.test") as old:
        renewed = authority().issue("shop.test")
        further = [{"cert": renewed.cert_text, "key": renewed.key_text}, entry("tenants")]
        await answer_hello(proxy, terminating(certificates=further))
        for name, expected in (
            ("shop.test", renewed),
            ("a.tenants.test", CERTIFICATES["tenants"]),
            ("first.test", server_certificate()),
        ):
            async with established(proxy, name=name) as client:
                assert is_presented(client.session, expected), name
        old.send(GET)
        head, _ = await old.receive_head()
        assert b"connection" not in head


@on_each_loop
async def test_a_name_that_is_not_ascii_ends_the_handshake_and_is_not_written_about(
    proxy: InProcessProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    server_tls.ignore_unreadable_names()
    await answer_hello(proxy, several())
    with capture_logs() as logs:
        async with bare(proxy, name="aaaaaaaa.test") as client:
            client.send_raw(client.hello().replace(b"aaaaaaaa", b"\xff" * 8))
            answer = await client.receive_raw()
    assert answer[:1] == b"\x15"  # an alert
    assert [entry["event"] for entry in logs] == ["TLS handshake failed"]
    assert reported == []
    async with established(proxy) as client:
        assert is_presented(client.session, server_certificate())


def test_other_unraisable_errors_are_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    server_tls.ignore_unreadable_names()

    class Failing:
        def __del__(self) -> None:
            raise UnicodeDecodeError("ascii", b"\xff", 0, 1, "not by us")

    Failing()
    assert len(reported) == 1
