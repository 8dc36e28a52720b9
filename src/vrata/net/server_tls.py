"""TLS contexts of our servers: what they present, which versions and ciphers they speak, whom they let in.

The ssl module of Python gives each context a key of its own for session tickets and no way to set it. A ticket is
therefore good at the context that issued it: in one worker, until the material changes. Elsewhere the client gets a
full handshake.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from vrata.model.pem import certificate_facts, is_pem
from vrata.model.tls import ListenerCertificate, ListenerTls, name_conflicts
from vrata.net import pem_file
from vrata.net.tls_material import TlsMaterialError, limit_versions, pair_read, place_of, reason_of, text_read

_VERIFICATION: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption. TLS 1.3 has no others, and is not limited by this."""
_LEGACY_CIPHERS: Final = f"{_CIPHERS}:ECDHE+AES:@SECLEVEL=0"
"""TLS 1.0 and 1.1 know no authenticated encryption, and their signatures are below OpenSSL's usual level."""

_PROTOCOLS: Final = ("http/1.1",)
_PROTOCOLS_WITH_HTTP2: Final = ("h2", *_PROTOCOLS)
"""What is agreed on by ALPN, the most wanted first (RFC 7301). A client that offers none of these is served without an
agreement: the ssl module cannot send the alert that the RFC asks for."""


def server_context(
    cert: str,
    key: str,
    *,
    ca: str = "",
    client_auth: str = "none",
    min_version: str = "TLSv1_2",
    max_version: str | None = None,
    http2: bool = False,
) -> ssl.SSLContext:
    """A context for a server that speaks HTTP/1.1, and *http2* if a client wants it.

    *cert* (with its chain), *key* and *ca*, the authorities of client certificates, are PEM texts; *client_auth* is
    ``none``, ``optional`` or ``require``. Raises :class:`TlsMaterialError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Compression would betray secrets by the size of a message (CRIME), and OpenSSL is built without it anyway;
    # renegotiation lets a client make us work without end.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        limit_versions(context, min_version, max_version)
        context.set_ciphers(_LEGACY_CIPHERS if min_version in ("TLSv1_0", "TLSv1_1") else _CIPHERS)
        context.set_alpn_protocols(_PROTOCOLS_WITH_HTTP2 if http2 else _PROTOCOLS)
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


def is_fit_for_http2(session: ssl.SSLObject) -> bool:
    """Whether *session*, whose handshake is over, is what RFC 9113 §9.2 asks for: TLS 1.2 or later, and no suite of
    appendix A, which lists all of TLS 1.2 but those with an ephemeral key exchange and authenticated encryption.

    The ssl module agrees on a protocol whatever becomes of the rest.
    """
    version, cipher = session.version(), session.cipher()
    if version == "TLSv1.3":
        return True
    name = cipher[0] if cipher is not None else ""
    return version == "TLSv1.2" and name.startswith(("ECDHE-", "DHE-")) and ("GCM" in name or "CHACHA20" in name)


def listener_context(tls: ListenerTls) -> ssl.SSLContext:
    """The context of a listener whose *tls* names no files. Raises :class:`TlsMaterialError`."""
    steps = building_listener_context(tls)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            context: ssl.SSLContext = end.value
            return context


def building_listener_context(tls: ListenerTls, *, http2: bool = False) -> Generator[None, None, ssl.SSLContext]:
    """The same in steps: each takes what one certificate takes, about 2 ms. Clients may ask for *http2* then."""
    context = _context(tls, "tls", tls.cert, tls.key, http2=http2)
    if tls.certificates or tls.strict_sni:
        yield
        others: dict[str, ssl.SSLContext] = {}
        for index, certificate in enumerate(tls.certificates):
            found = certificate_context(tls, certificate, f"certificates[{index}]", http2=http2)
            others.update(dict.fromkeys(certificate.server_names or (), found))
            yield
        context.sni_callback = _chooser(others, certificate_facts(tls.cert).server_names, strict=tls.strict_sni)
    return context


def certificate_context(
    tls: ListenerTls, certificate: ListenerCertificate, member: str, *, http2: bool = False
) -> ssl.SSLContext:
    """The context of a further *certificate* of a listener with *tls*; neither names a file. *member* is what holds it.

    While it is in use, it is the same for the same certificate: reading a key takes OpenSSL 2 ms. Raises
    :class:`TlsMaterialError`.
    """
    key = (
        *(certificate.cert, certificate.key, tls.client_auth.mode, tls.client_auth.ca),
        *(tls.min_version, tls.max_version, "h2" if http2 else ""),
    )
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = _context(tls, f"tls.{member}", certificate.cert, certificate.key, http2=http2)
    return context


_contexts: WeakValueDictionary[tuple[str | None, ...], ssl.SSLContext] = WeakValueDictionary()
"""Of further certificates. Session tickets are not theirs but the default context's, so listeners can share them."""


