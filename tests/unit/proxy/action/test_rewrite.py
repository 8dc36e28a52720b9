"""Rewrites as the backend sees them: every row of the table, through groups, for a client's own spelling."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request

Case = tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]
"""The rewrite; the route's match, with the group's under ``group``; targets, and what the backend gets for them."""

API: dict[str, Any] = {"pathPrefix": "/api/v1"}

PATHS: list[Case] = [
    # what a prefix matched is replaced, and the remainder kept
    (
        {"path": "/internal"},
        API,
        [
            ("/api/v1/users", "/internal/users"),
            ("/api/v1/users/7?x=1&y=%20", "/internal/users/7?x=1&y=%20"),
            ("/api/v1", "/internal"),
            ("/api/v1?x", "/internal?x"),
            ("/api/v1/", "/internal/"),
            ("/api/v1//users", "/internal/users"),
            ("/api/v1/a%20b%2Fc/%E2%82%AC", "/internal/a%20b%2Fc/%E2%82%AC"),
            ("/%61pi/v1/x%2525", "/internal/x%2525"),
            ("/api%2Fv1/x", "/internal/x"),
            ("/api/v1%2Fx", "/internal/x"),
            ("/api/v1/../x", "/internal/../x"),
            ("/api/v1/%FF", "/internal/%FF"),
        ],
    ),
    # one slash joins, whatever the texts end or begin with
    ({"path": "/internal/"}, API, [("/api/v1/users", "/internal/users"), ("/api/v1", "/internal/")]),
    ({"path": "/internal"}, {"pathPrefix": "/api/"}, [("/api/x", "/internal/x"), ("/api/", "/internal")]),
    # a single slash strips
    ({"path": "/"}, API, [("/api/v1/users", "/users"), ("/api/v1", "/"), ("/api/v1/", "/"), ("/api/v1?x", "/?x")]),
    # without a condition on the path everything remains
    ({"path": "/internal"}, {}, [("/users", "/internal/users"), ("/", "/internal")]),
    # of an exact path nothing remains
    ({"path": "/new"}, {"path": "/old"}, [("/old", "/new"), ("/old?q=1", "/new?q=1"), ("/%6Fld", "/new")]),
    # of a regular expression what it took is replaced
    (
        {"path": "/api"},
        {"pathRegex": "/v[0-9]+"},
        [("/v12/users", "/api/users"), ("/v12", "/api"), ("/v12x/y", "/api/x/y"), ("/v%31/%C3%A9", "/api/%C3%A9")],
    ),
    # in a group the whole of what was matched goes
    (
        {"path": "/internal"},
        {"pathPrefix": "/v1", "group": {"pathPrefix": "/api"}},
        [("/api/v1/users", "/internal/users"), ("/api/v1", "/internal")],
    ),
    (
        {"path": "/internal"},
        {"group": {"pathPrefix": "/api"}},
        [("/api/users", "/internal/users"), ("/api", "/internal")],
    ),
    ({"path": "/new"}, {"path": "/old", "group": {"pathPrefix": "/api"}}, [("/api/old", "/new")]),
    (
        {"path": "/internal"},
        {"pathRegex": "/v[0-9]", "group": {"pathPrefix": "/api"}},
        [("/api/v1/users", "/internal/users")],
    ),
    (
        {"path": "/internal"},
        {"pathPrefix": "/users", "group": {"pathRegex": "/v[0-9]"}},
        [("/v1/users/7", "/internal/7"), ("/v1/users", "/internal"), ("/v1/users/", "/internal/")],
    ),
    ({"path": "/internal"}, {"path": "/users", "group": {"pathRegex": "/v[0-9]"}}, [("/v1/users?x", "/internal?x")]),
    (
        {"path": "/internal"},
        {"pathRegex": "/[a-z]+", "group": {"pathRegex": "/v[0-9]"}},
        [("/v1/users/7", "/internal/7")],
    ),
    ({"path": "/internal"}, {"group": {"pathRegex": "/v[0-9]"}}, [("/v1/users", "/internal/users")]),
    # what is configured is made fit for a path
    ({"path": "/new area/ü?#"}, API, [("/api/v1/x", "/new%20area/%C3%BC%3F%23/x")]),
    ({"path": "/a%2Fb"}, API, [("/api/v1/x", "/a%2Fb/x")]),
]


def substituting(pattern: str, substitution: str) -> dict[str, Any]:
    return {"pathRegex": {"pattern": pattern, "substitution": substitution}}


PATTERNS: list[Case] = [
    # groups, in each notation
    (substituting("^/users/([0-9]+)$", r"/people/\1"), {}, [("/users/7", "/people/7"), ("/users/x", "/users/x")]),
    (substituting("^/users/([0-9]+)$", "/people/$1"), {}, [("/users/7?a=1", "/people/7?a=1")]),
    (substituting("^/users/([0-9]+)$", "/people/${1}0"), {}, [("/users/7", "/people/70")]),
    (substituting("^/users/(?P<id>[0-9]+)$", "/people/${id}"), {}, [("/users/7", "/people/7")]),
    (substituting(r"^/(\w+)/(\w+)", r"/\2/\1"), {}, [("/a/b/c", "/b/a/c")]),
    (substituting("^/a", r"/\0\0"), {}, [("/a", "//a/a")]),
    (substituting("^/a", r"/$$1\\"), {}, [("/a", "/$1%5C")]),
    # every occurrence
    (substituting("/old", "/new"), {}, [("/old/x/old", "/new/x/new"), ("/other", "/other")]),
    (substituting("(?i)/OLD", "/new"), {}, [("/old", "/new")]),
    (substituting("/old", ""), {}, [("/old", "/"), ("/old/x", "/x")]),
    # a query
    (
        substituting("^/users/([0-9]+)$", r"/people?id=\1"),
        {},
        [("/users/7", "/people?id=7"), ("/users/7?x=1", "/people?id=7&x=1"), ("/users/7?", "/people?id=7")],
    ),
    (substituting("^/find/(.*)$", r"/search?q=\1"), {}, [("/find/a&b=c%26", "/search?q=a%26b%3Dc%26")]),
    # the client's spelling
    (substituting("^/a b/", "/x/"), {}, [("/a%20b/c%20d", "/x/c%20d")]),
    (substituting("^/(.*)/(.*)$", r"/\2/\1"), {}, [("/a%2fb/%e2%82%ac", "/%e2%82%ac/a%2fb")]),
    (substituting("^/é/", "/e/"), {}, [("/%C3%A9/%C3%A9", "/e/%C3%A9")]),
    # the whole path is searched, also in a group and behind a prefix
    (
        substituting("/users/", "/people/"),
        {"pathPrefix": "/v1", "group": {"pathPrefix": "/api"}},
        [("/api/v1/users/7", "/api/v1/people/7")],
    ),
]


class Rewriting:
    """A proxy that rewrites on the way to *backend*."""

    def __init__(self, proxy: InProcessProxy, backend: StagedBackend, client: StreamClient) -> None:
        self._proxy = proxy
        self._backend = backend
        self._client = client

    async def by(self, rewrite: dict[str, Any], match: dict[str, Any], host: str = "127.0.0.1") -> None:
        conditions = {name: value for name, value in match.items() if name != "group"}
        group = match.get("group")
        await self._proxy.apply(
            route("r", conditions, forward=forward("b", rewrite=rewrite)),
            groups=[{"id": "g", "name": "g", "routeIds": ["r"], **group}] if group else [],
            destinations=[
                destination("b", self._backend.port, host)
                | {"endpoints": [{"host": "127.0.0.1", "port": self._backend.port}]}
            ],
        )

    async def target(self, target: str) -> str:
        """What becomes of *target*."""
        assert (await self._client.exchange(f"GET {target}")).status == 200
        return self._backend.requests[-1].target

    async def host(self, message: bytes) -> str:
        """The Host that the backend gets."""
        self._client.send(message)
        assert (await self._client.read_response()).status == 200
        (found,) = self._backend.requests[-1].all("host")
        return found


@on_each_loop
async def test_paths(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        rewriting = Rewriting(proxy, backend, await proxy.connect())
        for rewrite, match, targets in PATHS + PATTERNS:
            await rewriting.by(rewrite, match)
            found = [(target, await rewriting.target(target)) for target, _ in targets]
            assert found == targets, (rewrite, match)


ASTERISK = request("OPTIONS *")
PLAIN = request("GET /", host="client.test:8080")


@pytest.mark.parametrize(
    ("rewrite", "message", "expected"),
    [
        ({}, PLAIN, "client.test:8080"),
        ({"path": "/x"}, PLAIN, "client.test:8080"),
        ({"host": "inside.test:81"}, PLAIN, "inside.test:81"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "x-tenant: acme.test:82"), "acme.test:82"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant: one.test", "X-Tenant: two.test"), "one.test"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant: [::1]:82"), "[::1]:82"),
        # absent, or no host
        ({"hostFromHeader": "X-Tenant"}, PLAIN, "client.test:8080"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant:"), "proxy.test"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant: a b"), "proxy.test"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant: a/b"), "proxy.test"),
        ({"hostFromHeader": "X-Tenant"}, request("GET /", "X-Tenant: \xe9.test"), "proxy.test"),
        ({"hostFromHeader": "Host"}, PLAIN, "client.test:8080"),
        # the destination's host, not the endpoint's
        ({"autoHost": True}, PLAIN, "service.test"),
        # together with the path
        ({"autoHost": True, "path": "/x"}, PLAIN, "service.test"),
        # what has no path keeps its target
        ({"host": "inside.test", "path": "/x"}, ASTERISK, "inside.test"),
        ({"host": "inside.test", **substituting(".*", "/x")}, ASTERISK, "inside.test"),
        # a request without Host
        ({"host": "inside.test"}, request("GET /", host=None, version="1.0"), "inside.test"),
    ],
)
@on_each_loop
async def test_hosts(proxy: InProcessProxy, rewrite: dict[str, Any], message: bytes, expected: str) -> None:
    async with StagedBackend() as backend:
        rewriting = Rewriting(proxy, backend, await proxy.connect())
        await rewriting.by(rewrite, {"pathRegex": ".*"}, host="service.test")
        assert await rewriting.host(message) == expected
        if message is ASTERISK:
            assert backend.requests[-1].target == "*"


@on_each_loop
async def test_the_host_of_a_destination_with_an_ipv6_address_is_in_brackets(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        rewriting = Rewriting(proxy, backend, await proxy.connect())
        await rewriting.by({"autoHost": True}, {}, host="::1")
        assert await rewriting.host(PLAIN) == "[::1]"
