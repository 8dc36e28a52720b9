"""Which route a request takes: each kind of condition, groups, and the order of evaluation."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.e2e.conftest import SEEN_OF_A_BODY
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.raw_http import fetch
from tests.support.recording_backend import RecordingBackend


def direct(id: str, match: Document | None = None, status: int = 200) -> Document:  # noqa: A002
    """A route that answers with its own id."""
    return route(id, match, directResponse={"status": status, "body": id})


class Router:
    """The gateway, told which routes there are and asked which one a request takes."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self._gateway = gateway
        self._port = port

    def has(self, *routes: Document, groups: Iterable[Document] = ()) -> None:
        self._gateway.configure(listeners=[listener(self._port)], routes=routes, groups=groups)

    def takes(
        self,
        target: str,
        *,
        method: str = "GET",
        host: str = "proxy.test",
        headers: Iterable[tuple[str, str]] = (),
    ) -> str:
        """The id of the route taken, ``none`` when no route matched."""
        response = fetch(self._port, target, method=method, host=host, headers=headers)
        if response.status == 404:
            assert b'"no_route"' in response.body
            return "none"
        return response.body.decode()


@pytest.fixture
def router(gateway: Gateway, port: int) -> Router:
    return Router(gateway, port)


def test_paths(router: Router) -> None:
    router.has(
        direct("exact", {"path": "/health"}),
        direct("prefix", {"pathPrefix": "/api"}),
        direct("longer", {"pathPrefix": "/api/users"}),
        direct("slash", {"pathPrefix": "/files/"}),
        direct("regex", {"pathRegex": "/items/[0-9]+"}),
        direct("branches", {"pathRegex": "/left|/right"}),
        direct("spaced", {"path": "/with space"}),
    )
    assert router.takes("/health") == "exact"
    assert router.takes("/health?x=1") == "exact"
    assert router.takes("/health/") == "none"
    assert router.takes("/Health") == "none"
    assert router.takes("/api") == "prefix"
    assert router.takes("/api/") == "prefix"
    assert router.takes("/api/x") == "prefix"
    assert router.takes("/apix") == "none"
    assert router.takes("/api/users") == "longer"
    assert router.takes("/api/users/7") == "longer"
    assert router.takes("/api/usersx") == "prefix"
    assert router.takes("/files/x") == "slash"
    assert router.takes("/items/42") == "regex"
    assert router.takes("/items/42/more") == "regex"
    assert router.takes("/items/x") == "none"
    assert router.takes("/x/items/42") == "none"
    assert router.takes("/right") == "branches"
    assert router.takes("/x/right") == "none"
    assert router.takes("/with%20space") == "spaced"


def test_priority_does_not_depend_on_the_order_of_creation(router: Router) -> None:
    router.has(
        direct("a-regex", {"pathRegex": "/shop/.*"}),
        direct("b-prefix", {"pathPrefix": "/shop"}),
        direct("c-longer", {"pathPrefix": "/shop/cart"}),
        direct("d-exact", {"path": "/shop/cart/1"}),
        direct("e-anything"),
        direct("f-host", {"pathPrefix": "/shop", "hostnames": ["eu.shop.test"]}),
        direct("g-header", {"pathPrefix": "/shop", "headers": [{"name": "X-Beta"}]}),
        direct("h-headers", {"pathPrefix": "/shop", "headers": [{"name": "X-Beta"}, {"name": "X-Two"}]}),
        direct("i-query", {"pathPrefix": "/shop", "queryParams": [{"name": "q"}]}),
        direct("j-method", {"pathPrefix": "/shop", "methods": ["PATCH"]}),
    )
    assert router.takes("/shop/cart/1") == "d-exact"
    assert router.takes("/shop/cart/2") == "c-longer"
    assert router.takes("/shop/other") == "b-prefix"
    assert router.takes("/elsewhere") == "e-anything"
    assert router.takes("/shop", host="eu.shop.test") == "f-host"
    assert router.takes("/shop", headers=[("X-Beta", "1")]) == "g-header"
    assert router.takes("/shop", headers=[("X-Beta", "1"), ("X-Two", "2")]) == "h-headers"
    assert router.takes("/shop", headers=[("X-Beta", "1"), ("X-Two", "2")], host="eu.shop.test") == "f-host"
    assert router.takes("/shop?q=1") == "i-query"
    assert router.takes("/shop", method="PATCH") == "j-method"
    # A longer prefix wins over everything that makes a shorter one specific.
    assert router.takes("/shop/cart", host="eu.shop.test", headers=[("X-Beta", "1")]) == "c-longer"


