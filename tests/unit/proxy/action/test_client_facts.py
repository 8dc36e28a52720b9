"""What the upstream is told of the client: with nobody trusted, behind a trusted proxy, and when that changes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import ReceivedRequest, StagedBackend
from tests.support.stream_client import StreamClient

CLAIMS = (
    *("X-Forwarded-For: 198.51.100.7, 203.0.113.9", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Proto: https"),
    *("X-Forwarded-Host: shop.test", "X-Forwarded-Port: 443", "Forwarded: for=203.0.113.9;proto=https"),
    *("X-Forwarded-Client-Cert: lie", "X-Forwarded-Server: lie", "X-Real-IP: 203.0.113.9"),
)
"""What a proxy at 127.0.0.1 says, whose client has written the first of the addresses itself."""

FACTS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded")


async def apply(proxy: InProcessProxy, backend: StagedBackend, *more: Any, **settings: Any) -> None:
    """Forward everything but what *more* routes take; *settings* are those of the listener."""
    await proxy.apply(
        *more,
        route("rest", forward=forward("backend")),
        listeners=[proxy.listener(**settings)],
        destinations=[destination("backend", backend.port)],
    )


async def told(backend: StagedBackend, client: StreamClient, *fields: str) -> ReceivedRequest:
    """What the backend gets of a request with *fields*."""
    assert (await client.exchange("GET /", *fields)).status == 200
    return backend.requests[-1]


def facts(found: ReceivedRequest) -> list[list[str]]:
    return [found.all(name) for name in FACTS]


@pytest.mark.parametrize("trusted", [None, [], ["10.0.0.0/8", "::1"]])
@on_each_loop
async def test_nobody_is_believed_who_is_not_trusted(proxy: InProcessProxy, trusted: list[str] | None) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend, **({} if trusted is None else {"trustedProxies": trusted}))
        found = await told(backend, await proxy.connect(), *CLAIMS)
        addresses = "198.51.100.7, 203.0.113.9, 10.0.0.2, 127.0.0.1"
        assert facts(found) == [[addresses], ["http"], ["proxy.test"], [str(proxy.port)], []]
        assert not found.names & {"x-forwarded-client-cert", "x-forwarded-server"}
        assert found.all("x-real-ip") == ["203.0.113.9"]


@pytest.mark.parametrize("trusted", [["127.0.0.1"], ["10.0.0.0/8", "127.0.0.0/8"], ["::ffff:127.0.0.1"]])
@on_each_loop
async def test_a_trusted_proxy_is_believed(proxy: InProcessProxy, trusted: list[str]) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend, trustedProxies=trusted)
        client = await proxy.connect()
        found = await told(backend, client, *CLAIMS)
        element = "for=127.0.0.1;host=proxy.test;proto=http"
        assert facts(found) == [
            ["198.51.100.7, 203.0.113.9, 10.0.0.2, 127.0.0.1"],
            ["https"],
            ["shop.test"],
            ["443"],
            [f"for=203.0.113.9;proto=https, {element}"],
        ]
        assert not found.names & {"x-forwarded-client-cert", "x-forwarded-server"}
        silent = await told(backend, client)
        assert facts(silent) == [["127.0.0.1"], ["http"], ["proxy.test"], [str(proxy.port)], []]


@on_each_loop
async def test_the_scheme_that_a_trusted_proxy_tells_is_that_of_the_request(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        there = route("there", {"path": "/there"}, redirect={"host": "b.test"})
        await apply(proxy, backend, there, trustedProxies=["127.0.0.1"])
        client = await proxy.connect()
        for claim, scheme in ((CLAIMS[2], "https"), ("X-Forwarded-Proto: wss", "http"), ("X: 1", "http")):
            assert (await client.exchange("GET /there", claim))["location"] == f"{scheme}://b.test/there"
        await apply(proxy, backend, there)
        assert (await client.exchange("GET /there", CLAIMS[2]))["location"] == "http://b.test/there"


@on_each_loop
async def test_new_trust_counts_from_the_next_request_of_a_connection(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        client = None
        for trusted, scheme in (([], "http"), (["127.0.0.1"], "https"), (["10.0.0.0/8"], "http")):
            await apply(proxy, backend, trustedProxies=trusted)
            client = client or await proxy.connect()
            assert (await told(backend, client, *CLAIMS)).all("x-forwarded-proto") == [scheme]


@on_each_loop
async def test_a_request_identifier(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend)
        client = await proxy.connect()
        sent: list[tuple[str, ...]] = [("X-Request-Id: from-the-client",), (), ("X-Request-Id: a b",)]
        found = [(await told(backend, client, *fields)).all("x-request-id") for fields in sent]
        assert found[0] == ["from-the-client"]
        made = [identifier for (identifier,) in found[1:]]
        assert len(set(made)) == 2
        assert all(re.fullmatch("[0-9a-f]{32}", identifier) for identifier in made)
