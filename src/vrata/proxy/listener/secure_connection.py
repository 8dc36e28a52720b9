"""One client's connection over TLS: what the handshake tells of the client, and how such a connection can end."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from typing import Any, cast

import structlog

from vrata.net.server_tls import is_fit_for_http2
from vrata.net.tls_transport import TlsTransport
from vrata.proxy.listener.client_certificate import ClientCertificate
from vrata.proxy.listener.connection import DownstreamConnection
from vrata.proxy.listener.http2_connection import Http2Connection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.time_limits import LINGER
from vrata.wire.http2.errors import INADEQUATE_SECURITY

_PLAIN_HTTP_BODY = b"this port speaks HTTPS, the request came in plain HTTP\n"
PLAIN_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
) % (len(_PLAIN_HTTP_BODY), _PLAIN_HTTP_BODY)

_log = structlog.get_logger("vrata.proxy.listener")


class SecureConnection(DownstreamConnection):
    """A connection whose transport is a :class:`~vrata.net.tls_transport.TlsTransport`: a ``CarriedProtocol`` of it.

    The listener's ``clientHeader`` limits the time from accepting to the first byte of a request, handshake included.
    """

    def __init__(self, owner: ConnectionOwner) -> None:
        super().__init__(owner)
        self.scheme = b"https"
        self._speaks_clear = False

    def handshake_completed(self, session: ssl.SSLObject) -> None:
        """Take down who the client is, once for all requests of the connection."""
        # Without a certificate that was verified there is nothing in it.
        certificate: Any = session.getpeercert()
        if not certificate:
            self._agreed(session)
            return
        if session.session_reused and time.time() > ssl.cert_time_to_seconds(certificate["notAfter"]):
            # What a session ticket remembers of an earlier handshake is not verified again by OpenSSL.
            self._refused("certificate has expired")
            self._transport.close()
            return
        self.client_uris = uris_of(certificate)
        self.client_certificate = ClientCertificate(certificate)
        self._adopt(self._settings)  # what the upstream is told of the client is made once
        self._agreed(session)

    def _agreed(self, session: ssl.SSLObject) -> None:
        """Go on in HTTP/2 if that is what was agreed on (RFC 7301)."""
        if session.selected_alpn_protocol() != "h2":
            return
        successor = Http2Connection(self._owner, self._transport, self.hop, self._settings)
        self._give_way(successor, self.deadline)
        if not is_fit_for_http2(session):
            successor.end(INADEQUATE_SECURITY, "TLS below what RFC 9113 section 9.2 asks for")

    def _carry(self, successor: Http2Connection) -> None:
        cast(TlsTransport, self._transport).carry(successor)

    def handshake_failed(self, reason: str, plain_http: bool) -> bytes:
        """Wait a moment until the client has read why, in an alert or in clear."""
        self._refused(reason)
        self._closing = True
        self.deadline = self._loop.time() + LINGER
        return PLAIN_HTTP_ANSWER if plain_http else b""

    def input_cut(self, reason: str) -> None:
        """The client does not wait for anything (RFC 9112 §9.8): what it has asked for is given up."""
        if self._request is not None:
            self.abort()
        else:
            self._transport.close()

    def end_tunnel(self) -> None:
        """End all of it: after a goodbye OpenSSL decrypts nothing that the client still sends."""
        self._transport.close()

    def _refused(self, reason: str) -> None:
        self._owner.handshake_failed()
        _log.info("TLS handshake failed", peer=self.peer.decode(), reason=reason)


def uris_of(certificate: Mapping[str, Any]) -> bytes:
    """The value of X-Forwarded-Client-Cert for a verified *certificate*, as ``SSLSocket.getpeercert`` describes it.

    It is every URI among the subject's alternative names, joined by ``;``. A URI that could be taken for two, or for
    something else than a part of a header field, is left out (RFC 3986 knows no such characters but ``;``).
    """
    names = certificate.get("subjectAltName", ())
    uris = [str(value) for kind, value in names if kind == "URI"]
    return ";".join(uri for uri in uris if uri.isascii() and uri.isprintable() and not {" ", ";"} & {*uri}).encode()
