"""TLS towards upstreams: whom we trust to be the one we mean, what we show of ourselves, and sessions to resume.

A context is made once for all who have the same settings, whatever the name of the server: it holds the authorities and
the client's certificate, and reading those is what costs.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from vrata.model.pem import is_pem
from vrata.model.tls import DEFAULT_MIN_VERSION, DestinationTls
from vrata.net import pem_file
from vrata.net.tls_material import TlsMaterialError, limit_versions, pair_read, reason_of, text_read

HTTP2: Final = "h2"
"""What ALPN calls HTTP/2 over TLS (RFC 9113 §3.2)."""

_HTTP1: Final = ("http/1.1",)
_BOTH: Final = (HTTP2, *_HTTP1)

_LEGACY_CIPHERS: Final = "DEFAULT:@SECLEVEL=0"
"""The signatures of TLS 1.0 and 1.1 are below OpenSSL's usual level."""

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")

LONGEST_SESSION: Final = 3600.0
"""Seconds for which a session is resumed at most: so long ago a certificate may have been verified."""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How connections to a destination are secured. Equal to another one that comes to the same."""

    context: ssl.SSLContext
    server_name: str
    """What the server is asked for, and what its certificate has to say; an IP address is not sent (RFC 6066 §3)."""
    names: tuple[str, ...] = ()
    """Of these alternative names the certificate has to carry one instead; empty for none."""
    http1: UpstreamTls | None = None
    """The same for a connection that is to speak HTTP/1; None where this one offers nothing else."""

    def refusal(self, session: ssl.SSLObject) -> str:
        """Why the server of *session*, whose certificate OpenSSL has found to be good, is another one than we mean."""
        if not self.names:
            return ""  # OpenSSL has looked at the server's name
        try:
            certificate: Any = session.getpeercert()
        except ValueError as error:
            return f"the certificate cannot be read: {error}"
        found = certificate.get("subjectAltName", ()) if certificate else ()
        if any(_is_named(name, kind, value) for kind, value in found for name in self.names):
            return ""
        return "the certificate has none of the subjectAltNames"


class TlsSessions:
    """The session with one endpoint that can be resumed: that of the last handshake that was a full one.

    Resuming verifies nothing again, so a session is as good as what it began with, for a while. It belongs to the
    context that it was made with.
    """

    __slots__ = ("_session", "_until")

    def __init__(self) -> None:
        self._session: ssl.SSLSession | None = None
        self._until = 0.0

    def __repr__(self) -> str:
        return f"<TlsSessions {'none' if self.offered() is None else f'until {self._until:.0f}'}>"

    def offered(self) -> ssl.SSLSession | None:
        """What to offer the server, or None."""
        if self._session is not None and time.time() >= self._until:
            self._session = None
        return self._session

    def learn(self, session: ssl.SSLObject) -> None:
        """Keep *session*, if the server has issued a ticket for it by now."""
        if session.session_reused:
            return
        issued, certificate = session.session, session.getpeercert()
        if issued is None or not certificate or not (issued.has_ticket or session.version() != "TLSv1.3"):
            return
        lifetime = min(issued.ticket_lifetime_hint or issued.timeout, LONGEST_SESSION)
        not_after: Any = certificate["notAfter"]
        self._until = min(time.time() + lifetime, ssl.cert_time_to_seconds(not_after))
        self._session = issued


def is_confirmed(session: ssl.SSLObject) -> bool:
    """Whether the server is known to have completed the handshake of *session* as well.

    In TLS 1.3 the client completes it first, and then shows its certificate: only a ticket, or content, tells it that
    the server is content.
    """
    found = session.session
    return session.version() != "TLSv1.3" or (found is not None and found.has_ticket)


def upstream_tls(tls: DestinationTls, host: str, *, http2: bool = False) -> UpstreamTls:
    """How to reach a destination on *host* whose *tls* names no files. Raises :class:`TlsMaterialError`.

    By ALPN (RFC 7301) HTTP/1.1 is offered, and with *http2* HTTP/2 before it, unless TLS 1.2 is not allowed, which
    that needs (RFC 9113 §9.2).
    """
    server_name, names = (tls.sni or host).removesuffix("."), tuple(map(str, tls.subject_alt_names))
    http1 = UpstreamTls(_shared_context(tls, _HTTP1), server_name, names)
    if not http2 or tls.max_version in ("TLSv1_0", "TLSv1_1"):
        return http1
    return UpstreamTls(_shared_context(tls, _BOTH), server_name, names, http1)


def _shared_context(tls: DestinationTls, protocols: tuple[str, ...]) -> ssl.SSLContext:
    has_names = bool(tls.subject_alt_names)
    certificate = (tls.cert, tls.key) if tls.mode == "mtls" else ("", "")
    versions = (tls.min_version or "", tls.max_version or "")
    key = (*certificate, tls.ca, *versions, "names" if has_names else "", *protocols)
    context = _contexts.get(key)
    if context is None:
        try:
            context = _contexts[key] = _context(tls, has_names, protocols)
        except (OSError, ValueError) as error:
            raise TlsMaterialError(f"tls: cannot be used: {reason_of(error)}") from None
    return context


_contexts: WeakValueDictionary[tuple[str, ...], ssl.SSLContext] = WeakValueDictionary()


def with_files_read(tls: DestinationTls) -> DestinationTls:
    """The same *tls* with the text of each file instead of its path.

    Raises :class:`TlsMaterialError` that names the member, the file and the reason.
    """
    cert, key = pair_read("", tls.cert, tls.key) if tls.mode == "mtls" else (tls.cert, tls.key)
    ca = text_read("ca", tls.ca) if tls.ca else ""
    if (cert, key, ca) == (tls.cert, tls.key, tls.ca):
        return tls
    return tls.model_copy(update={"cert": cert, "key": key, "ca": ca})


def files_of(tls: DestinationTls) -> list[Path]:
    """The files that *tls* names and that are of use in its mode."""
    values = (tls.cert, tls.key, tls.ca) if tls.mode == "mtls" else (tls.ca,)
    return [Path(value) for value in values if value and not is_pem(value)]


def _context(tls: DestinationTls, has_names: bool, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    oldest = tls.min_version or DEFAULT_MIN_VERSION
    limit_versions(context, oldest, tls.max_version)
    if oldest in ("TLSv1_0", "TLSv1_1"):
        context.set_ciphers(_LEGACY_CIPHERS)
    context.set_alpn_protocols(protocols)
    context.check_hostname = not has_names
    # A subject's common name is no name of a server (RFC 9525 §2).
    context.hostname_checks_common_name = False
    if tls.ca:
        with pem_file.as_file(tls.ca.strip()) as ca_path:
            context.load_verify_locations(ca_path)
        # An authority that is named here is trusted, also if somebody else has signed it.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    elif (directory := _hashed_authorities()) is not None:
        context.load_verify_locations(capath=directory)
    else:
        context.load_default_certs()
    if tls.mode == "mtls":
        with pem_file.as_file(tls.cert.strip()) as cert_path, pem_file.as_file(tls.key.strip()) as key_path:
            pem_file.load_pair(context, cert_path, key_path)
    return context


@cache
def _hashed_authorities() -> str | None:
    """The system's directory in which OpenSSL finds an authority when it is asked for; None where there is no such.

    The bundle of all of them takes 45 ms and 800 KiB for each context that it is read for.
    """
    # Each is None where there is no such thing.
    paths: Any = ssl.get_default_verify_paths()
    if paths.openssl_cafile_env in os.environ:
        return None  # somebody names authorities that the directory may not have
    try:
        hashed = sum(_HASHED.fullmatch(found.name) is not None for found in Path(paths.capath or "/dev/null").iterdir())
        bundled = Path(paths.cafile or "/dev/null").read_bytes().count(b"-----BEGIN CERTIFICATE-----")
    except OSError:
        return None
    return str(paths.capath) if hashed >= bundled > 0 else None


def _is_named(wanted: str, kind: str, value: str) -> bool:
    """Whether an alternative name of a certificate, as ``getpeercert`` describes it, is the *wanted* one."""
    address = _address(wanted)
    if address is not None:
        return kind == "IP Address" and _address(value.strip()) == address
    if ":" in wanted:
        return kind == "URI" and value == wanted
    if kind != "DNS":
        return False
    name, value = wanted.lower().removesuffix("."), value.lower()
    if value.startswith("*."):
        return "." in value[2:] and name.partition(".")[2] == value[2:]
    return name == value


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
