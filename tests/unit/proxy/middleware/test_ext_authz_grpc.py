"""External authorization by gRPC: authorizers of grpcio, with messages by protoc, in both contracts."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from tests.support import tls_upstream
from tests.support.authorizer_messages import message_class
from tests.support.callouts import services
from tests.support.certificates import Certificate
from tests.support.gateway import destination, forward, route
from tests.support.grpc_answers import CALL, MESSAGE
from tests.support.grpc_service import GrpcService
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request
from tests.unit.proxy.middleware.test_ext_authz_http import denial, middleware
from vrata.wire.grpc_frames import framed

SERVICES = {"vrata": "extauthz.v1.Authorizer", "envoy": "envoy.service.auth.v3.Authorization"}


@dataclass
class Setup:
    """A route whose requests an authorizer decides about as ``decide`` says."""

    proxy: InProcessProxy
    upstream: StagedBackend
    client: StreamClient
    asked: queue.Queue[Any]
    """The ``CheckRequest`` messages."""
    authorizer_port: int


Decide = Callable[[Any], dict[str, Any]]


@asynccontextmanager
async def protected(
    proxy: InProcessProxy,
    contract: str,
    *decisions: dict[str, Any] | Decide,
    certificate: Certificate | None = None,
    **settings: Any,
) -> AsyncIterator[Setup]:
    """*decisions* are ``CheckResponse`` messages for one request after the other."""
    service = SERVICES[contract]
    package = service.rpartition(".")[0]
    asked: queue.Queue[Any] = queue.Queue()
    left = list(decisions)

    def check(message: Any, context: Any) -> Any:
        asked.put(message)
        decision = left.pop(0)
        if callable(decision):
            decision = decision(context)
        return message_class(f"{package}.CheckResponse")(**decision)

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=message_class(f"{package}.CheckRequest").FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    async with StagedBackend() as upstream:
        with GrpcService({service: {"Check": handler}}, certificate) as authorizer:
            found = destination("authorizer", authorizer.port, http2=True)
            if certificate is not None:
                found = tls_upstream.secured(authorizer.port, "authorizer")
                found["options"]["http2"] = True
            report = await proxy.apply(
                route("all", forward=forward("upstream"), middlewareIds=["m"]),
                destinations=[destination("upstream", upstream.port), found],
                middlewares=[middleware(mode="grpc", contract=contract, **settings)],
            )
            assert not report.problems
            yield Setup(proxy, upstream, await proxy.connect(), asked, authorizer.port)
            assert services(proxy).under_way == 0


def pairs(*headers: tuple[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in headers]


def option(key: str, value: str, **settings: Any) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, **settings}


# -- extauthz.v1 ------------------------------------------------------------------------------------------------------


@on_our_loop
async def test_what_an_authorizer_of_our_contract_is_told(proxy: InProcessProxy) -> None:
    check = {
        "forwardHeaders": ["Authorization", "X-Many", "X-Raw"],
        "injectHeaders": [{"key": "X-Method", "value": "${request.method}"}],
    }
    async with protected(proxy, "vrata", {"allowed": True}, onCheck=check, includeBody=True) as found:
        response = await found.client.exchange(
            "POST /a?b=c", "AUTHORIZATION: x", "X-Many: 1", "X-Many: 2", "X-Raw: \xff\xfe", "Cookie: s", body=b"\0\xff"
        )
        assert (response.status, response.body) == (200, b"ok")
        asked = found.asked.get_nowait()
        assert (asked.method, asked.path, asked.body) == ("POST", "/a?b=c", b"\0\xff")
        assert [(pair.key, pair.value) for pair in asked.headers] == [
            ("authorization", "x"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("x-raw", "\ufffd\ufffd"),
            ("content-length", "2"),
            ("x-method", "POST"),
        ]
        (forwarded,) = found.upstream.requests
        assert (forwarded.body, forwarded.all("x-raw"), forwarded.all("cookie")) == (b"\0\xff", ["\xff\xfe"], ["s"])


@on_our_loop
async def test_what_our_contract_allows_and_denies(proxy: InProcessProxy) -> None:
    decisions: list[dict[str, Any]] = [
        {"allowed": True, "headers": pairs(("X-User", "bob"), ("x-role", "a"), ("X-Role", "b"), ("Host", "evil.test"))},
        {"allowed": False},
        {
            "denied_status": 401,
            "denied_body": b"<p>",
            "headers": pairs(
                ("Content-Type", "text/html"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("bad name", "")
            ),
        },
        {"denied_status": 7},
    ]
    async with protected(proxy, "vrata", *decisions) as found:
        await found.client.exchange("GET /", "x-user: admin", "X_USER: admin", "x-role: root")
        (forwarded,) = found.upstream.requests
        assert (forwarded.all("x-user"), forwarded.all("x-role")) == (["bob"], ["a", "b"])
        assert forwarded.all("host") == ["proxy.test"]
        assert "x_user" not in forwarded.names
        response = await found.client.exchange("GET /")
        assert (response.status, response.body) == (403, b"")
        response = await found.client.exchange("GET /")
        assert (response.status, response.body) == (401, b"<p>")
        assert (response["content-type"], response.all("set-cookie")) == ("text/html", ["a=1", "b=2"])
        assert (await found.client.exchange("GET /")).status == 403
        assert len(found.upstream.requests) == 1


@pytest.mark.parametrize("contract", ["vrata", "envoy"])
@on_our_loop
async def test_what_is_the_authorizers_to_say_is_no_clients(proxy: InProcessProxy, contract: str) -> None:
    said = {"headers": [option("X-Auth-User", "bob", append_action=1)]}
    allowed: list[dict[str, Any]] = [{}, {"ok_response": said}]
    if contract == "vrata":
        allowed = [{"allowed": True}, {"allowed": True, "headers": pairs(("X-Auth-User", "bob"))}]
    async with protected(proxy, contract, *allowed, onAllow={"copyToUpstream": ["X_Auth-*"]}) as found:
        for _ in allowed:
            await found.client.exchange("GET /", "X-Auth-User: root", "X_AUTH_ROLE: admin", "X-Other: o")
        got = [{name: each.all(name) for name in each.names if "auth" in name} for each in found.upstream.requests]
        assert got == [{}, {"x-auth-user": ["bob"]}]


@on_our_loop
async def test_denials_that_are_no_answer(proxy: InProcessProxy) -> None:
    decisions: list[dict[str, Any]] = [
        {"denied_status": 401, "headers": pairs((":\u00e9", "b"), ("\u00e9", "b"), (":status", "200"))},
        {"denied_status": 401, "headers": pairs(*((f"h{number}", "b") for number in range(120)))},
        {"denied_status": 401, "headers": pairs(*((f"h{number}", "b" * 8000) for number in range(20)))},
    ]
    async with protected(proxy, "vrata", *decisions) as found:
        # Somebody outside sees each answer, and has it read again.
        cors = {"id": "c", "name": "c", "type": "cors", "cors": {"allowOrigins": [{"value": "https://a.test"}]}}
        ports = {"upstream": found.upstream.port, "authorizer": found.authorizer_port}
        await proxy.apply(
            route("all", forward=forward("upstream"), middlewareIds=["c", "m"]),
            destinations=[destination(name, port, http2=name != "upstream") for name, port in ports.items()],
            middlewares=[middleware(mode="grpc"), cors],
        )
        response = await found.client.exchange("GET /")
        assert (response.status, response.body) == (401, b"")
        for _ in range(2):
            answer = denial(await found.client.exchange("GET /"))
            assert answer == (403, "ext_authz: grpc check failed: malformed answer")


def fail(context: Any) -> dict[str, Any]:
    context.abort(grpc.StatusCode.INTERNAL, "database at 10.0.0.1 is down")
    raise AssertionError


@pytest.mark.parametrize("contract", ["vrata", "envoy"])
@on_our_loop
async def test_an_authorizer_whose_call_fails(proxy: InProcessProxy, contract: str) -> None:
    async with protected(proxy, contract, fail) as found:
        assert denial(await found.client.exchange("GET /")) == (403, "ext_authz: grpc check failed: INTERNAL")
        assert found.upstream.requests == []
    async with protected(proxy, contract, fail, failureModeAllow=True) as found:
        assert (await found.client.exchange("GET /")).body == b"ok"


@on_our_loop
async def test_an_authorizer_over_tls(proxy: InProcessProxy) -> None:
    async with protected(proxy, "vrata", {"allowed": True}, certificate=tls_upstream.certificate()) as found:
        assert (await found.client.exchange("GET /")).body == b"ok"


@pytest.mark.parametrize("contract", ["vrata", "envoy"])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "DEADLINE_EXCEEDED"),
        (b"\xff", "malformed answer"),
        (b"\x08\x01\x1a\x06\x0a\x01\n\x12\x01x", "malformed answer"),
    ],
)
@on_our_loop
async def test_an_authorizer_that_hangs_or_babbles(
    proxy: InProcessProxy, contract: str, message: bytes | None, reason: str
) -> None:
    async with Http2Backend() as authorizer, StagedBackend() as upstream:
        await proxy.apply(
            route("all", forward=forward("upstream"), middlewareIds=["m"]),
            destinations=[
                destination("upstream", upstream.port),
                destination("authorizer", authorizer.port, http2=True),
            ],
            middlewares=[middleware(mode="grpc", contract=contract, decisionTimeout="500ms" if not message else "5s")],
        )
        client = await proxy.connect()
        client.send(request("GET /"))
        asked = await (await authorizer.accept()).next()
        if message is not None:
            if contract == "envoy" and len(message) > 1:
                message = b"\x1a\x0a\x12\x08" + b"\x0a\x06\x0a\x01\n\x12\x01x"
            asked.head([(":status", "200"), ("content-type", "application/grpc")])
            asked.send(framed(message))
            asked.finish([("grpc-status", "0")])
        assert denial(await client.read_response()) == (403, f"ext_authz: grpc check failed: {reason}")
        assert upstream.requests == []
        if message is None:
            await asked.until_reset()


@on_our_loop
async def test_a_destination_that_is_missing_or_speaks_no_http2(proxy: InProcessProxy) -> None:
    async with StagedBackend() as upstream:
        for others, reason in (([], "UNAVAILABLE"), ([destination("authorizer", upstream.port)], "INTERNAL")):
            await proxy.apply(
                route("all", forward=forward("upstream"), middlewareIds=["m"]),
                destinations=[destination("upstream", upstream.port), *others],
                middlewares=[middleware(mode="grpc")],
            )
            client = await proxy.connect()
            answer = denial(await client.exchange("GET /"))
            assert answer == (403, f"ext_authz: grpc check failed: {reason}")
        assert upstream.requests == []


# -- envoy.service.auth.v3 --------------------------------------------------------------------------------------------


@on_our_loop
async def test_what_an_authorizer_made_for_envoy_is_told(proxy: InProcessProxy) -> None:
    async with protected(proxy, "envoy", {}, includeBody=True) as found:
        peer_port = found.client.writer.get_extra_info("sockname")[1]
        response = await found.client.exchange(
            "POST /a%20b?c=d",
            "Authorization: x",
            "X-Many: 1",
            "X-Many: 2",
            "Cookie: a=1",
            "Cookie: b=2",
            "X-Request-Id: given",
            "X-Forwarded-Proto: lie",
            body=b"text",
        )
        assert response.body == b"ok"
        attributes = found.asked.get_nowait().attributes
        source = attributes.source.address.socket_address
        assert (source.address, source.port_value, attributes.source.principal) == ("127.0.0.1", peer_port, "")
        local = attributes.destination.address.socket_address
        assert (local.address, local.port_value) == ("127.0.0.1", proxy.port)
        assert attributes.request.time.seconds > 1_700_000_000
        http = attributes.request.http
        assert (http.id, http.method, http.path) == ("given", "POST", "/a%20b?c=d")
        assert (http.host, http.scheme, http.protocol, http.size) == ("proxy.test", "http", "HTTP/1.1", 4)
        assert (http.body, http.raw_body) == ("text", b"")
        assert dict(http.headers) == {
            ":authority": "proxy.test",
            ":method": "POST",
            ":path": "/a%20b?c=d",
            ":scheme": "http",
            "authorization": "x",
            "content-length": "4",
            "cookie": "a=1; b=2",
            "x-envoy-auth-partial-body": "false",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
            "x-many": "1,2",
            "x-request-id": "given",
        }


@on_our_loop
async def test_an_authorizer_made_for_envoy_may_be_told_less(proxy: InProcessProxy) -> None:
    check = {"forwardHeaders": ["Cookie"], "injectHeaders": [{"key": "X-Tenant", "value": "t"}]}
    async with protected(proxy, "envoy", {}, onCheck=check) as found:
        await found.client.exchange("POST /", "Cookie: c", "Authorization: x", body=b"text")
        http = found.asked.get_nowait().attributes.request.http
        assert {name for name in http.headers if not name.startswith(":")} == {"cookie", "x-tenant", "content-length"}
        assert http.body == ""


@on_our_loop
async def test_what_envoys_contract_allows(proxy: InProcessProxy) -> None:
    said = {
        "headers": [
            option("X-Set", "s"),
            option("X-Appended", "a", append={"value": True}),
            option("X-Replaced", "r", append={"value": False}),
            option("X-Absent", "no", append_action=1),
            option("X-New", "n", append_action=1),
            option("X-Over", "o", append_action=2),
            option("X-If", "i", append_action=3),
            option("X-If-Not", "no", append_action=3),
            option("X-Removed", "never"),
            option(":path", "/other"),
            {"header": {"key": "X-Bytes", "raw_value": b"\xff"}},
        ],
        "headers_to_remove": ["X-Removed", "Authorization", "Host", ":method", "Content-Length"],
        "response_headers_to_add": [option("X-Out", "1"), option("X-Out", "2", append={"value": True})],
    }
    async with protected(proxy, "envoy", {"ok_response": said}) as found:
        fields = [f"{name}: client" for name in ("X-Set", "X-Appended", "X-Replaced", "X-Absent", "X-Over", "X-If")]
        response = await found.client.exchange("POST /", *fields, "X-Removed: 1", "Authorization: x", body=b"text")
        assert (response.body, response.all("x-out")) == (b"ok", ["1", "2"])
        (forwarded,) = found.upstream.requests
        assert (forwarded.line, forwarded.body, forwarded.all("host")) == ("POST / HTTP/1.1", b"text", ["proxy.test"])
        got = {name: forwarded.all(name) for name in sorted(forwarded.names) if name.startswith("x-")}
        assert {name: values for name, values in got.items() if name not in ("x-forwarded-for", "x-request-id")} == {
            "x-absent": ["client"],
            "x-appended": ["client", "a"],
            "x-bytes": ["\xff"],
            "x-forwarded-host": ["proxy.test"],
            "x-forwarded-port": [str(proxy.port)],
            "x-forwarded-proto": ["http"],
            "x-if": ["i"],
            "x-new": ["n"],
            "x-over": ["o"],
            "x-replaced": ["r"],
            "x-set": ["s"],
        }
        assert "authorization" not in forwarded.names


@on_our_loop
async def test_the_query_as_envoys_contract_wants_it(proxy: InProcessProxy) -> None:
    decisions: list[dict[str, Any]] = [
        {
            "ok_response": {
                "query_parameters_to_set": pairs(("a b", "x&y"), ("new", "1")),
                "query_parameters_to_remove": ["c"],
            }
        },
        {"ok_response": {"query_parameters_to_remove": ["a b", "c", "d"]}},
        {"ok_response": {"query_parameters_to_set": pairs(("long", "x" * 70_000))}},
    ]
    async with protected(proxy, "envoy", *decisions) as found:
        responses = [await found.client.exchange("GET /p%20q?a+b=1&c=2&a%20b=3&d=%2f&c") for _ in decisions]
        assert denial(responses[-1]) == (403, "ext_authz: grpc check failed: malformed answer")
        assert [each.target for each in found.upstream.requests] == [
            "/p%20q?d=%2f&a+b=x%26y&new=1",
            "/p%20q",
        ]


@on_our_loop
async def test_what_envoys_contract_denies(proxy: InProcessProxy) -> None:
    decisions: list[dict[str, Any]] = [
        {"status": {"code": 7}},
        {
            "status": {"code": 16},
            "denied_response": {
                "status": {"code": 401},
                "body": "who?",
                "headers": [option("WWW-Authenticate", "Basic"), option("Content-Type", "text/html")],
            },
        },
        {"status": {"code": 7}, "denied_response": {"body": "no"}},
        {"status": {"code": 7}, "ok_response": {"headers": [option("X-User", "bob")]}},
        {"status": {"code": 7}, "error_response": {"status": {"code": 500}}},
        # Of these the status says nothing, which would be OK.
        {"error_response": {}},
        {"denied_response": {"status": {"code": 401}, "headers": [option("X-Why", "so")]}},
    ]
    async with protected(proxy, "envoy", *decisions) as found:
        response = await found.client.exchange("GET /")
        assert (response.status, response.body) == (403, b"")
        response = await found.client.exchange("GET /")
        assert (response.status, response.body, response["www-authenticate"]) == (401, b"who?", "Basic")
        assert response["content-type"] == "text/html"
        response = await found.client.exchange("GET /")
        assert (response.status, response.body, response["content-type"]) == (403, b"no", "text/plain")
        assert (await found.client.exchange("GET /")).status == 403
        for _ in range(2):
            assert denial(await found.client.exchange("GET /")) == (
                403,
                "ext_authz: grpc check failed: the authorizer has failed",
            )
        response = await found.client.exchange("GET /")
        assert (response.status, response["x-why"]) == (401, "so")
        assert found.upstream.requests == []


@on_our_loop
async def test_calls_of_grpc_that_are_denied_get_a_status(proxy: InProcessProxy) -> None:
    async with protected(proxy, "vrata", {"denied_status": 401, "denied_body": b"who?"}) as found:
        response = await found.client.exchange("POST /a.B/C", *CALL, body=MESSAGE)
        assert (response.status, response["grpc-status"], response.body) == (200, "16", b"")