def test_methods(router: Router) -> None:
    router.has(direct("read", {"path": "/r", "methods": ["GET"]}), direct("write", {"path": "/r", "methods": ["post"]}))
    assert router.takes("/r") == "read"
    assert router.takes("/r", method="POST") == "write"
    assert router.takes("/r", method="DELETE") == "none"
    assert fetch(router._port, "/r", method="HEAD").status == 404  # GET does not imply HEAD


def test_hostnames(router: Router) -> None:
    router.has(
        direct("host", {"hostnames": ["Shop.Test", "other.test"]}), direct("star", {"path": "/s", "hostnames": ["*"]})
    )
    for host in ("shop.test", "SHOP.TEST", "shop.test:8443", "shop.test.", "other.test"):
        assert router.takes("/", host=host) == "host", host
    for host in ("a.shop.test", "shop.test.evil", "shop"):
        assert router.takes("/", host=host) == "none", host
    assert router.takes("/s", host="anything") == "star"


def test_headers(router: Router) -> None:
    router.has(
        direct("value", {"path": "/v", "headers": [{"name": "x-version", "value": "2"}]}),
        direct("present", {"path": "/p", "headers": [{"name": "X-Version"}]}),
        direct("regex", {"path": "/r", "headers": [{"name": "X-Version", "value": "v[0-9]+", "regex": True}]}),
    )
    assert router.takes("/v", headers=[("X-Version", "2")]) == "value"
    assert router.takes("/v", headers=[("X-Version", "22")]) == "none"
    assert router.takes("/v", headers=[("X-Version", "1"), ("X-Version", "2")]) == "none"  # the first value counts
    assert router.takes("/v") == "none"
    assert router.takes("/p", headers=[("x-VERSION", "any")]) == "present"
    assert router.takes("/p", headers=[("X-Version", "")]) == "none"
    assert router.takes("/r", headers=[("X-Version", "xv1y")]) == "regex"
    assert router.takes("/r", headers=[("X-Version", "v")]) == "none"


def test_query_parameters(router: Router) -> None:
    router.has(
        direct("value", {"path": "/v", "queryParams": [{"name": "k", "value": "a b"}]}),
        direct("present", {"path": "/p", "queryParams": [{"name": "k"}]}),
        direct("regex", {"path": "/r", "queryParams": [{"name": "k", "value": "^[a-c]+$", "regex": True}]}),
    )
    assert router.takes("/v?k=a%20b") == "value"
    assert router.takes("/v?k=a+b&k=c") == "value"
    assert router.takes("/v?k=c&k=a+b") == "none"
    assert router.takes("/p?k") == "present"
    assert router.takes("/p?k=") == "present"
    assert router.takes("/p?kk=1") == "none"
    assert router.takes("/r?k=abc") == "regex"
    assert router.takes("/r?k=abcd") == "none"


def test_grpc(router: Router) -> None:
    router.has(direct("grpc", {"grpc": True}), direct("plain"))
    assert router.takes("/", method="POST", headers=[("Content-Type", "application/grpc+proto")]) == "grpc"
    assert router.takes("/", method="POST", headers=[("Content-Type", "application/json")]) == "plain"


def test_groups_add_their_conditions(router: Router) -> None:
    router.has(
        direct("users", {"pathPrefix": "/users", "hostnames": ["admin.test"]}),
        direct("status", {"path": "/status"}),
        direct("root", {"pathPrefix": "/"}),
        direct("versioned", {"path": "/list"}),
        direct("alone", {"path": "/alone"}),
        groups=[
            {
                "id": "api", "name": "api", "routeIds": ["users", "status", "root"], "pathPrefix": "/api",
                "hostnames": ["api.test"], "headers": [{"name": "X-Tenant"}],
            },
            {"id": "regional", "name": "regional", "routeIds": ["versioned"], "pathRegex": "/v[0-9]+"},
        ],
    )  # fmt: skip
    tenant = [("X-Tenant", "1")]
    assert router.takes("/api/users/1", host="api.test", headers=tenant) == "users"
    assert router.takes("/api/users/1", host="admin.test", headers=tenant) == "users"
    assert router.takes("/api/status", host="api.test", headers=tenant) == "status"
    assert router.takes("/api", host="api.test", headers=tenant) == "root"
    assert router.takes("/api/else", host="api.test", headers=tenant) == "root"
    assert router.takes("/api/status", host="api.test") == "none"
    assert router.takes("/api/status", headers=tenant) == "none"
    # A route in a group is reached through the group only.
    assert router.takes("/status", host="api.test", headers=tenant) == "none"
    assert router.takes("/v12/list") == "versioned"
    assert router.takes("/v12/list/more") == "none"
    assert router.takes("/list") == "none"
    assert router.takes("/alone") == "alone"


