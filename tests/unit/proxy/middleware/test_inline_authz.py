"""The ``inlineAuthz`` middleware between a client and a backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import route
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import request
from tests.support.tls_listener import authority, client_authority, terminating


def authz(*rules: tuple[str, str], **settings: Any) -> dict[str, Any]:
    return middleware("z", "inlineAuthz", rules=[{"cel": cel, "action": action} for cel, action in rules], **settings)


@pytest.mark.parametrize(
    ("rules", "default", "allowed"),
    [
        ([("true", "allow"), ("true", "deny")], "deny", True),
        ([("true", "deny"), ("true", "allow")], "allow", False),
        ([("false", "allow"), ("request.method == 'GET'", "deny")], "allow", False),
        ([("false", "deny"), ("false", "deny")], "allow", True),
        ([("false", "allow")], "deny", False),
        # A rule that has no value is not true.
        ([("request.headers.absent == 'x'", "allow")], "deny", False),
        ([("request.headers.absent == 'x'", "deny")], "allow", True),
        ([("1 / 0 == 1", "deny"), ("true", "allow")], "deny", True),
        ([("request.clientIp == '127.0.0.1' && request.scheme == 'http'", "allow")], "deny", True),
        # There is no certificate, and no body.
        ([("has(request.tls)", "deny"), ("has(request.body)", "deny")], "allow", True),
    ],
)
@on_our_loop
async def test_the_first_rule_that_is_true_decides(
    proxy: InProcessProxy, rules: list[tuple[str, str]], default: str, allowed: bool
) -> None:
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [authz(*rules, defaultAction=default)])
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, len(backend.requests)) == ((200, 1) if allowed else (403, 0))


@on_our_loop
async def test_a_denial_is_what_was_asked_for(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [authz(("false", "allow"))])
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, response["content-type"]) == (403, "application/json")
        assert response.body == b'{"error":"access denied"}'
        await pass_through(proxy, backend.port, [authz(("false", "allow"), denyStatus=451, denyBody="n\u00f6 {}")])
        response = await client.exchange("GET /")
        assert (response.status, response.body.decode()) == (451, "n\u00f6 {}")
        head = await client.exchange("HEAD /")
        assert (head.status, head["content-length"], head.body) == (451, "6", b"")
        call = await client.exchange("POST /", "Content-Type: application/grpc", "TE: trailers", body=b"")
        assert (call.status, call["content-type"], call["grpc-status"]) == (200, "application/grpc", "2")
        # Only a POST is a call: to others a status of 200 would be a lie.
        assert (await client.exchange("GET /", "Content-Type: application/grpc")).status == 451


@on_our_loop
async def test_a_denial_whose_status_has_no_body_has_none(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        observer = middleware("h", "headers", responseHeadersToAdd=[{"key": "X-A", "value": "1"}])
        for outer in ([], [observer]):
            await pass_through(proxy, backend.port, [*outer, authz(("false", "allow"), denyStatus=204)])
            client = await proxy.connect()
            for _ in range(2):  # what came of the first would be in the way of the second
                response = await client.exchange("GET /")
                assert (response.status, "content-length" in response) == (204, False)


@on_our_loop
async def test_rules_see_the_body_and_it_goes_on_whole(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        rules = (
            ("request.method == 'GET'", "allow"),
            ("request.body.json.amount > 100", "deny"),
            ("request.body.json.user == 'ada'", "allow"),
        )
        await pass_through(proxy, backend.port, [authz(*rules)])
        client = await proxy.connect()

        async def decision(document: Any, *fields: str) -> int:
            body = json.dumps(document).encode()
            return (await client.exchange("POST /", "Content-Type: application/json", *fields, body=body)).status

        assert await decision({"user": "ada", "amount": 1}) == 200
        assert json.loads(backend.requests[-1].body) == {"user": "ada", "amount": 1}
        assert await decision({"user": "ada", "amount": 101}) == 403
        assert await decision({"user": "bob", "amount": 1}) == 403
        assert await decision(["ada"]) == 403
        assert len(backend.requests) == 1
        # One that comes bit by bit is waited for.
        text = b'{"user": "ada", "amount": 2}'
        whole = request("POST /", "Content-Type: application/json", body=text)
        client.send(whole[:-20])
        assert await client.is_silent(0.02)
        client.send(whole[-20:])
        assert (await client.read_response("POST")).status == 200
        assert backend.requests[-1].body == text
        # What the rules cannot see whole has no value.
        large = {"user": "ada", "amount": 1, "padding": "x" * 70_000}
        assert await decision(large) == 403


@on_our_loop
async def test_rules_see_the_certificate_of_the_client(proxy: InProcessProxy, tmp_path: Path) -> None:
    ca = client_authority()
    listener = {"tls": terminating(clientAuth={"mode": "optional", "ca": ca.cert_text})}
    rule = "request.tls.peerCertificate.uris.exists(uri, uri == 'spiffe://shop.test/web') && request.scheme == 'https'"
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [authz((rule, "allow"))], listener=listener)
        for uri, status in (("spiffe://shop.test/web", 200), ("spiffe://shop.test/else", 403), ("", 403)):
            certificate = ca.issue("web", uris=[uri]) if uri else None
            client = await proxy.connect(tls=authority().client_context(certificate, tmp_path))
            assert (await client.exchange("GET /")).status == status


@on_our_loop
async def test_a_rule_that_cannot_be_compiled_lets_nobody_past(proxy: InProcessProxy) -> None:
    broken = authz(("true", "allow"))
    broken["inlineAuthz"]["rules"].append({"cel": "nonsense(", "action": "deny"})
    report = await proxy.apply(
        {**route("all", directResponse={"status": 200}), "middlewareIds": ["z"]}, middlewares=[broken]
    )
    assert report.problems
    client = await proxy.connect()
    response = await client.exchange("GET /")
    assert (response.status, response.body) == (500, b'{"error":"middleware unavailable"}')
