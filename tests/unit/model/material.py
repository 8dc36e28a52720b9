"""Certificates and keys for tests, made once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID


class Material(NamedTuple):
    """PEM texts that belong together."""

    cert: str
    key: str
    encrypted_key: str
    public_key: str


@cache
def material(common_name: str = "localhost") -> Material:
    """A self-signed certificate with its key; another name, another key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = (Encoding.PEM, PrivateFormat.PKCS8)
    return Material(
        cert=certificate.public_bytes(Encoding.PEM).decode(),
        key=key.private_bytes(*pem, NoEncryption()).decode(),
        encrypted_key=key.private_bytes(*pem, BestAvailableEncryption(b"passphrase")).decode(),
        public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )
