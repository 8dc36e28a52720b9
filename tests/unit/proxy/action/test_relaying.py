"""What a forwarded message looks like on the other side, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

ADDED = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-request-id"}
"""What every forwarded request carries beside the client's own fields."""


async def forward_to(proxy: InProcessProxy, backend: StagedBackend, **settings: Any) -> None:
    """Apply one route to *backend*; *settings* are those of the forward action."""
    await proxy.apply(
        route("all", {"pathPrefix": "/api"}, forward=forward("backend", **settings)),
        route("rest", forward=forward("backend")),
        destinations=[destination("backend", backend.port, timeouts={"expectContinue": "150ms"})],
    )


# -- the request ------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_plain_request_arrives_as_it_was_sent(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        assert (await client.exchange("GET /a%20b/..//c?q=%2F&q=2&", "X-One: 1", "x-ONE:  two ", "Cookie: a=b")).status
        (found,) = backend.requests
        assert found.line == "GET /a%20b/..//c?q=%2F&q=2& HTTP/1.1"
        assert found.all("host") == ["proxy.test"]
        assert found.all("x-one") == ["1", "two"]
        assert found.names == {"host", "x-one", "cookie", *ADDED}


@on_each_loop
async def test_the_forwarding_facts(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        await client.exchange("GET /")
        await client.exchange(
            "GET /",
            *("X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2, 192.0.2.3", "X-Forwarded-Proto: https"),
            *(
                "X-Forwarded-Host: lie.test",
                "X-Forwarded-Port: 1",
                "X-Forwarded-Client-Cert: lie",
                "Forwarded: for=lie",
            ),
        )
        plain, claimed = backend.requests
        assert plain.all("x-forwarded-for") == ["127.0.0.1"]
        assert claimed.all("x-forwarded-for") == ["192.0.2.1, 192.0.2.2, 192.0.2.3, 127.0.0.1"]
        for found in (plain, claimed):
            assert found.all("x-forwarded-proto") == ["http"]
            assert found.all("x-forwarded-host") == ["proxy.test"]
            assert found.all("x-forwarded-port") == [str(proxy.port)]
            assert not found.names & {"x-forwarded-client-cert", "forwarded"}


@on_each_loop
async def test_hop_by_hop_fields_of_a_request_stay_here(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        fields = [
            *("Connection: keep-alive, X-Named", "connection: x-also", "Keep-Alive: timeout=5", "Upgrade: websocket"),
            *("Proxy-Connection: x", "Proxy-Authorization: x", "Proxy-Authenticate: x", "TE: gzip", "Trailer: x"),
            *("X-Named: 1", "x-aLSO: 1", "X-Kept: 1"),
        ]
        await client.exchange("GET /", *fields)
        (found,) = backend.requests
        assert found.names == {"host", "x-kept", *ADDED}


@on_each_loop
async def test_framing_cannot_be_nominated_away(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        fields = ["Connection: host, content-length, x-forwarded-for, x-forwarded-host", "X-Forwarded-For: 192.0.2.1"]
        assert (await client.exchange("POST /", *fields, body=b"abc")).status == 200
        (found,) = backend.requests
        assert found.body == b"abc"
        assert found.all("host") == ["proxy.test"]
        assert found.all("x-forwarded-for") == ["192.0.2.1, 127.0.0.1"]


@on_each_loop
async def test_a_chunked_request_goes_on_chunked(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        head = request("POST /", "Transfer-Encoding: chunked")
        for data in (b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n", b"0\r\n\r\n"):
            client.send(head + data)
            assert (await client.read_response()).body == b"ok"
        assert [found.body for found in backend.requests] == [b"abcde", b""]
        assert [found.trailers for found in backend.requests] == [(b"X-Trailer: 1",), ()]
        assert {tuple(found.all("transfer-encoding")) for found in backend.requests} == {("chunked",)}


@pytest.mark.parametrize(("fields", "expected"), [((), None), (("Host: old.test",), "old.test")])
@on_each_loop
async def test_an_http_1_0_request(proxy: InProcessProxy, fields: tuple[str, ...], expected: str | None) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("GET /", *fields, host=None, version="1.0"))
        response = await client.read_response()
        assert (response.body, response["connection"]) == (b"ok", "close")
        assert await client.ending() == "closed"
        (found,) = backend.requests
        assert found.line == "GET / HTTP/1.1"
        # The upstream must get a Host (RFC 9112 §3.2); what the client did not say is not claimed for it.
        assert found.all("host") == [expected or f"127.0.0.1:{backend.port}"]
        assert found.all("x-forwarded-host") == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("rewrite", "line", "target", "host"),
    [
        ({"path": "/v2"}, "GET /api/users?a=1", "/v2/users?a=1", "proxy.test"),
        ({"path": "/"}, "GET /api", "/", "proxy.test"),
        (
            {"pathRegex": {"pattern": "/api/([a-z]+)", "substitution": r"/\1/x"}},
            "GET /api/users?a=1",
            "/users/x?a=1",
            "proxy.test",
        ),
        ({"host": "internal.test:81"}, "GET /api", "/api", "internal.test:81"),
        ({"autoHost": True}, "GET /api", "/api", "127.0.0.1"),
        ({"hostFromHeader": "X-Tenant"}, "GET /api", "/api", "tenant.test"),
        ({"hostFromHeader": "X-Missing"}, "GET /api", "/api", "proxy.test"),
        ({"path": "/v2", "host": "internal.test"}, "GET /api/a%2Fb", "/v2/a%2Fb", "internal.test"),
    ],
)
@on_each_loop
async def test_rewriting(proxy: InProcessProxy, rewrite: dict[str, Any], line: str, target: str, host: str) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend, rewrite=rewrite)
        client = await proxy.connect()
        assert (await client.exchange(line, "X-Tenant: tenant.test")).status == 200
        (found,) = backend.requests
        assert (found.target, found.all("host")) == (target, [host])
        assert found.all("x-forwarded-host") == ["proxy.test"]


# -- Expect: 100-continue ---------------------------------------------------------------------------------------------


@on_each_loop
async def test_the_upstreams_100_is_relayed(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        found = await connection.read_head()
        assert found.all("expect") == ["100-continue"]
        assert connection.reader.at_eof() is False
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.respond(await connection.read_body(found))
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", "Expect: 100-continue", "Content-Length: 4"))
        interim = await client.read_response(interim=True)
        assert (interim.status, interim.headers) == (100, ())
        client.send(b"body")
        assert (await client.read_response(interim=True)).body == b"body"


@on_each_loop
async def test_a_silent_upstream_has_the_proxy_say_100(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        found = await connection.read_head()
        connection.respond(await connection.read_body(found))
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", "Expect: 100-continue", "Content-Length: 4"))
        assert await client.is_silent(0.08)
        assert (await client.read_response(interim=True)).status == 100
        client.send(b"body")
        response = await client.read_response(interim=True)
        assert (response.status, response.body) == (200, b"body")


@on_each_loop
async def test_a_final_answer_instead_of_100(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.respond(b"no", status=413)
        assert await connection.reader.read() == b""

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", "Expect: 100-continue", "Content-Length: 4"))
        response = await client.read_response(interim=True)
        assert (response.status, response.body, response["connection"]) == (413, b"no", "close")
        assert await client.ending() == "closed"


@on_each_loop
async def test_a_client_that_does_not_wait_for_100(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        connection.respond((await connection.read_request()).body)
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", "Expect: 100-continue", "Content-Length: 4") + b"bo")
        client.send(b"dy")
        assert (await client.read_response(interim=True)).body == b"body"


@on_each_loop
async def test_a_100_that_nobody_asked_for_is_dropped(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.respond(b"ok")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", body=b"x"))
        assert (await client.read_response(interim=True)).status == 200


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@on_each_loop
async def test_early_hints(proxy: InProcessProxy, version: str) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"
        )
        connection.respond(b"ok")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("GET /", version=version))
        if version == "1.1":
            for link in ("</a.css>", "</b>"):
                hint = await client.read_response(interim=True)
                assert (hint.status, hint.headers) == (103, (("link", link),))
        response = await client.read_response(interim=True)
        assert (response.status, response.body) == (200, b"ok")


# -- the response -----------------------------------------------------------------------------------------------------


async def relayed(proxy: InProcessProxy, data: bytes, line: str = "GET /", **settings: Any) -> Any:
    """The response that a client sees when the upstream sends *data*, followed by one more on the same connection."""

    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.send(data)

    async with StagedBackend(script) as backend:
        await proxy.apply(
            route("all", forward=forward("backend")),
            listeners=[proxy.listener(**settings)],
            destinations=[destination("backend", backend.port)],
        )
        client = await proxy.connect()
        first, second = await client.exchange(line), await client.exchange(line)
        assert first == second
        assert len(backend.connections) == 1
        return first


@on_each_loop
async def test_the_fields_of_a_response(proxy: InProcessProxy) -> None:
    data = (
        b"HTTP/1.1 299 Odd\r\nServer: up\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nSet-Cookie: a\r\nset-cookie:b\r\n"
        b"Connection: X-Named, keep-alive\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: x\r\n"
        b"Proxy-Authenticate: x\r\nContent-Length: 2\r\n\r\nok"
    )
    response = await relayed(proxy, data)
    assert (response.status, response.body) == (299, b"ok")
    assert response.all("set-cookie") == ["a", "b"]
    assert {name for name, _ in response.headers} == {"server", "date", "set-cookie", "content-length"}
    assert response["server"] == "up"
    assert response["date"] == "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize("field", [b"", b"Server: up\r\n"])
@on_each_loop
async def test_the_server_name_of_the_listener(proxy: InProcessProxy, field: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + field + b"Content-Length: 2\r\n\r\nok"
    response = await relayed(proxy, data, serverName="edge/1")
    assert response["server"] == "edge/1"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="neither"),
    ],
)
@on_each_loop
async def test_the_answer_to_head_has_no_body(proxy: InProcessProxy, data: bytes) -> None:
    response = await relayed(proxy, data, "HEAD /")
    assert (response.status, response.body) == (200, b"")
    assert response.all("content-length") == (["5"] if b"Length" in data else [])


@pytest.mark.parametrize(
    ("data", "lengths"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", []),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", []),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", []),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ["5"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ["0"]),
    ],
)
@on_each_loop
async def test_responses_without_a_body(proxy: InProcessProxy, data: bytes, lengths: list[str]) -> None:
    response = await relayed(proxy, data)
    assert response.all("content-length") == lengths
    assert "transfer-encoding" not in response


@on_each_loop
async def test_a_chunked_response_is_chunked_anew(proxy: InProcessProxy) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    response = await relayed(proxy, data)
    assert (response.body, response.trailers) == (b"abcde", (("X-Trailer", "1"),))


@on_each_loop
async def test_a_chunked_response_to_http_1_0_ends_with_the_connection(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("GET /", "Connection: keep-alive", version="1.0"))
        response = await client.read_response()
        assert (response.body, response["connection"]) == (b"abc", "close")
        assert "transfer-encoding" not in response


@on_each_loop
async def test_http_1_0_keep_alive(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        for _ in range(2):
            client.send(request("GET /", "Connection: keep-alive", version="1.0"))
            response = await client.read_response()
            assert (response.body, response["connection"]) == (b"ok", "keep-alive")
