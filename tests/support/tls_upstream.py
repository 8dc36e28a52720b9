"""Upstreams with TLS: their certificates, and destinations that lead to them."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

from tests.support.certificates import Authority, Certificate
from tests.support.gateway import Document, destination
from vrata.net.server_tls import server_context

NAME = "backend.test"


@cache
def authority() -> Authority:
    """Who signs the upstreams' certificates."""
    return Authority("upstreams")


@cache
def client_authority() -> Authority:
    """Who signs the certificates that upstreams want to see."""
    return Authority("proxies")


@cache
def certificate() -> Certificate:
    """Of an upstream that is called :data:`NAME`."""
    return authority().issue(NAME)


def serving(shown: Certificate | None = None, **settings: Any) -> ssl.SSLContext:
    """The context of an upstream; *settings* as in :func:`~vrata.net.server_tls.server_context`."""
    found = shown or certificate()
    return server_context(found.cert_text, found.key_text, **settings)


def asking_for_certificates(**settings: Any) -> ssl.SSLContext:
    """The context of an upstream that wants to see a certificate."""
    return serving(ca=client_authority().cert_text, client_auth="require", **settings)


def secured(port: int, id: str = "backend", host: str = "127.0.0.1", **tls: Any) -> Document:  # noqa: A002
    """A destination whose one endpoint has TLS; members that are None are not stated."""
    stated = {"mode": "tls", "ca": authority().cert_text, "sni": NAME, **tls}
    return destination(id, port, host, tls={name: value for name, value in stated.items() if value is not None})
