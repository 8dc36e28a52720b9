"""TLS contexts of servers: what material they take, what they say of material they do not take."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.certificates import Authority, Certificate
from vrata.model.tls import ClientAuth, ListenerTls
from vrata.net import pem_file
from vrata.net.server_tls import files_of, listener_context, server_context, with_files_read
from vrata.net.tls_material import TlsMaterialError

AUTHORITY = Authority("authority")
CERTIFICATE = AUTHORITY.issue("proxy.test")
OTHER = AUTHORITY.issue("other.test")


@pytest.fixture
def files(tmp_path: Path) -> ListenerTls:
    cert = CERTIFICATE.cert_file(tmp_path / "cert.pem")
    key = CERTIFICATE.key_file(tmp_path / "key.pem")
    ca = tmp_path / "ca.pem"
    ca.write_text(AUTHORITY.cert_text)
    client_auth = {"mode": "require", "ca": str(ca)}
    return ListenerTls.model_validate({"cert": str(cert), "key": str(key), "clientAuth": client_auth})


def test_what_every_context_does_without() -> None:
    context = server_context(CERTIFICATE.cert_text, CERTIFICATE.key_text)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.verify_mode is ssl.CERT_NONE
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher


def test_white_space_around_the_text_is_nothing() -> None:
    padded = (f"\n  {CERTIFICATE.cert_text}\n", f"  \n{CERTIFICATE.key_text}")
    context = server_context(*padded, ca=f" {AUTHORITY.cert_text}", client_auth="require")
    assert len(context.get_ca_certs()) == 1


def test_an_authority_that_another_one_signed_is_trusted_all_the_same() -> None:
    context = server_context(
        CERTIFICATE.cert_text, CERTIFICATE.key_text, ca=AUTHORITY.cert_text, client_auth="optional"
    )
    assert context.verify_mode is ssl.CERT_OPTIONAL
    assert context.verify_flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def test_files_are_read_in_whatever_stands_before_the_text(files: ListenerTls) -> None:
    path = Path(files.cert)
    path.write_bytes("Bag Attributes\n    friendlyName: Tür\n".encode("latin-1") + path.read_bytes())
    read = with_files_read(files)
    assert read.cert == CERTIFICATE.cert_text
    assert read.key == CERTIFICATE.key_text
    assert read.client_auth == ClientAuth(mode="require", ca=AUTHORITY.cert_text)
    assert files_of(files) == [Path(files.cert), Path(files.key), Path(files.client_auth.ca)]
    assert files_of(read) == []
    assert with_files_read(read) is read
    assert listener_context(read).verify_mode is ssl.CERT_REQUIRED


def encrypted(key_text: str) -> str:
    key = load_pem_private_key(key_text.encode(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("cert", None, "No such file or directory"),
        ("key", None, "No such file or directory"),
        ("ca", None, "No such file or directory"),
        ("cert", "no certificate", "holds no PEM text"),
        ("key", "", "holds no PEM text"),
        ("cert", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is not a valid PEM certificate: "),
        ("ca", CERTIFICATE.key_text, "is not a valid PEM certificate: "),
        ("key", CERTIFICATE.cert_text, "is not a valid PEM private key"),
        ("key", encrypted(CERTIFICATE.key_text), "must be a private key without a passphrase"),
        ("key", OTHER.key_text, "does not belong to the certificate"),
        ("cert", CERTIFICATE.cert_text + "x" * pem_file.MOST_BYTES, f"is larger than {pem_file.MOST_BYTES} bytes"),
    ],
)
def test_what_is_said_of_a_file_that_is_no_good(
    files: ListenerTls, member: str, content: str | None, reason: str
) -> None:
    path = Path(files.client_auth.ca if member == "ca" else getattr(files, member))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(TlsMaterialError) as refused:
        with_files_read(files)
    name = "clientAuth.ca" if member == "ca" else member
    assert str(refused.value).startswith(f"tls.{name}: {path}: {reason}")


def test_what_is_no_regular_file_is_not_waited_for(files: ListenerTls) -> None:
    path = Path(files.cert)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TlsMaterialError, match="is not a regular file"):
        with_files_read(files)
    with pytest.raises(TlsMaterialError, match=r"Is a directory|is not a regular file"):
        with_files_read(files.model_copy(update={"cert": str(path.parent)}))


def weak() -> Certificate:
    """What cryptography can read and OpenSSL does not want: a key that is too small."""
    return AUTHORITY.issue("weak.test", key=rsa.generate_private_key(65537, 1024))


def test_what_only_openssl_refuses_is_reported_in_its_words() -> None:
    found = weak()
    tls = ListenerTls(cert=found.cert_text, key=found.key_text)
    with pytest.raises(TlsMaterialError, match=r"^tls: cannot be used: ee key too small$"):
        listener_context(with_files_read(tls))


def test_a_key_with_a_passphrase_is_not_asked_for() -> None:
    # If it were, the test would wait at the terminal.
    with pytest.raises(TlsMaterialError, match="passphrase"):
        server_context(CERTIFICATE.cert_text, encrypted(CERTIFICATE.key_text))


def test_no_key_is_ever_quoted(files: ListenerTls) -> None:
    secret = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    Path(files.key).write_text(secret)
    with pytest.raises(TlsMaterialError) as refused:
        with_files_read(files)
    assert secret.splitlines()[1] not in str(refused.value)
    assert secret.splitlines()[1] not in repr(files)
