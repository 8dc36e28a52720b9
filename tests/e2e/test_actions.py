"""What a route does with a request: forward with weights and rewrites, redirect, direct response."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.conditions import eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection, Response, fetch
from tests.support.recording_backend import RecordingBackend


@pytest.fixture(scope="module")
def three() -> Iterator[list[RecordingBackend]]:
    with RecordingBackend("a") as a, RecordingBackend("b") as b, RecordingBackend("c") as c:
        yield [a, b, c]


class TestWeights:
    def shares(
        self, gateway: Gateway, port: int, backends: list[RecordingBackend], weights: list[int], requests: int
    ) -> Counter[str]:
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination(backend.name, backend.port) for backend in backends],
            routes=[
                route(
                    "split",
                    forward={
                        "destinations": [
                            {"destinationId": backend.name, "weight": weight}
                            for backend, weight in zip(backends, weights, strict=True)
                        ]
                    },
                )
            ],
        )
        seen: Counter[str] = Counter()
        with Connection(port) as client:
            for _ in range(requests):
                seen[json.loads(client.exchange("GET", "/").body)["backend"]] += 1
        return seen

    def test_requests_are_split_by_weight(self, gateway: Gateway, port: int, three: list[RecordingBackend]) -> None:
        # Five standard deviations on either side: about one false alarm in a million runs.
        seen = self.shares(gateway, port, three, [70, 20, 10], 1000)
        for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
            margin = 5 * (1000 * share * (1 - share)) ** 0.5
            assert abs(seen[name] - 1000 * share) < margin, seen

    def test_a_weight_of_zero_gets_nothing(self, gateway: Gateway, port: int, three: list[RecordingBackend]) -> None:
        assert self.shares(gateway, port, three, [100, 0, 0], 200) == {"a": 200}

    def test_the_endpoints_of_a_destination_take_turns(
        self, gateway: Gateway, port: int, three: list[RecordingBackend]
    ) -> None:
        endpoints = [{"host": "127.0.0.1", "port": backend.port} for backend in three]
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("all", 1) | {"endpoints": endpoints}],
            routes=[route("all", forward=forward("all"))],
        )
        seen: Counter[str] = Counter()
        with Connection(port) as client:
            for _ in range(30):
                seen[json.loads(client.exchange("GET", "/").body)["backend"]] += 1
        assert seen == {"a": 10, "b": 10, "c": 10}


class TestRewrites:
    @pytest.fixture
    def rewritten(self, gateway: Gateway, port: int, backend: RecordingBackend) -> Rewritten:
        return Rewritten(gateway, port, backend)

    def test_the_matched_prefix_is_replaced(self, rewritten: Rewritten) -> None:
        rewritten.by({"path": "/internal"}, {"pathPrefix": "/api/v1"})
        assert rewritten.target("/api/v1/users?x=1") == "/internal/users?x=1"
        assert rewritten.target("/api/v1") == "/internal"

    def test_the_matched_prefix_is_stripped(self, rewritten: Rewritten) -> None:
        rewritten.by({"path": "/"}, {"pathPrefix": "/api"})
        assert rewritten.target("/api/users") == "/users"
        assert rewritten.target("/api") == "/"

    def test_an_exact_match_is_replaced(self, rewritten: Rewritten) -> None:
        rewritten.by({"path": "/new"}, {"path": "/old"})
        assert rewritten.target("/old?q=1") == "/new?q=1"

    def test_a_regex_is_substituted(self, rewritten: Rewritten) -> None:
        pattern = {"pattern": "^/users/([0-9]+)$", "substitution": r"/people?id=\1"}
        rewritten.by({"pathRegex": pattern}, {"pathPrefix": "/users"})
        assert rewritten.target("/users/42?x=1") == "/people?id=42&x=1"
        assert rewritten.target("/users/other") == "/users/other"

    def test_the_host_is_replaced(self, rewritten: Rewritten) -> None:
        rewritten.by({"host": "inside.test"})
        assert rewritten.host() == "inside.test"

    def test_the_host_is_taken_from_a_field(self, rewritten: Rewritten) -> None:
        rewritten.by({"hostFromHeader": "X-Host"})
        assert rewritten.host(("X-Host", "wanted.test")) == "wanted.test"
        assert rewritten.host() == "proxy.test"

    def test_the_host_is_that_of_the_destination(self, rewritten: Rewritten) -> None:
        rewritten.by({"autoHost": True})
        assert rewritten.host().startswith("127.0.0.1")


class Rewritten:
    """A route that rewrites, and what the backend saw of a request."""

    def __init__(self, gateway: Gateway, port: int, backend: RecordingBackend) -> None:
        self._gateway, self._port, self._backend = gateway, port, backend

    def by(self, rewrite: Document, match: Document | None = None) -> None:
        self._gateway.configure(
            listeners=[listener(self._port)],
            destinations=[destination("backend", self._backend.port)],
            routes=[route("rewriting", match, forward=forward("backend", rewrite=rewrite))],
        )

    def target(self, target: str) -> str:
        assert fetch(self._port, target).status == 200
        return self._backend.requests[-1].target

    def host(self, *headers: tuple[str, str]) -> str:
        assert fetch(self._port, "/", headers=headers).status == 200
        (host,) = self._backend.requests[-1].all("Host")
        return host


class TestMirrors:
    def test_requests_are_copied(self, gateway: Gateway, port: int, three: list[RecordingBackend]) -> None:
        served, shadow, _ = three
        gateway.configure(
            listeners=[listener(port, metrics={})],
            destinations=[destination("served", served.port), destination("shadow", shadow.port)],
            routes=[
                route(
                    "copied",
                    {"pathPrefix": "/api"},
                    forward=forward(
                        "served", mirror={"destinationId": "shadow"}, rewrite={"path": "/"}, maxGrpcTimeout="5s"
                    ),
                )
            ],
        )
        served.forget()
        shadow.forget()
        with Connection(port) as client:
            for number in range(20):
                response = client.exchange("POST", "/api/x", headers=[("grpc-timeout", "1H")], body=b"%d" % number)
                assert json.loads(response.body)["backend"] == served.name
        eventually(lambda: len(shadow.requests) == 20, what="all are copied")
        copies = {copy.body: copy for copy in shadow.requests}
        for request in served.requests:
            copy = copies[request.body]
            assert (copy.method, copy.target, copy.headers) == (request.method, request.target, request.headers)
            assert (copy.target, copy.all("grpc-timeout")) == ("/x", ["5000m"])
        shown = Scraped(fetch(port, "/metrics").body.decode())
        assert shown("vrata_mirror_requests_total", route="copied", destination="shadow") == 20


class TestRedirects:
    def redirected(self, gateway: Gateway, port: int, redirect: Document, target: str = "/old/page?a=1") -> Response:
        gateway.configure(listeners=[listener(port)], routes=[route("moved", redirect=redirect)])
        return fetch(port, target, host=f"shop.test:{port}")

    def test_to_an_url(self, gateway: Gateway, port: int) -> None:
        response = self.redirected(gateway, port, {"url": "https://new.test/x"})
        assert (response.status, response["Location"]) == (301, "https://new.test/x")

    def test_to_another_scheme(self, gateway: Gateway, port: int) -> None:
        response = self.redirected(gateway, port, {"scheme": "https", "host": "safe.test", "code": 308})
        assert (response.status, response["Location"]) == (308, "https://safe.test/old/page?a=1")

    def test_to_another_host(self, gateway: Gateway, port: int) -> None:
        response = self.redirected(gateway, port, {"host": "new.test", "code": 302})
        assert (response.status, response["Location"]) == (302, "http://new.test/old/page?a=1")

    def test_to_another_path(self, gateway: Gateway, port: int) -> None:
        location = self.redirected(gateway, port, {"path": "/new", "code": 307})["Location"]
        assert location in ("/new?a=1", f"http://shop.test:{port}/new?a=1")

    def test_without_the_query(self, gateway: Gateway, port: int) -> None:
        location = self.redirected(gateway, port, {"stripQuery": True, "code": 303})["Location"]
        assert location in ("/old/page", f"http://shop.test:{port}/old/page")

    def test_the_connection_goes_on(self, gateway: Gateway, port: int) -> None:
        self.redirected(gateway, port, {"url": "https://new.test/"})
        with Connection(port) as client:
            for _ in range(3):
                assert client.exchange("GET", "/").status == 301
            assert client.exchange("HEAD", "/").status == 301
            assert client.exchange("POST", "/", body=b"unread").status == 301
            assert client.exchange("GET", "/").status == 301


class TestDirectResponses:
    def answer(self, gateway: Gateway, port: int, response: Document) -> Response:
        gateway.configure(listeners=[listener(port)], routes=[route("direct", directResponse=response)])
        return fetch(port)

    def test_a_text(self, gateway: Gateway, port: int) -> None:
        response = self.answer(gateway, port, {"status": 418, "body": "short and stout"})
        assert (response.status, response.body) == (418, b"short and stout")
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert response["Content-Length"] == "15"

    def test_json_is_recognised(self, gateway: Gateway, port: int) -> None:
        response = self.answer(gateway, port, {"status": 200, "body": '{"up": true}'})
        assert response["Content-Type"] == "application/json"
        assert json.loads(response.body) == {"up": True}

    def test_no_body(self, gateway: Gateway, port: int) -> None:
        assert self.answer(gateway, port, {"status": 204}).body == b""
        assert self.answer(gateway, port, {"status": 200}).body == b""

    def test_a_head_has_no_body(self, gateway: Gateway, port: int) -> None:
        self.answer(gateway, port, {"status": 200, "body": "hello"})
        with Connection(port) as client:
            assert client.exchange("HEAD", "/")["Content-Length"] == "5"
            assert client.exchange("GET", "/").body == b"hello"

    def test_a_request_body_that_came_with_the_head_is_dropped(self, gateway: Gateway, port: int) -> None:
        self.answer(gateway, port, {"status": 200, "body": "ok"})
        with Connection(port) as client:
            assert client.exchange("POST", "/", body=b"x" * 10_000).body == b"ok"
            assert client.exchange("GET", "/").body == b"ok"

    def test_a_request_body_that_comes_late_does_not_harm_the_answer(self, gateway: Gateway, port: int) -> None:
        self.answer(gateway, port, {"status": 200, "body": "ok"})
        with Connection(port) as client:
            response = client.exchange("POST", "/", chunks=[b"x" * 100_000] * 30)
            assert response.body == b"ok"
            # Either the rest is read and dropped, or the client is told not to send more requests.
            if "Connection" not in response:
                assert client.exchange("GET", "/").body == b"ok"

    def test_the_server_name_of_the_listener(self, gateway: Gateway, port: int, backend: RecordingBackend) -> None:
        backend.script = lambda exchange: exchange.respond(headers=[("Server", "its-own")], body=b"x")
        gateway.configure(
            listeners=[listener(port, serverName="edge/1")],
            destinations=[destination("backend", backend.port)],
            routes=[
                route("direct", {"path": "/direct"}, directResponse={"status": 200}),
                route("all", forward=forward("backend")),
            ],
        )
        assert fetch(port, "/direct")["Server"] == "edge/1"
        assert fetch(port, "/")["Server"] == "edge/1"
