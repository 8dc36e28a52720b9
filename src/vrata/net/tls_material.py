"""TLS material of servers and clients alike: certificates, keys and authorities read and checked, versions limited."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path
from typing import Final

from vrata.model.pem import certificate_failure, is_pem, key_failure, pair_failure
from vrata.net import pem_file

_VERSIONS: Final = {
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}

_REASONS: Final = {"CALLBACK_FAILED": "no certificate for the name that was asked for"}
"""OpenSSL's reasons for which there are better words. Only one callback of ours can fail, that which chooses a
certificate."""


class TlsMaterialError(Exception):
    """Certificate, key or authorities cannot be used; the text says why, and never quotes a key."""


def pair_read(prefix: str, cert: str, key: str) -> tuple[str, str]:
    """The texts of a certificate and its key, each of which is text already or the path of a file.

    *prefix* stands before the names of the two members. Raises :class:`TlsMaterialError` that names the member, the
    file and the reason.
    """
    cert_text, key_text = text_read(f"{prefix}cert", cert), text_read(f"{prefix}key", key)
    if (reason := pair_failure(cert_text, key_text)) is not None:
        raise TlsMaterialError(f"tls.{prefix}key: {place_of(key)}{reason}")
    return cert_text, key_text


def text_read(member: str, value: str) -> str:
    """The text of one *member*, as above; a name that ends with ``key`` is that of a key."""
    try:
        text = value if is_pem(value) else pem_file.read(Path(value))
    except (OSError, ValueError) as error:
        raise TlsMaterialError(f"tls.{member}: {place_of(value)}{reason_of(error)}") from None
    failure = (key_failure if member.endswith("key") else certificate_failure)(text)
    if failure is not None:
        raise TlsMaterialError(f"tls.{member}: {place_of(value)}{failure}")
    return text


def place_of(value: str) -> str:
    """The file that *value* names, as the beginning of a message; empty for text."""
    return "" if is_pem(value) else f"{value[:200]}: "


def limit_versions(context: ssl.SSLContext, oldest: str, newest: str | None) -> None:
    """Have *context* speak these versions and those between them."""
    with warnings.catch_warnings():
        # The ssl module warns of the old versions; the snapshot that asks for them has the warning.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[oldest]
        if newest is not None:
            context.maximum_version = _VERSIONS[newest]


def reason_of(error: Exception) -> str:
    """What *error* says, without the names of C sources."""
    if isinstance(error, ssl.SSLError):
        found = getattr(error, "verify_message", "") or _REASONS.get(error.reason, error.reason)
        return found.replace("_", " ").lower() if found else "OpenSSL cannot read it"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
