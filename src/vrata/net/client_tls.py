"""TLS contexts of connections that we open to the control plane."""

from __future__ import annotations

import contextlib
import ssl
from contextlib import AbstractContextManager
from pathlib import Path

from vrata.config.tls import ClientTLS, Pem
from vrata.net.pem_file import as_file, load_pair

_CERTIFICATE_END = "-----END CERTIFICATE-----"


def client_context(tls: ClientTLS | None) -> ssl.SSLContext:
    """Return a context that verifies the server by the authorities of *tls*, or else by those of the system.

    Raises ``OSError`` or ``ValueError`` if the material cannot be read or used.
    """
    authorities = tls.ca.read() if tls is not None and tls.ca is not None else None
    context = ssl.create_default_context(cadata=authorities)
    _show_certificate(context, tls)
    return context


def pinned_context(server_certificate: Pem, tls: ClientTLS | None) -> ssl.SSLContext:
    """Return a context that accepts exactly the server with *server_certificate*, under whatever name it is reached.

    For a server whose certificate we are configured with ourselves. Raises like :func:`client_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # The first certificate is the server's own; the rest of the chain must not be trusted for others.
    own, end, _ = server_certificate.read().partition(_CERTIFICATE_END)
    context.load_verify_locations(cadata=own + end)
    _show_certificate(context, tls)
    return context


def _show_certificate(context: ssl.SSLContext, tls: ClientTLS | None) -> None:
    if tls is not None and tls.cert is not None and tls.key is not None:
        with _as_file(tls.cert) as certificate, _as_file(tls.key) as key:
            load_pair(context, certificate, key)


def _as_file(pem: Pem) -> AbstractContextManager[Path]:
    return contextlib.nullcontext(pem.path) if pem.path is not None else as_file(pem.read())
