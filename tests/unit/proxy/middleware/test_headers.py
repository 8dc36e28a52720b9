"""The ``headers`` middleware between a client and a backend."""

from __future__ import annotations

from typing import Any

from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.staged_backend import StagedBackend, StagedConnection


def to_add(*edits: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(("key", "value", "append"), edit, strict=False)) for edit in edits]


def headers(id: str = "h", **settings: Any) -> dict[str, Any]:  # noqa: A002
    return middleware(id, "headers", **settings)


async def answer_with_fields(connection: StagedConnection) -> None:
    while (await connection.read_request()).target != "/failed":
        fields = ("X-Powered-By: old", "X-A: upstream", "Cache-Control: no-store", "Server: backend")
        connection.respond(b"ok", *fields)


@on_our_loop
async def test_requests_are_edited(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        edits = to_add(
            ("X-Added", "new"),
            ("X-Replaced", "new", False),
            ("X-Path", "${request.method} ${request.path} of ${request.host}"),
            ("X-Copy", "${request.header.X-Added}|${request.header.X-Evil}|${id}"),
            ("X-Gone", "1"),
        )
        await pass_through(
            proxy, backend.port, [headers(requestHeadersToAdd=edits, requestHeadersToRemove=["x-gone", "X-Secret"])]
        )
        client = await proxy.connect()
        fields = ("X-Added: 1", "X-Replaced: 1", "X-Replaced: 2", "X-Secret: s", "x_secret: s", "X-Evil: ${id}")
        assert (await client.exchange("GET /a%0D%0Ab%20c?q", *fields)).status == 200
        (seen,) = backend.requests
        assert seen.all("x-added") == ["1", "new"]
        assert seen.all("x-replaced") == ["new"]
        assert seen.all("x-path") == ["GET /ab c of proxy.test"]
        assert seen.all("x-copy") == ["1|${id}|${id}"]
        assert seen.names.isdisjoint({"x-gone", "x-secret", "x_secret"})
        assert seen.target == "/a%0D%0Ab%20c?q"


@on_our_loop
async def test_what_belongs_to_the_hop_is_left_alone(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        edits = to_add(
            ("Host", "evil.test", False),
            ("Content-Length", "0", False),
            ("Transfer-Encoding", "chunked"),
            ("X-Forwarded-For", "10.0.0.1", False),
            ("X-Forwarded-Proto", "https", False),
            ("Connection", "close"),
        )
        removed = ["Host", "Content-Length", "X-Forwarded-For"]
        await pass_through(proxy, backend.port, [headers(requestHeadersToAdd=edits, requestHeadersToRemove=removed)])
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"abc")).status == 200
        (seen,) = backend.requests
        assert seen.all("host") == ["proxy.test"]
        assert (seen.body, seen.all("content-length"), seen.all("transfer-encoding")) == (b"abc", ["3"], [])
        assert seen.all("x-forwarded-for") == ["127.0.0.1"]
        assert seen.all("x-forwarded-proto") == ["http"]


@on_our_loop
async def test_responses_are_edited_whoever_makes_them(proxy: InProcessProxy) -> None:
    async with StagedBackend(answer_with_fields) as backend:
        edits = to_add(("X-A", "${request.path}"), ("Strict-Transport-Security", "max-age=1"), ("Server", "edge"))
        outer = headers("outer", responseHeadersToAdd=edits, responseHeadersToRemove=["x-powered-by", "Content-Length"])
        deny = middleware("deny", "inlineAuthz", rules=[{"cel": "request.path == '/denied'", "action": "deny"}])
        deny["inlineAuthz"]["defaultAction"] = "allow"
        await pass_through(proxy, backend.port, [outer, deny])
        client = await proxy.connect()
        response = await client.exchange("GET /x")
        assert (response.status, response.body) == (200, b"ok")
        assert response.all("x-a") == ["upstream", "/x"]
        assert response["strict-transport-security"] == "max-age=1"
        assert response.all("server") == ["edge"]
        assert response["cache-control"] == "no-store"
        assert "x-powered-by" not in response
        denied = await client.exchange("GET /denied")
        assert (denied.status, denied.all("x-a")) == (403, ["/denied"])
        assert denied["strict-transport-security"] == "max-age=1"
        failed = await client.exchange("GET /failed")
        assert (failed.status, failed.all("x-a")) == (502, ["/failed"])


@on_our_loop
async def test_an_override_replaces_the_settings_as_a_whole(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await pass_through(
            proxy,
            backend.port,
            [headers(requestHeadersToAdd=to_add(("X-A", "1")), responseHeadersToAdd=to_add(("X-B", "1")))],
            overrides={"h": {"headers": {"requestHeadersToAdd": to_add(("X-C", "1"))}}},
        )
        client = await proxy.connect()
        response = await client.exchange("GET /")
        (seen,) = backend.requests
        assert {"x-a", "x-c"} & seen.names == {"x-c"}
        assert "x-b" not in response


@on_our_loop
async def test_the_identifier_of_a_request_can_be_set(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        edits = to_add(("X-Request-Id", "${request.header.x-trace}"))
        await pass_through(proxy, backend.port, [headers(requestHeadersToAdd=edits)])
        client = await proxy.connect()
        await client.exchange("GET /", "X-Request-Id: from-the-client", "X-Trace: traced")
        (seen,) = backend.requests
        assert seen.all("x-request-id") == ["traced"]


@on_our_loop
async def test_a_request_with_as_many_fields_as_may_be_is_refused(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [headers(requestHeadersToAdd=to_add(*[("X-A", "1")] * 40))])
        client = await proxy.connect()
        response = await client.exchange("GET /", *[f"X-{number}: 1" for number in range(80)])
        assert (response.status, response.body) == (431, b'{"error":"too many request headers"}')
        assert backend.requests == []
