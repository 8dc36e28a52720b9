"""Listeners with TLS in a proxy of the test's own loop, and clients of them."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from tests.support.bare_tls_client import BareTlsClient
from tests.support.certificates import Authority, Certificate
from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from tests.support.stream_client import request

GET = request("GET /")
HELLO = route("all", directResponse={"status": 200, "body": "hello"})
HELLO_ANSWER = b"hello"


@cache
def authority() -> Authority:
    """Who signs the servers' certificates."""
    return Authority("servers")


@cache
def client_authority() -> Authority:
    """Who signs the clients' certificates."""
    return Authority("clients")


@cache
def server_certificate() -> Certificate:
    return authority().issue("proxy.test")


def terminating(certificate: Certificate | None = None, **members: Any) -> Document:
    """The ``tls`` of a listener."""
    found = certificate or server_certificate()
    return {"cert": found.cert_text, "key": found.key_text, **members}


def trusting() -> ssl.SSLContext:
    """A client's context that accepts the servers' certificates."""
    return authority().client_context()


@contextlib.asynccontextmanager
async def bare(
    proxy: InProcessProxy, context: ssl.SSLContext | None = None, *, name: str | None = "proxy.test"
) -> AsyncIterator[BareTlsClient]:
    """A client that has not shaken hands; *name* is what it will ask for."""
    client = await BareTlsClient.connect(proxy.port, context or trusting(), name=name)
    try:
        yield client
    finally:
        client.close()


@contextlib.asynccontextmanager
async def established(
    proxy: InProcessProxy, context: ssl.SSLContext | None = None, *, name: str | None = "proxy.test"
) -> AsyncIterator[BareTlsClient]:
    """A client that has."""
    async with bare(proxy, context, name=name) as client:
        await client.shake_hands()
        yield client


async def answer_hello(proxy: InProcessProxy, tls: Document | None = None, **settings: Any) -> None:
    """Answer every request on a listener with TLS."""
    await proxy.apply(HELLO, listeners=[proxy.listener(tls=tls or terminating(), **settings)])


async def forward_to(proxy: InProcessProxy, port: int, tls: Document | None = None, **settings: Any) -> None:
    """Forward every request on a listener with TLS to *port*."""
    await proxy.apply(
        route("all", forward=forward("backend")),
        listeners=[proxy.listener(tls=tls or terminating(), **settings)],
        destinations=[destination("backend", port)],
    )
