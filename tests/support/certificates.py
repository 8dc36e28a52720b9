"""Certificates that exist for one test."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOUR = timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM text."""

    cert_text: str
    key_text: str

    def cert_file(self, path: Path) -> Path:
        path.write_text(self.cert_text)
        return path

    def key_file(self, path: Path) -> Path:
        path.write_text(self.key_text)
        return path


class Authority:
    """Issues certificates; ``cert_text`` is what others trust."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._cert = builder.add_extension(usage, critical=True).sign(self._key, SHA256())
        self.cert_text = self._cert.public_bytes(Encoding.PEM).decode()

    def issue(
        self,
        name: str,
        *,
        uris: Iterable[str] = (),
        dns_names: Iterable[str] = (),
        lifetime: timedelta = HOUR,
        key: Key | None = None,
    ) -> Certificate:
        """A certificate for a host name, an IP address, or anything else that has a name.

        *uris* and *dns_names* are further names of it. It began to be valid an hour ago, and ends *lifetime* from now.
        """
        key = key or ec.generate_private_key(ec.SECP256R1())
        try:
            subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            subject = x509.DNSName(name.replace(" ", "-"))
        names = [
            subject,
            *(x509.DNSName(further) for further in dns_names),
            *(x509.UniformResourceIdentifier(uri) for uri in uris),
        ]
        builder = self._builder(_name(name), key.public_key(), lifetime)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        cert = builder.add_extension(identifier, critical=False).sign(self._key, SHA256())
        key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Certificate(cert.public_bytes(Encoding.PEM).decode(), key_text)

    def without_names(self, common_name: str) -> Certificate:
        """A certificate with no alternative names at all."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._builder(_name(common_name), key.public_key()).sign(self._key, SHA256())
        key_text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Certificate(cert.public_bytes(Encoding.PEM).decode(), key_text)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, lifetime: timedelta = HOUR
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - HOUR)
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def client_context(self, certificate: Certificate | None = None, path: Path | None = None) -> ssl.SSLContext:
        """A client that trusts this authority alone, and shows *certificate*, for which files are written below *path*.

        No host names: what servers of tests are called is of no interest.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.cert_text)
        if certificate is not None:
            assert path is not None
            context.load_cert_chain(
                certificate.cert_file(path / "client.pem"), certificate.key_file(path / "client-key.pem")
            )
        return context
