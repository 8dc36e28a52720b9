from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from tests.support.certificates import Authority, Certificate
from vrata.config import Pem, ServerTLS
from vrata.controlplane.tls import ServerContext, TlsMaterialError


def settings(
    directory: Path, ca: str | None = None, client_auth: Literal["none", "optional", "require"] = "none"
) -> ServerTLS:
    ca_pem = None if ca is None else Pem(path=directory / "ca.pem")
    if ca is not None:
        (directory / "ca.pem").write_text(ca)
    return ServerTLS(Pem(path=directory / "cert.pem"), Pem(path=directory / "key.pem"), ca_pem, client_auth)


def install(certificate: Certificate, directory: Path) -> None:
    certificate.cert_file(directory / "cert.pem")
    certificate.key_file(directory / "key.pem")


def handshake(
    server: ServerContext, trusted: Authority, client: tuple[Path, Path] | None = None, name: str | None = "localhost"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The certificates that client and server see of each other. Raises ``ssl.SSLError`` on both sides' behalf."""
    context = ssl.create_default_context(cadata=trusted.cert_text)
    context.check_hostname = name is not None
    if client is not None:
        context.load_cert_chain(*client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.context.wrap_bio(to_server, to_client, server_side=True)
    unfinished = [ours, theirs]
    for _ in range(10):
        for side in tuple(unfinished):
            try:
                side.do_handshake()
                unfinished.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not unfinished
    return ours.getpeercert() or {}, theirs.getpeercert() or {}


def files(client: Certificate, directory: Path) -> tuple[Path, Path]:
    return client.cert_file(directory / "client.pem"), client.key_file(directory / "client.key")


def subject(certificate: dict[str, Any]) -> str:
    return str(certificate["subject"][0][0][1])


def test_a_renewed_certificate_is_used_for_new_handshakes(tmp_path: Path) -> None:
    authority = Authority("a")
    install(authority.issue("localhost"), tmp_path)
    server = ServerContext(settings(tmp_path))
    first, _ = handshake(server, authority)
    assert not server.refresh()
    install(authority.issue("localhost"), tmp_path)
    assert server.refresh()
    second, _ = handshake(server, authority)
    assert first["serialNumber"] != second["serialNumber"]
    assert handshake(server, authority, name=None)[0]["serialNumber"] == second["serialNumber"]


def test_unusable_material_is_refused_and_the_old_stays(tmp_path: Path) -> None:
    authority = Authority("a")
    install(authority.issue("localhost"), tmp_path)
    server = ServerContext(settings(tmp_path))
    good, _ = handshake(server, authority)
    authority.issue("localhost").key_file(tmp_path / "key.pem")
    with pytest.raises(TlsMaterialError, match=r"cert\.pem, .*key\.pem cannot be used: "):
        server.refresh()
    (tmp_path / "cert.pem").unlink()
    with pytest.raises(TlsMaterialError, match=r"controlPlane\.tls: .*cert\.pem: No such file"):
        server.refresh()
    assert handshake(server, authority)[0] == good
    install(authority.issue("localhost"), tmp_path)
    assert server.refresh()


def test_the_outcome_of_a_refresh_is_logged_and_a_complaint_only_once(tmp_path: Path) -> None:
    authority = Authority("a")
    install(authority.issue("localhost"), tmp_path)
    server = ServerContext(settings(tmp_path))
    with capture_logs() as log:
        server.try_refresh()
        (tmp_path / "cert.pem").write_text("broken")
        server.try_refresh()
        server.try_refresh()
        install(authority.issue("localhost"), tmp_path)
        server.try_refresh()
    assert [line["event"] for line in log] == [
        "certificates not reloaded, the old ones stay in use",
        "certificates reloaded",
    ]


def test_an_authority_that_was_withdrawn_vouches_for_nobody(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")
    install(old.issue("localhost"), tmp_path)
    server = ServerContext(settings(tmp_path, old.cert_text, "require"))
    assert subject(handshake(server, old, files(old.issue("a client"), tmp_path))[1]) == "a client"
    (tmp_path / "ca.pem").write_text(new.cert_text)
    assert server.refresh()
    assert subject(handshake(server, old, files(new.issue("another client"), tmp_path))[1]) == "another client"
    with pytest.raises(ssl.SSLError):
        handshake(server, old, files(old.issue("a client"), tmp_path))


def test_an_optional_client_certificate_is_verified_if_there_is_one(tmp_path: Path) -> None:
    authority = Authority("a")
    install(authority.issue("localhost"), tmp_path)
    server = ServerContext(settings(tmp_path, authority.cert_text, "optional"))
    assert handshake(server, authority)[1] == {}
    assert subject(handshake(server, authority, files(authority.issue("a client"), tmp_path))[1]) == "a client"
    with pytest.raises(ssl.SSLError):
        handshake(server, authority, files(Authority("unknown").issue("a client"), tmp_path))


def test_material_that_cannot_be_used_at_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("-----BEGIN nothing")
    (tmp_path / "key.pem").write_text("-----BEGIN nothing")
    with pytest.raises(TlsMaterialError, match="cannot be used"):
        ServerContext(settings(tmp_path))


def test_old_protocols_are_refused(tmp_path: Path) -> None:
    install(Authority("a").issue("localhost"), tmp_path)
    assert ServerContext(settings(tmp_path)).context.minimum_version is ssl.TLSVersion.TLSv1_2
