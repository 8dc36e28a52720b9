"""TLS to upstreams through the whole data plane: whom it trusts, how a handshake fails, and how a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support import tls_upstream as upstream
from tests.support.certificates import HOUR, Authority
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import Response, TruncatedResponse
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.stream_client import StreamClient, request

ALL = route("all", forward=forward("backend"))
SPIFFE = "spiffe://mesh/ns/shop/sa/web"


async def ask(proxy: InProcessProxy, destination: Document, **fields: Any) -> Response:
    """What a client gets whose request goes to *destination* alone."""
    report = await proxy.apply(ALL, listeners=[proxy.listener(**fields)], destinations=[destination])
    assert not report.problems
    client = await proxy.connect()
    return await client.exchange("GET /")


def failed(response: Response) -> str:
    """The class of a failure."""
    return str(json.loads(response.body)["error"])


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """A port on which somebody accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@on_each_loop
async def test_a_request_and_its_response_pass(proxy: InProcessProxy) -> None:
    with RecordingBackend(tls=upstream.serving()) as backend:
        destination = upstream.secured(backend.port)
        assert (await ask(proxy, destination)).status == 200
        client = await proxy.connect()
        body = os.urandom(3_000_000)
        for _ in range(2):
            answer = json.loads((await client.exchange("POST /", body=body)).body)
            assert answer["bodySize"] == len(body)
        assert backend.connections == 1
        assert not backend.handshake_errors


@on_each_loop
async def test_what_is_offered_and_asked_for(proxy: InProcessProxy) -> None:
    names: list[str | None] = []
    context = upstream.serving()
    context.sni_callback = lambda _session, name, _context: names.append(name)
    with RecordingBackend(tls=context) as backend:
        assert (await ask(proxy, upstream.secured(backend.port))).status == 200
        assert backend.requests[0].session.selected_alpn_protocol() == "http/1.1"
        assert backend.requests[0].session.version() == "TLSv1.3"
        assert names == [upstream.NAME]


@on_each_loop
async def test_the_name_is_that_of_the_host_also_when_endpoints_are_listed(proxy: InProcessProxy) -> None:
    with RecordingBackend(tls=upstream.serving()) as backend:
        destination = upstream.secured(1, host=upstream.NAME.upper(), sni=None)
        destination["endpoints"] = [{"host": "127.0.0.1", "port": backend.port}]
        assert (await ask(proxy, destination)).status == 200


@on_each_loop
async def test_an_ip_address_is_verified_and_not_sent(proxy: InProcessProxy) -> None:
    names: list[str | None] = []
    context = upstream.serving(upstream.authority().issue("127.0.0.1"))
    context.sni_callback = lambda _session, name, _context: names.append(name)
    with RecordingBackend(tls=context) as backend:
        assert (await ask(proxy, upstream.secured(backend.port, sni=None))).status == 200
        assert names == [None]
        backend.tls = upstream.serving(upstream.authority().issue("127.0.0.2"))
        other = upstream.secured(backend.port, "backend", sni=None, minVersion="TLSv1_3")
        assert failed(await ask(proxy, other)) == "tls_handshake_failure"


WRONG: dict[str, tuple[Callable[[], ssl.SSLContext], dict[str, Any]]] = {
    "another authority": (lambda: upstream.serving(Authority("others").issue(upstream.NAME)), {}),
    "another name": (lambda: upstream.serving(upstream.authority().issue("other.test")), {}),
    "a subject's common name alone": (lambda: upstream.serving(upstream.authority().issue("x", dns_names=["y"])), {}),
    "expired": (lambda: upstream.serving(upstream.authority().issue(upstream.NAME, lifetime=-HOUR / 2)), {}),
    "too old a version": (lambda: upstream.serving(max_version="TLSv1_2"), {"minVersion": "TLSv1_3"}),
    "too new a version": (lambda: upstream.serving(min_version="TLSv1_3"), {"maxVersion": "TLSv1_2"}),
    "none of the names": (upstream.serving, {"subjectAltNames": ["other.test", SPIFFE]}),
    "a certificate is wanted (1.2)": (lambda: upstream.asking_for_certificates(max_version="TLSv1_2"), {}),
    "a certificate is wanted (1.3)": (upstream.asking_for_certificates, {}),
    "the system does not know the authority": (upstream.serving, {"ca": None}),
}


