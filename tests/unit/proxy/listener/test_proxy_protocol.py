"""Listeners behind a balancer that says for whom it speaks (PROXY protocol)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.bare_tls_client import BareTlsClient
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.proxy_header import LOCAL, TCP4, UDP4, UNIX, addresses, binary, block, line
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request
from tests.support.tls_listener import GET, HELLO, forward_to, terminating, trusting

LOOPBACK = ["127.0.0.0/8"]
CLIENT = "198.51.100.7"
REQUIRED: Document = {"mode": "required", "trustedPeers": LOOPBACK}
ONE_HEADER_LINE_OF_HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n"


async def forward_behind(proxy: InProcessProxy, port: int, **settings: Any) -> None:
    """Forward everything to *port* on a listener behind a balancer."""
    await proxy.apply(
        route("all", forward=forward("backend")),
        listeners=[proxy.listener(**{"proxyProtocol": REQUIRED, **settings})],
        destinations=[destination("backend", port)],
    )


async def hello_behind(proxy: InProcessProxy, **settings: Any) -> None:
    await proxy.apply(HELLO, listeners=[proxy.listener(**{"proxyProtocol": REQUIRED, **settings})])


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (line(CLIENT), CLIENT),
        (line("2001:db8::7"), "2001:db8::7"),
        (binary(CLIENT), CLIENT),
        (binary("2001:db8::7", checksum=True), "2001:db8::7"),
        (binary("::ffff:198.51.100.7"), CLIENT),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (block(TCP4, addresses(CLIENT), LOCAL), "127.0.0.1"),
        (block(UDP4, addresses(CLIENT)), "127.0.0.1"),
        (block(UNIX, bytes(216)), "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1 << 16])
@on_each_loop
async def test_whose_connection_it_is(proxy: InProcessProxy, header: bytes, client: str, size: int) -> None:
    async with StagedBackend() as backend:
        await forward_behind(proxy, backend.port)
        balancer = await proxy.connect()
        data = header + request("GET /")
        for at in range(0, len(data), size):
            balancer.send(data[at : at + size])
            await balancer.writer.drain()
            await asyncio.sleep(0)
        await balancer.read_response()
        # It holds for all requests of the connection.
        await balancer.exchange("GET /", "X-Forwarded-For: 203.0.113.1")
        assert [seen.all("x-forwarded-for") for seen in backend.requests] == [[client], ["203.0.113.1, " + client]]


@on_each_loop
async def test_the_client_may_itself_be_a_trusted_proxy(proxy: InProcessProxy) -> None:
    fields = ("X-Forwarded-For: 203.0.113.1", "X-Forwarded-Proto: https", 'Forwarded: for="203.0.113.1"')
    async with StagedBackend() as backend:
        # The balancer's own address is not believed for what HTTP says.
        await forward_behind(proxy, backend.port, trustedProxies=["198.51.100.0/24"])
        for source in (CLIENT, "192.0.2.77"):
            balancer = await proxy.connect()
            balancer.send(line(source))
            await balancer.exchange("GET /", *fields)
        told, untold = backend.requests
        assert told.all("x-forwarded-proto") == ["https"]
        assert told.all("forwarded") == [f'for="203.0.113.1", for={CLIENT};host=proxy.test;proto=http']
        assert untold.all("x-forwarded-proto") == ["http"]
        assert untold.all("forwarded") == []


@on_each_loop
async def test_expressions_see_the_client(proxy: InProcessProxy) -> None:
    ours = route("ours", {"cel": f'request.clientIp == "{CLIENT}"'}, directResponse={"status": 200, "body": "ours"})
    await proxy.apply(ours, HELLO, listeners=[proxy.listener(proxyProtocol=REQUIRED)])
    for source, expected in ((CLIENT, b"ours"), ("192.0.2.77", b"hello")):
        balancer = await proxy.connect()
        balancer.send(line(source))
        assert (await balancer.exchange("GET /")).body == expected


@on_each_loop
async def test_a_change_of_other_settings_does_not_forget_the_client(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_behind(proxy, backend.port)
        balancer = await proxy.connect()
        balancer.send(line(CLIENT))
        await balancer.exchange("GET /")
        await forward_behind(proxy, backend.port, serverName="other")
        response = await balancer.exchange("GET /")
        assert response["server"] == "other"
        assert "connection" not in response
        assert [seen.all("x-forwarded-for") for seen in backend.requests] == [[CLIENT], [CLIENT]]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("together", [True, False])
@on_each_loop
async def test_it_comes_before_the_handshake(proxy: InProcessProxy, together: bool, version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, proxyProtocol=REQUIRED)
        client = await BareTlsClient.connect(proxy.port, context)
        client.send_raw(binary(CLIENT) + (client.hello() if together else b""))
        await client.shake_hands()
        client.send(GET)
        await client.receive_until(b"ok")
        client.close()
        (seen,) = backend.requests
        assert seen.all("x-forwarded-for") == [CLIENT]
        assert seen.all("x-forwarded-proto") == ["https"]


@pytest.mark.parametrize("tls", [None, terminating()], ids=["clear", "TLS"])
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (request("GET /"), "no PROXY protocol header"),
        (b"\x16\x03\x01\x02\x00\x01", "no PROXY protocol header"),
        (b"PROXY TCP4 nonsense\r\n", "not of the form"),
        (block(TCP4, addresses(CLIENT), version=3), "unknown"),
    ],
)
@on_each_loop
async def test_who_sends_something_else_is_cut_off(
    proxy: InProcessProxy, tls: Document | None, sent: bytes, reason: str
) -> None:
    await hello_behind(proxy, **({} if tls is None else {"tls": tls}))
    with capture_logs() as logs:
        client = await proxy.connect()
        client.send(sent)
        assert await client.ending() in ("closed", "reset")
    (entry,) = logs
    assert (entry["event"], entry["peer"]) == ("PROXY protocol refused", "127.0.0.1")
    assert reason in entry["reason"]


@pytest.mark.parametrize("sent", [b"", line(CLIENT) + request("GET /")], ids=["nothing", "a header"])
@on_each_loop
async def test_who_is_not_trusted_is_not_listened_to(proxy: InProcessProxy, sent: bytes) -> None:
    await hello_behind(proxy, proxyProtocol={"mode": "required", "trustedPeers": ["192.0.2.0/24", "::/0"]})
    with capture_logs() as logs:
        client = await proxy.connect()
        client.send(sent)
        assert await client.ending() in ("closed", "reset")
    assert [entry["reason"] for entry in logs] == ["the peer is not among proxyProtocol.trustedPeers"]
    await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="it is gone")


@pytest.mark.parametrize("tls", [None, terminating()], ids=["clear", "TLS"])
@pytest.mark.parametrize("sent", [b"", line(CLIENT)[:20], line(CLIENT), line(CLIENT) + b"\x16\x03"])
@on_each_loop
async def test_the_header_is_not_waited_for(proxy: InProcessProxy, tls: Document | None, sent: bytes) -> None:
    limits = {"clientHeader": "300ms", "idleBetweenRequests": "20s"}
    if tls is None and sent.endswith(b"\x03"):
        sent = line(CLIENT) + ONE_HEADER_LINE_OF_HTTP
    await hello_behind(proxy, timeouts=limits, **({} if tls is None else {"tls": tls}))
    began = asyncio.get_running_loop().time()
    client = await proxy.connect()
    client.send(sent)
    await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="it counts as a connection")
    assert await client.ending() in ("closed", "reset")
    assert 0.25 < asyncio.get_running_loop().time() - began < 15


@on_each_loop
async def test_a_peer_that_leaves_within_the_header_is_gone(proxy: InProcessProxy) -> None:
    await hello_behind(proxy)
    for end in (StreamClient.half_close, StreamClient.reset):
        client = await proxy.connect()
        client.send(line(CLIENT)[:-1])
        await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="it counts")
        end(client)
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="it is gone")


@on_each_loop
async def test_those_who_have_sent_no_header_count_as_well(proxy: InProcessProxy) -> None:
    await hello_behind(proxy, maxConnections=1)
    waiting = await proxy.connect()
    await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="it counts")
    with capture_logs():
        too_many = await proxy.connect()
        too_many.send(line(CLIENT) + request("GET /"))
        assert await too_many.ending() == "closed"
    waiting.send(line(CLIENT))
    assert (await waiting.exchange("GET /")).body == b"hello"


@on_each_loop
async def test_a_drain_does_not_wait_for_a_header(proxy: InProcessProxy) -> None:
    await hello_behind(proxy)
    client = await proxy.connect()
    await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="it counts")
    assert await proxy.data_plane.drain(5)
    assert await client.ending() == "closed"


@on_each_loop
async def test_only_one_header_is_taken(proxy: InProcessProxy) -> None:
    await hello_behind(proxy)
    client = await proxy.connect()
    client.send(line(CLIENT) * 2)
    assert (await client.read_response()).status == 400


@pytest.mark.parametrize("setting", [{}, {"mode": "off"}, {"mode": "off", "trustedPeers": LOOPBACK}])
@on_each_loop
async def test_where_it_is_off_a_header_is_a_bad_request(proxy: InProcessProxy, setting: Document) -> None:
    await hello_behind(proxy, proxyProtocol=setting)
    client = await proxy.connect()
    client.send(line(CLIENT))
    assert (await client.read_response()).status == 400
    assert (await (await proxy.connect()).exchange("GET /")).body == b"hello"


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        ({"mode": "off"}, REQUIRED, False),
        (REQUIRED, {"mode": "off"}, False),
        (REQUIRED, {"mode": "required", "trustedPeers": ["127.0.0.1"]}, False),
        (REQUIRED, {"mode": "required", "trustedPeers": ["127.1.2.3/8"]}, True),
    ],
)
@on_each_loop
async def test_who_came_in_on_other_terms_is_not_kept(
    proxy: InProcessProxy, before: Document, after: Document, stays: bool
) -> None:
    await hello_behind(proxy, proxyProtocol=before)
    client = await proxy.connect()
    if before is REQUIRED:
        client.send(line(CLIENT))
    await client.exchange("GET /")
    await hello_behind(proxy, proxyProtocol=after)
    if stays:
        assert "connection" not in await client.exchange("GET /")
    else:
        assert await client.ending() == "closed"
    new = await proxy.connect()
    if after["mode"] == "required":
        new.send(line(CLIENT))
    assert (await new.exchange("GET /")).body == b"hello"
