"""The ``cors`` middleware between a client and a backend. What a browser makes of it: ``tests/browser``."""

from __future__ import annotations

from typing import Any

from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.raw_http import Response
from tests.support.staged_backend import StagedBackend, StagedConnection

ALLOWED = "Origin: https://app.test"
OTHER = "Origin: https://other.test"
ASKS = "Access-Control-Request-Method: PUT"

CORS: dict[str, Any] = {
    "allowOrigins": [{"value": "https://app.test"}, {"value": r"https://[a-z]+\.app\.test", "regex": True}],
    "allowMethods": ["GET", "PUT"],
    "allowHeaders": ["X-Team"],
    "exposeHeaders": ["X-Total"],
    "allowCredentials": True,
    "maxAge": 600,
}


async def answer_for_itself(connection: StagedConnection) -> None:
    """A backend with an opinion on origins."""
    while (request := await connection.read_request()).target != "/failed":
        own = ("Access-Control-Allow-Origin: *", "access-control-expose-headers: X-Own", "Vary: Accept-Encoding")
        connection.respond(request.method.encode(), *own)


def cors_fields(response: Response) -> dict[str, str]:
    prefix = "access-control-"
    names = [name.removeprefix(prefix) for name, _ in response.headers if name.startswith(prefix)]
    assert len(names) == len(set(names)), names
    return {name: response[prefix + name] for name in names}


@on_our_loop
async def test_preflight_requests_are_answered(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [middleware("c", "cors", **CORS)])
        client = await proxy.connect()
        response = await client.exchange("OPTIONS /", ALLOWED, ASKS, "Access-Control-Request-Headers: x-team")
        assert (response.status, response.body) == (204, b"")
        assert cors_fields(response) == {
            "allow-origin": "https://app.test",
            "allow-credentials": "true",
            "allow-methods": "GET, PUT",
            "allow-headers": "X-Team",
            "max-age": "600",
        }
        assert response.all("vary") == ["Origin"]
        assert "content-length" not in response
        assert backend.requests == []


@on_our_loop
async def test_what_is_no_preflight_request_goes_on(proxy: InProcessProxy) -> None:
    async with StagedBackend(answer_for_itself) as backend:
        await pass_through(proxy, backend.port, [middleware("c", "cors", **CORS)])
        client = await proxy.connect()
        for fields in ((ALLOWED,), (ASKS,), (), (OTHER, ASKS)):
            assert (await client.exchange("OPTIONS /", *fields)).body == b"OPTIONS"
        assert (await client.exchange("PUT /", ALLOWED, ASKS)).body == b"PUT"


@on_our_loop
async def test_answers_say_whose_pages_may_read_them(proxy: InProcessProxy) -> None:
    async with StagedBackend(answer_for_itself) as backend:
        await pass_through(proxy, backend.port, [middleware("c", "cors", **CORS)])
        client = await proxy.connect()
        for origin in ("https://app.test", "https://a.app.test"):
            response = await client.exchange("GET /", f"Origin: {origin}")
            assert cors_fields(response) == {
                "allow-origin": origin,
                "allow-credentials": "true",
                "expose-headers": "X-Total",
            }
            assert response.all("vary") == ["Accept-Encoding", "Origin"]
        # What the backend says for itself is for whom we say nothing.
        for fields in ((OTHER,), ("Origin: null",), ()):
            response = await client.exchange("GET /", *fields)
            assert cors_fields(response) == {"allow-origin": "*", "expose-headers": "X-Own"}
            assert response.all("vary") == ["Accept-Encoding", "Origin"]
        failed = await client.exchange("GET /failed", ALLOWED)
        assert (failed.status, failed["access-control-allow-origin"]) == (502, "https://app.test")


@on_our_loop
async def test_any_origin_gets_a_star(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        settings = {"allowOrigins": [{"value": "*"}], "allowMethods": ["*"]}
        await pass_through(proxy, backend.port, [middleware("c", "cors", **settings)])
        client = await proxy.connect()
        for origin in (ALLOWED, "Origin: null"):
            response = await client.exchange("GET /", origin)
            assert cors_fields(response) == {"allow-origin": "*"}
            assert response.all("vary") == ["Origin"]
            preflight = await client.exchange("OPTIONS /", origin, ASKS)
            assert cors_fields(preflight) == {"allow-origin": "*", "allow-methods": "*"}


@on_our_loop
async def test_a_middleware_outside_sees_the_answer_to_a_preflight_request(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        outer = middleware("h", "headers", responseHeadersToAdd=[{"key": "X-Outer", "value": "1"}])
        inner = middleware("d", "inlineAuthz", rules=[{"cel": "true", "action": "deny"}])
        await pass_through(proxy, backend.port, [outer, middleware("c", "cors", **CORS), inner])
        client = await proxy.connect()
        assert (await client.exchange("OPTIONS /", ALLOWED, ASKS))["x-outer"] == "1"
        # What is inside may deny: pages may read that, too.
        denied = await client.exchange("GET /", ALLOWED)
        assert (denied.status, denied["access-control-allow-origin"]) == (403, "https://app.test")
