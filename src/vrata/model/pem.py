"""PEM material: certificates and private keys, given as text or as the path of a file.

Text that begins with `-----BEGIN` after trimming is PEM; everything else is a path, and nobody looks at the file here.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from vrata.model.host import check_server_name
from vrata.model.reference import contains_reference

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate


def is_pem(text: str) -> bool:
    """Tell PEM text from the path of a file."""
    return text.lstrip().startswith("-----BEGIN")


def check_path_or_pem(text: str) -> None:
    """Refuse text that can be neither PEM nor a path, such as PEM with a preamble.

    Raises:
        ValueError: with the reason.

    """
    if not contains_reference(text) and not is_pem(text) and ("\n" in text or "\0" in text):
        raise ValueError('must be PEM text that begins with "-----BEGIN", or the path of a file')


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    """Every DNS name and IP address among the subject's alternative names, in order."""
    not_after: datetime
    """The last moment at which it is valid."""

    @property
    def server_names(self) -> tuple[str, ...]:
        """The names that a client can ask for in a handshake, in lower case: no IP addresses (RFC 6066 §3), and of
        wildcards those that are a whole label, the left-most (RFC 9525 §6.3)."""
        return tuple(name.lower() for name in self.names if _is_server_name(name))


@lru_cache(maxsize=512)
def certificate_facts(text: str) -> CertificateFacts:
    """What the first certificate of PEM text says of itself; the text has been found to be good."""
    from cryptography import x509

    certificate = _certificates(text)[0]
    names: tuple[str, ...] = ()
    # Who has no such names, or some that cannot be read, is known under none: the subject's common name does not count.
    with contextlib.suppress(x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in found if isinstance(name, x509.DNSName | x509.IPAddress))
    return CertificateFacts(names, certificate.not_valid_after_utc)


@lru_cache(maxsize=512)
def certificate_failure(text: str) -> str | None:
    """Say why PEM text is no certificate or chain of certificates; None if it is one."""
    try:
        _certificates(text)
    except ValueError as error:
        return f"is not a valid PEM certificate: {error}"
    return None


# Private keys are not cached, so that none stays in memory after its entity is gone.
def key_failure(text: str) -> str | None:
    """Say why PEM text is no usable private key; None if it is one. Never quotes the text."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        _private_key(text)
    except TypeError:
        return "must be a private key without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "is not a valid PEM private key"
    return None


def pair_failure(certificate: str, key: str) -> str | None:
    """Say why a private key does not fit the first certificate of a chain; both have been checked alone."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = _certificates(certificate)[0].public_key()
    if _private_key(key).public_key().public_bytes(*form) != public.public_bytes(*form):
        return "does not belong to the certificate"
    return None


def _is_server_name(name: str) -> bool:
    try:
        check_server_name(name)
    except ValueError:
        return False
    return True


def _private_key(text: str) -> "PrivateKeyTypes":
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    # Proving that an RSA key is sound takes 100 ms; whether it fits its certificate is asked in any case.
    return load_pem_private_key(text.strip().encode(), password=None, unsafe_skip_rsa_key_validation=True)


def _certificates(text: str) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates

    certificates = load_pem_x509_certificates(text.strip().encode())
    for certificate in certificates:
        certificate.public_key()  # parsed lazily: an unknown key type shows only here
    return certificates