def with_files_read(tls: ListenerTls) -> ListenerTls:
    """The same *tls* with the text of each file instead of its path.

    What it holds then fits together. Raises :class:`TlsMaterialError` that names the member, the file and the reason.
    """
    read = default_with_files_read(tls)
    if not tls.certificates:
        return read
    certificates = tuple(
        certificate_with_files_read(certificate, f"certificates[{index}]")
        for index, certificate in enumerate(tls.certificates)
    )
    for problem in name_conflicts(certificates):
        raise TlsMaterialError(f"tls.{problem}")
    return read if certificates == tls.certificates else read.model_copy(update={"certificates": certificates})


def default_with_files_read(tls: ListenerTls) -> ListenerTls:
    """The same, but for the further certificates, which are left as they are."""
    cert, key = pair_read("", tls.cert, tls.key)
    ca = text_read("clientAuth.ca", tls.client_auth.ca) if tls.client_auth.ca else ""
    if (cert, key, ca) == (tls.cert, tls.key, tls.client_auth.ca):
        return tls
    client_auth = tls.client_auth.model_copy(update={"ca": ca})
    return tls.model_copy(update={"cert": cert, "key": key, "client_auth": client_auth})


def certificate_with_files_read(certificate: ListenerCertificate, member: str) -> ListenerCertificate:
    """The same further *certificate* with the texts of its files, known by some name. *member* is what holds it.

    Raises :class:`TlsMaterialError`.
    """
    cert, key = pair_read(f"{member}.", certificate.cert, certificate.key)
    if (cert, key) != (certificate.cert, certificate.key):
        certificate = certificate.model_copy(update={"cert": cert, "key": key})
    if not certificate.server_names:
        raise TlsMaterialError(f"tls.{member}: {place_of(certificate.cert)}has no DNS name to be asked for by")
    return certificate


def files_of(tls: ListenerTls) -> list[Path]:
    """The files that *tls* names."""
    further = (value for certificate in tls.certificates for value in (certificate.cert, certificate.key))
    values = (tls.cert, tls.key, tls.client_auth.ca, *further)
    return [Path(value) for value in values if value and not is_pem(value)]


def ignore_unreadable_names() -> None:
    """Keep the standard error of this process clear of names in handshakes that are not ASCII.

    The ssl module fails such a handshake before anybody of ours is asked, which is as it should be, and then writes a
    traceback for it there. Any client could fill a log with those.
    """
    hook = sys.unraisablehook

    def report(found: sys.UnraisableHookArgs) -> None:
        if not (found.exc_type is UnicodeDecodeError and isinstance(found.object, bytes)):
            hook(found)

    sys.unraisablehook = report


def _context(tls: ListenerTls, member: str, cert: str, key: str, *, http2: bool) -> ssl.SSLContext:
    """A certificate's context. All of a listener's are made the same way, since OpenSSL looks some things up in that of
    the client's choice, such as the authorities, and others in the default one, such as the versions."""
    try:
        return server_context(
            cert,
            key,
            ca=tls.client_auth.ca,
            client_auth=tls.client_auth.mode,
            min_version=tls.min_version,
            max_version=tls.max_version,
            http2=http2,
        )
    except TlsMaterialError as error:
        raise TlsMaterialError(f"{member}: cannot be used: {error}") from None


def _chooser(
    others: Mapping[str, ssl.SSLContext], default_names: Iterable[str], *, strict: bool
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    """A callback that gives a session the context for the name that its client asks for (RFC 6066 §3).

    The name itself goes before the wildcard for it, and the *others* before the default one, whose *default_names* are.
    For all other names it is the default one as well, unless it is to be *strict*.
    """
    ours = frozenset(default_names)

    def choose(session: ssl.SSLObject, name: str | None, default: ssl.SSLContext) -> int | None:
        exact = "" if name is None else name.lower().removesuffix(".")
        for known in (exact, "*." + exact.partition(".")[2]):
            context = others.get(known)
            if context is not None:
                session.context = context
                return None
            if known in ours:
                return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME if strict else None

    return choose
