"""TLS contexts of our servers: what they present, which versions and ciphers they speak, whom they let in.

The ssl module of Python gives each context a key of its own for session tickets and no way to set it. A ticket is
therefore good at the context that issued it: in one worker, until the material changes. Elsewhere the client gets a
full handshake.
"""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path
from typing import Final

from vrata.model.pem import certificate_failure, is_pem, key_failure, pair_failure
from vrata.model.tls import ListenerTls
from vrata.net import pem_file

_VERSIONS: Final = {
    "TLSv1_0": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}
_VERIFICATION: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption. TLS 1.3 has no others, and is not limited by this."""
_LEGACY_CIPHERS: Final = f"{_CIPHERS}:ECDHE+AES:@SECLEVEL=0"
"""TLS 1.0 and 1.1 know no authenticated encryption, and their signatures are below OpenSSL's usual level."""


class TlsMaterialError(Exception):
    """Certificate, key or authorities cannot be used; the text says why, and never quotes a key."""


def server_context(
    cert: str,
    key: str,
    *,
    ca: str = "",
    client_auth: str = "none",
    min_version: str = "TLSv1_2",
    max_version: str | None = None,
) -> ssl.SSLContext:
    """A context for a server that speaks HTTP/1.1.

    *cert* (with its chain), *key* and *ca*, the authorities of client certificates, are PEM texts; *client_auth* is
    ``none``, ``optional`` or ``require``. Raises :class:`TlsMaterialError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Compression would betray secrets by the size of a message (CRIME), and OpenSSL is built without it anyway;
    # renegotiation lets a client make us work without end.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        _limit_versions(context, min_version, max_version)
        context.set_alpn_protocols(["http/1.1"])
        # Stripped: OpenSSL finds the beginning of a block only at the beginning of a line.
        with pem_file.as_file(cert.strip()) as certificate_path, pem_file.as_file(key.strip()) as key_path:
            pem_file.load_pair(context, certificate_path, key_path)
        if client_auth != "none":
            with pem_file.as_file(ca.strip()) as ca_path:
                context.load_verify_locations(ca_path)
            # An authority that is named here is trusted, also if somebody else has signed it.
            context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
            context.verify_mode = _VERIFICATION[client_auth]
    except (OSError, ValueError) as error:
        raise TlsMaterialError(reason_of(error)) from None
    return context


def listener_context(tls: ListenerTls) -> ssl.SSLContext:
    """The context of a listener whose *tls* names no files. Raises :class:`TlsMaterialError`."""
    try:
        return server_context(
            tls.cert,
            tls.key,
            ca=tls.client_auth.ca,
            client_auth=tls.client_auth.mode,
            min_version=tls.min_version,
            max_version=tls.max_version,
        )
    except TlsMaterialError as error:
        raise TlsMaterialError(f"tls: cannot be used: {error}") from None


def with_files_read(tls: ListenerTls) -> ListenerTls:
    """The same *tls* with the text of each file instead of its path.

    What it holds then fits together. Raises :class:`TlsMaterialError` that names the member, the file and the reason.
    """
    cert = _text("cert", tls.cert)
    key = _text("key", tls.key)
    ca = _text("clientAuth.ca", tls.client_auth.ca) if tls.client_auth.ca else ""
    if (reason := pair_failure(cert, key)) is not None:
        raise TlsMaterialError(f"tls.key: {_place(tls.key)}{reason}")
    if (cert, key, ca) == (tls.cert, tls.key, tls.client_auth.ca):
        return tls
    client_auth = tls.client_auth.model_copy(update={"ca": ca})
    return tls.model_copy(update={"cert": cert, "key": key, "client_auth": client_auth})


def files_of(tls: ListenerTls) -> list[Path]:
    """The files that *tls* names."""
    values = (tls.cert, tls.key, tls.client_auth.ca)
    return [Path(value) for value in values if value and not is_pem(value)]


def reason_of(error: Exception) -> str:
    """What *error* says, without the names of C sources."""
    if isinstance(error, ssl.SSLError):
        found = getattr(error, "verify_message", "") or error.reason
        return found.replace("_", " ").lower() if found else "OpenSSL cannot read it"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _text(member: str, value: str) -> str:
    try:
        text = value if is_pem(value) else pem_file.read(Path(value))
    except (OSError, ValueError) as error:
        raise TlsMaterialError(f"tls.{member}: {_place(value)}{reason_of(error)}") from None
    failure = (key_failure if member == "key" else certificate_failure)(text)
    if failure is not None:
        raise TlsMaterialError(f"tls.{member}: {_place(value)}{failure}")
    return text


def _place(value: str) -> str:
    return "" if is_pem(value) else f"{value[:200]}: "


def _limit_versions(context: ssl.SSLContext, oldest: str, newest: str | None) -> None:
    with warnings.catch_warnings():
        # The ssl module warns of the old versions; the snapshot that asks for them has the warning.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[oldest]
        if newest is not None:
            context.maximum_version = _VERSIONS[newest]
    context.set_ciphers(_LEGACY_CIPHERS if oldest in ("TLSv1_0", "TLSv1_1") else _CIPHERS)