@pytest.mark.parametrize("case", WRONG)
@on_each_loop
async def test_handshakes_that_fail(proxy: InProcessProxy, case: str) -> None:
    make, tls = WRONG[case]
    with RecordingBackend(tls=make()) as backend:
        response = await ask(proxy, upstream.secured(backend.port, **tls))
        assert (response.status, failed(response)) == (502, "tls_handshake_failure")
        assert json.loads(response.body)["message"] == "upstream TLS handshake failed"
        assert not backend.requests


@on_each_loop
async def test_a_server_without_tls_is_no_server_with_it(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend:
        assert failed(await ask(proxy, upstream.secured(backend.port))) == "tls_handshake_failure"


@pytest.mark.parametrize("is_limited", [True, False])
@on_each_loop
async def test_the_time_limit_of_the_handshake(proxy: InProcessProxy, is_limited: bool) -> None:
    async with silent_server() as port:
        destination = upstream.secured(port)
        limits = {"tlsHandshake": "200ms", "request": "20s"} if is_limited else {"tlsHandshake": "0s", "request": "1s"}
        destination["options"]["timeouts"] = limits
        began = asyncio.get_running_loop().time()
        response = await ask(proxy, destination)
        seconds = asyncio.get_running_loop().time() - began
        if is_limited:
            assert (failed(response), seconds >= 0.2) == ("tls_handshake_failure", True)
        else:
            assert (failed(response), seconds >= 1) == ("timeout", True)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@on_each_loop
async def test_mutual_tls(proxy: InProcessProxy, version: str) -> None:
    mine = upstream.client_authority().issue("proxy", uris=[SPIFFE])
    tls = {"mode": "mtls", "cert": mine.cert_text, "key": mine.key_text}
    with RecordingBackend(tls=upstream.asking_for_certificates(min_version=version, max_version=version)) as backend:
        assert (await ask(proxy, upstream.secured(backend.port, **tls))).status == 200
        shown = backend.requests[0].session.getpeercert()
        assert shown is not None
        assert ("URI", SPIFFE) in shown["subjectAltName"]
        # In the other mode the certificate is not shown, even where there is one.
        response = await ask(proxy, upstream.secured(backend.port, **tls | {"mode": "tls"}))
        assert failed(response) == "tls_handshake_failure"


@pytest.mark.parametrize("names", [[SPIFFE], ["a.other.test"], ["nobody.test", "127.0.0.9"], ["OTHER.test."]])
@on_each_loop
async def test_alternative_names_take_the_place_of_the_server_name(proxy: InProcessProxy, names: list[str]) -> None:
    shown = upstream.authority().issue("127.0.0.9", dns_names=["*.other.test", "other.test"], uris=[SPIFFE])
    with RecordingBackend(tls=upstream.serving(shown)) as backend:
        assert (await ask(proxy, upstream.secured(backend.port, subjectAltNames=names))).status == 200


# -- sessions ---------------------------------------------------------------------------------------------------------


def close_after(exchange: Exchange) -> None:
    exchange.respond(headers=[("Connection", "close")])


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@on_each_loop
async def test_the_second_connection_resumes_the_session_of_the_first(proxy: InProcessProxy, version: str) -> None:
    context = upstream.serving(min_version=version, max_version=version)
    with RecordingBackend(script=close_after, tls=context) as backend:
        destination = upstream.secured(backend.port)
        for _ in range(4):
            assert (await ask(proxy, destination)).status == 200
        assert backend.resumed == [False, True, True, True]
        # Other settings, and what was agreed on under the present ones does not count.
        assert (await ask(proxy, upstream.secured(backend.port, subjectAltNames=[upstream.NAME]))).status == 200
        assert backend.resumed[-1] is False
        # A server that has lost its keys is one more full handshake.
        backend.tls = upstream.serving(min_version=version, max_version=version)
        for _ in range(2):
            assert (await ask(proxy, destination)).status == 200
        assert backend.resumed[-2:] == [False, True]


@on_each_loop
async def test_a_session_does_not_outlive_the_certificate(proxy: InProcessProxy) -> None:
    shown = upstream.authority().issue(upstream.NAME, lifetime=timedelta(seconds=2))
    with RecordingBackend(script=close_after, tls=upstream.serving(shown)) as backend:
        destination = upstream.secured(backend.port)
        assert (await ask(proxy, destination)).status == 200
        assert (await ask(proxy, destination)).status == 200
        assert backend.resumed == [False, True]
        async with asyncio.timeout(30):
            while (response := await ask(proxy, destination)).status == 200:
                pass
        assert failed(response) == "tls_handshake_failure"


# -- what a swap does -------------------------------------------------------------------------------------------------


@on_each_loop
async def test_connections_are_kept_as_long_as_they_are_secured_the_same_way(proxy: InProcessProxy) -> None:
    with RecordingBackend(tls=upstream.serving()) as backend:
        destination = upstream.secured(backend.port)
        for _ in range(3):
            assert (await ask(proxy, destination)).status == 200
        assert backend.connections == 1
        settings: list[dict[str, Any]] = [{"minVersion": "TLSv1_3"}, {"subjectAltNames": [upstream.NAME]}, {}]
        for number, tls in enumerate(settings, 2):
            assert (await ask(proxy, upstream.secured(backend.port, **tls))).status == 200
            assert backend.connections == number
        # Turned off, nothing goes over the old connection, nor in clear over a new one unnoticed.
        plain = upstream.secured(backend.port)
        del plain["options"]["tls"]
        assert (await ask(proxy, plain)).status == 502
        assert backend.connections == 5


@on_each_loop
async def test_a_request_under_way_ends_on_its_connection_which_then_goes(proxy: InProcessProxy) -> None:
    with RecordingBackend(tls=upstream.serving()) as backend:
        await ask(proxy, upstream.secured(backend.port))
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 4"))
        client.send(b"ab")
        await eventually_async(lambda: "0 idle" in pools(proxy), what="the request is under way")
        await proxy.apply(ALL, destinations=[upstream.secured(backend.port, minVersion="TLSv1_3")])
        client.send(b"cd")
        assert json.loads((await client.read_response()).body)["bodySize"] == 4
        assert backend.connections == 1
        assert (await client.exchange("GET /")).status == 200
        assert backend.connections == 2


@on_each_loop
async def test_who_waits_for_a_place_gets_no_connection_that_was_secured_otherwise(proxy: InProcessProxy) -> None:
    def limited(**tls: Any) -> Document:
        destination = upstream.secured(backend.port, **tls)
        destination["options"]["maxConnsPerHost"] = 1
        return destination

    with RecordingBackend(tls=upstream.serving()) as backend:
        await proxy.apply(ALL, destinations=[limited()])
        first, second = await proxy.connect(), await proxy.connect()
        first.send(request("POST /", "Content-Length: 4") + b"ab")
        await eventually_async(lambda: "1 connections, 0 idle" in pools(proxy), what="the request is under way")
        await proxy.apply(ALL, destinations=[limited(minVersion="TLSv1_3")])
        second.send(request("GET /second"))
        await eventually_async(lambda: "1 waiting" in pools(proxy), what="the other one waits")
        first.send(b"cd")
        assert (await first.read_response()).status == 200
        assert (await second.read_response()).status == 200
        assert [(exchange.target, exchange.connection) for exchange in backend.requests] == [("/", 0), ("/second", 1)]


@on_each_loop
async def test_bad_material_leaves_one_destination_out(proxy: InProcessProxy) -> None:
    with RecordingBackend(tls=upstream.serving()) as backend:
        bad = upstream.secured(backend.port, "bad", ca="/no/such/file")
        routes = [route("all", forward=forward("backend")), route("bad", {"path": "/bad"}, forward=forward("bad"))]
        report = await proxy.apply(*routes, destinations=[upstream.secured(backend.port), bad])
        (problem,) = report.problems
        assert (problem.kind, problem.id) == ("destination", "bad")
        assert problem.reason == "options.tls.ca: /no/such/file: No such file or directory"
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert failed(await client.exchange("GET /bad")) == "no_destination"


# -- how a connection ends --------------------------------------------------------------------------------------------


def until_close(ending: str) -> Any:
    def script(exchange: Exchange) -> None:
        exchange.send_head(200)
        exchange.send(b"x" * 100_000)
        getattr(exchange, ending)()

    return script


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@on_each_loop
async def test_a_body_that_a_close_ends_is_whole_only_with_a_goodbye(proxy: InProcessProxy, version: str) -> None:
    with RecordingBackend(tls=upstream.serving(max_version=version)) as backend:
        backend.script = until_close("say_goodbye")
        assert len((await ask(proxy, upstream.secured(backend.port))).body) == 100_000
        for cut in ("close", "reset"):
            backend.script = until_close(cut)
            client = await proxy.connect()
            with pytest.raises((TruncatedResponse, ConnectionResetError)):
                await client.exchange("GET /")


@pytest.mark.parametrize("ending", ["close", "say_goodbye", "reset"])
@on_each_loop
async def test_a_body_with_a_length_is_cut_by_whatever_comes_before_its_end(proxy: InProcessProxy, ending: str) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send_head(200, [("Content-Length", "100")])
        exchange.send(b"x" * 50)
        getattr(exchange, ending)()

    with RecordingBackend(script=script, tls=upstream.serving()) as backend:
        await proxy.apply(ALL, destinations=[upstream.secured(backend.port)])
        client = await proxy.connect()
        with pytest.raises((TruncatedResponse, ConnectionResetError)):
            await client.exchange("GET /")


@pytest.mark.parametrize("ending", ["close", "say_goodbye"])
@on_each_loop
async def test_an_idle_connection_that_the_upstream_ends_is_forgotten(proxy: InProcessProxy, ending: str) -> None:
    def script(exchange: Exchange) -> None:
        exchange.respond()
        getattr(exchange, ending)()

    with RecordingBackend(script=script, tls=upstream.serving()) as backend:
        await proxy.apply(ALL, destinations=[upstream.secured(backend.port)])
        client = await proxy.connect()
        for number in range(1, 4):
            assert (await client.exchange("GET /")).status == 200
            await eventually_async(lambda: "0 connections" in pools(proxy), what="the connection is gone")
            assert backend.connections == number


def pools(proxy: InProcessProxy) -> str:
    return repr(list(proxy.data_plane._registry._pools.values()))


@on_each_loop
async def test_an_idle_connection_that_we_end_is_ended_with_a_goodbye(proxy: InProcessProxy) -> None:
    ends: list[bytes] = []

    def script(exchange: Exchange) -> None:
        exchange.respond()
        ends.append(exchange.receive())  # raises when there is no goodbye

    with RecordingBackend(script=script, tls=upstream.serving()) as backend:
        destination = upstream.secured(backend.port)
        destination["options"]["timeouts"] = {"idleConnection": "100ms"}
        assert (await ask(proxy, destination)).status == 200
        await eventually_async(lambda: ends == [b""], what="the goodbye")


# -- tunnels ----------------------------------------------------------------------------------------------------------


def switch(then: Any) -> Any:
    def script(exchange: Exchange) -> None:
        exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        then(exchange)

    return script


async def tunnel(proxy: InProcessProxy, port: int) -> StreamClient:
    await proxy.apply(ALL, destinations=[upstream.secured(port)])
    client = await proxy.connect()
    client.send(request("GET /", "Connection: Upgrade", "Upgrade: websocket"))
    assert (await client.read_head()).status == 101
    return client


@on_each_loop
async def test_a_tunnel_carries_both_ways_and_ends_with_the_goodbye(proxy: InProcessProxy) -> None:
    def then(exchange: Exchange) -> None:
        while data := exchange.receive():
            exchange.send(data.upper())
            if data.endswith(b"."):
                exchange.say_goodbye()
                return

    with RecordingBackend(script=switch(then), tls=upstream.serving()) as backend:
        client = await tunnel(proxy, backend.port)
        client.send(b"hello ")
        assert await client.read_exactly(6) == b"HELLO "
        client.send(b"bye.")
        assert await client.read_exactly(4) == b"BYE."
        assert await client.ending() == "closed"


@on_each_loop
async def test_the_end_of_the_clients_half_is_the_end_of_a_tunnel(proxy: InProcessProxy) -> None:
    ends: list[bytes] = []

    def then(exchange: Exchange) -> None:
        ends.extend([exchange.receive(), exchange.receive()])
        exchange.close()

    with RecordingBackend(script=switch(then), tls=upstream.serving()) as backend:
        client = await tunnel(proxy, backend.port)
        client.send(b"last words")
        client.writer.write_eof()
        assert await client.ending() == "closed"
        await eventually_async(lambda: ends == [b"last words", b""], what="the upstream has it all, and a goodbye")


@on_each_loop
async def test_a_tunnel_that_is_cut_is_cut_for_the_client(proxy: InProcessProxy) -> None:
    with RecordingBackend(script=switch(lambda exchange: exchange.close()), tls=upstream.serving()) as backend:
        client = await tunnel(proxy, backend.port)
        assert await client.ending() == "reset"
