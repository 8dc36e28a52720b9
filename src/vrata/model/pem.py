"""PEM material: certificates and private keys, given as text or as the path of a file.

Text that begins with `-----BEGIN` after trimming is PEM; everything else is a path, and nobody looks at the file here.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

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
