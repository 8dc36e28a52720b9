"""What expressions see of a certificate, made by one library and described by another."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vrata.proxy.listener.client_certificate import ClientCertificate

Part = list[tuple[x509.ObjectIdentifier, str]]


def described(*parts: Part, serial: int = 0x0ABC, names: list[x509.GeneralName] | None = None) -> dict[str, Any]:
    """What the ssl module says of a certificate with the given subject, as after a handshake."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(*pair) for pair in part]) for part in parts]
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(key, SHA256())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate.public_bytes(Encoding.PEM).decode())
    # An authority is described without a handshake.
    (found,) = context.get_ca_certs()
    return dict(found)


COUNTRY: Part = [(NameOID.COUNTRY_NAME, "DE")]


@pytest.mark.parametrize(
    ("parts", "subject"),
    [
        ([[(NameOID.COMMON_NAME, "a")]], "CN=a"),
        ([COUNTRY, [(NameOID.ORGANIZATION_NAME, "b")], [(NameOID.COMMON_NAME, "a")]], "CN=a,O=b,C=DE"),
        (
            [
                [(NameOID.DOMAIN_COMPONENT, "org")],
                [(NameOID.DOMAIN_COMPONENT, "example")],
                [(NameOID.STATE_OR_PROVINCE_NAME, "s")],
                [(NameOID.LOCALITY_NAME, "l")],
                [(NameOID.STREET_ADDRESS, "w")],
                [(NameOID.ORGANIZATIONAL_UNIT_NAME, "u")],
                [(NameOID.USER_ID, "i")],
            ],
            "UID=i,OU=u,STREET=w,L=l,ST=s,DC=example,DC=org",
        ),
        ([[(NameOID.EMAIL_ADDRESS, "a@b")], [(NameOID.SERIAL_NUMBER, "7")]], "serialNumber=7,emailAddress=a@b"),
        # What could be taken for another name is escaped (RFC 4514 §2.4).
        ([[(NameOID.COMMON_NAME, "a,O=b")]], "CN=a\\,O=b"),
        ([[(NameOID.COMMON_NAME, 'a+b"c\\d;e<f>g')]], 'CN=a\\+b\\"c\\\\d\\;e\\<f\\>g'),
        ([[(NameOID.COMMON_NAME, "#1")]], "CN=\\#1"),
        ([[(NameOID.COMMON_NAME, " a b ")]], "CN=\\ a b\\ "),
        ([[(NameOID.COMMON_NAME, "Zoë")]], "CN=Zoë"),
    ],
)
def test_the_subject_is_a_distinguished_name_with_the_last_part_first(parts: list[Part], subject: str) -> None:
    assert ClientCertificate(described(*parts)).subject == subject


def test_parts_of_several_values_are_joined_by_plus() -> None:
    part: Part = [(NameOID.COMMON_NAME, "a"), (NameOID.USER_ID, "b")]
    assert sorted(ClientCertificate(described(COUNTRY, part)).subject.removesuffix(",C=DE").split("+")) == [
        "CN=a",
        "UID=b",
    ]


@pytest.mark.parametrize("serial", [1, 0x0ABC, 0xF0, 2**159 - 1])
def test_the_serial_is_in_lower_case_without_leading_zeros(serial: int) -> None:
    assert ClientCertificate(described(COUNTRY, serial=serial)).serial == f"{serial:x}"


def test_names_come_by_kind_and_in_order() -> None:
    names: list[x509.GeneralName] = [
        x509.DNSName("a.example"),
        x509.UniformResourceIdentifier("spiffe://one"),
        x509.RFC822Name("a@example"),
        x509.DNSName("*.b.example"),
        x509.UniformResourceIdentifier("spiffe://two;three"),
    ]
    certificate = ClientCertificate(described(COUNTRY, names=names))
    assert certificate.dns_names == ("a.example", "*.b.example")
    assert certificate.uris == ("spiffe://one", "spiffe://two;three")


def test_a_certificate_may_have_no_names_at_all() -> None:
    certificate = ClientCertificate(described(COUNTRY))
    assert (certificate.uris, certificate.dns_names) == ((), ())
    assert ClientCertificate({"serialNumber": "01"}).subject == ""