# -- expressions ------------------------------------------------------------------------------------------------------


def test_expressions(router: Router) -> None:
    router.has(
        direct("tenant", {"cel": "request.headers['x-tenant'] in ['a', 'b'] && request.method != 'DELETE'"}),
        direct("page", {"pathPrefix": "/list", "cel": "int(request.queryParams.page) > 10"}),
        direct("local", {"pathPrefix": "/local", "cel": "request.clientIp == '127.0.0.1' && request.scheme == 'http'"}),
        direct("rest"),
    )
    assert router.takes("/", headers=[("X-Tenant", "b")]) == "tenant"
    assert router.takes("/", headers=[("X-Tenant", "c")]) == "rest"
    assert router.takes("/", headers=[("X-Tenant", "a")], method="DELETE") == "rest"
    assert router.takes("/list?page=11") == "page"
    assert router.takes("/list?page=9") == "rest"
    assert router.takes("/list?page=x") == "rest"
    assert router.takes("/list") == "rest"
    assert router.takes("/local/x", headers=[("X-Forwarded-For", "1.2.3.4")]) == "local"


def test_an_expression_holds_in_every_group_of_its_route(router: Router) -> None:
    route = direct("r", {"path": "/x", "cel": "request.path.endsWith('/x') && has(request.headers.a)"})
    groups = [
        {"id": f"g{number}", "name": f"g{number}", "routeIds": ["r"], "pathPrefix": f"/{number}"} for number in (1, 2)
    ]
    router.has(route, groups=groups)
    for number in (1, 2):
        assert router.takes(f"/{number}/x", headers=[("A", "1")]) == "r"
        assert router.takes(f"/{number}/x") == "none"
    assert router.takes("/x", headers=[("A", "1")]) == "none"


def test_expressions_on_bodies(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    """With the limit that config.yaml sets."""
    to_backend = forward("b", rewrite={"host": "chosen.test"})
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("b", backend.port)],
        routes=[
            route("chosen", {"cel": "request.body.json.model == 'large'"}, forward=to_backend),
            route("cut", {"cel": f"size(request.body.raw) == {SEEN_OF_A_BODY}"}, redirect={"url": "/too-large"}),
            route("rest", forward=forward("b")),
        ],
    )
    headers = [("Content-Type", "application/json")]
    for body, host in (
        (b'{"model": "large"}', "chosen.test"),
        (b'{"model": "small"}', "proxy.test"),
        (b"", "proxy.test"),
    ):
        assert fetch(port, method="POST", headers=headers, body=body).status == 200
        assert fetch(port, method="POST", headers=headers, chunks=[body[:5], body[5:]] if body else []).status == 200
        for exchange in backend.requests[-2:]:
            assert (exchange.all("host"), exchange.body) == ([host], body)
    padded = b'{"model": "large", "padding": "%s"}' % (b"x" * SEEN_OF_A_BODY)
    for body in (padded, padded * 300):
        response = fetch(port, method="POST", headers=headers, body=body)
        assert (response.status, response["location"]) == (301, "/too-large")
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("b", backend.port)],
        routes=[route("start", {"cel": "request.body.raw.startsWith('begin')"}, forward=to_backend)],
    )
    large = b"begin" + bytes(range(256)) * 8192
    assert fetch(port, method="POST", body=large).status == 200
    assert fetch(port, method="POST", chunks=[large[:3], large[3:70_000], large[70_000:]]).status == 200
    assert [exchange.body == large for exchange in backend.requests[-2:]] == [True, True]
