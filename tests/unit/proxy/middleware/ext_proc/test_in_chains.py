"""Processors among other middlewares: what is outside sees what they have made, and so does what is inside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processors import (
    DIE,
    LEAVE,
    Do,
    EnvoyProcessor,
    Processor,
    Reject,
    Reply,
    Script,
    Seen,
    VrataProcessor,
)
from tests.support.recording_backend import RecordingBackend
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims


def middleware(kind: str, settings: Document) -> Document:
    return {"id": kind, "name": kind, "type": kind, kind: settings}


GUARD = middleware("inlineAuthz", {"rules": [{"cel": "request.body.raw.contains('new')", "action": "allow"}]})


async def chain(
    proxy: InProcessProxy, found: Processor, port: int, order: list[str], *others: Document, **settings: Any
) -> None:
    documents = found.entities(**settings)
    documents["middlewares"] += others
    documents["destinations"].append(destination("backend", port))
    report = await proxy.apply(route("all", forward=forward("backend"), middlewareIds=order), **documents)
    assert not report.problems


HEADERS = middleware("headers", {"responseHeadersToAdd": [{"key": "x-order", "value": "outside", "append": False}]})


@pytest.mark.parametrize("order", [["processing"], ["headers", "processing"]])
@pytest.mark.parametrize("phase", ["requestHeaders", "responseHeaders"])
@on_our_loop
async def test_a_rejection_with_more_headers_than_a_response_may_have(
    proxy: InProcessProxy, order: list[str], phase: str
) -> None:
    rejection = Reject(403, tuple((f"x-{number}", "a") for number in range(100)), b"no")
    script = lambda seen: rejection if seen.phase == phase else Do()  # noqa: E731
    with RecordingBackend() as backend, VrataProcessor(script) as found:
        await chain(proxy, found, backend.port, order, HEADERS)
        response = await (await proxy.connect()).exchange("GET /")
        assert (response.status, response.body) == (500, b'{"error":"external processor failed"}')
        assert ("x-order" in response) == ("headers" in order)
        await chain(proxy, found, backend.port, order, HEADERS, allowOnError=True)
        assert (await (await proxy.connect()).exchange("GET /")).status == 200


@pytest.mark.parametrize("mode", ["buffered", "bufferedPartial", "streamed"])
@on_our_loop
async def test_that_expressions_inside_see_the_new_body(proxy: InProcessProxy, mode: str) -> None:
    def script(seen: Seen) -> Reply:
        return Do(body=seen.body.replace(b"old", b"new")) if seen.phase == "requestBody" else Do()

    with RecordingBackend() as backend, VrataProcessor(script) as found:
        await chain(proxy, found, backend.port, ["processing", "inlineAuthz"], GUARD, phases={"requestBody": mode})
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"old")).status == 200
        assert backend.requests[0].body == b"new"
        assert (await client.exchange("POST /", body=b"other")).status == 403
        # A rejection from inside is a response like any other.
        assert [seen[":status"] for seen in found.of("responseHeaders")] == ["200", "403"]
        await chain(proxy, found, backend.port, ["inlineAuthz", "processing"], GUARD, phases={"requestBody": mode})
        assert (await client.exchange("POST /", body=b"old")).status == 403
        assert (await client.exchange("POST /", body=b"new")).status == 200


@pytest.mark.parametrize("mode", ["buffered", "streamed"])
@on_our_loop
async def test_that_they_see_it_when_the_match_has_seen_the_old_one(proxy: InProcessProxy, mode: str) -> None:
    def script(seen: Seen) -> Reply:
        return Do(body=b"new") if seen.phase == "requestBody" else Do()

    with RecordingBackend() as backend, VrataProcessor(script) as found:
        documents = found.entities(phases={"requestBody": mode})
        documents["middlewares"].append(GUARD)
        documents["destinations"].append(destination("backend", backend.port))
        match = {"cel": "request.body.raw.contains('old')"}
        entry = route("all", match, forward=forward("backend"), middlewareIds=["processing", "inlineAuthz"])
        await proxy.apply(entry, **documents)
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"old")).status == 200
        assert backend.requests[0].body == b"new"


@on_our_loop
async def test_that_headers_outside_act_on_what_the_processor_has_made(proxy: InProcessProxy) -> None:
    headers = middleware(
        "headers",
        {
            "requestHeadersToAdd": [{"key": "x-order", "value": "outside", "append": False}],
            "responseHeadersToAdd": [{"key": "x-order", "value": "outside", "append": False}],
        },
    )
    script = {"requestHeaders": Do({"x-order": "processor"}), "responseHeaders": Do({"x-order": "processor"})}
    with RecordingBackend() as backend, VrataProcessor(lambda seen: script[seen.phase]) as found:
        for order, expected in (
            (["headers", "processing"], ("processor", "outside")),
            (["processing", "headers"], ("outside", "processor")),
        ):
            await chain(proxy, found, backend.port, order, headers)
            client = await proxy.connect()
            response = await client.exchange("GET /")
            assert (backend.requests[-1].all("x-order")[0], response["x-order"]) == expected


@on_our_loop
async def test_two_processors(proxy: InProcessProxy) -> None:
    def outer(seen: Seen) -> Reply:
        return Do(body=b"(" + seen.body + b")") if seen.phase.endswith("Body") else Do()

    def inner(seen: Seen) -> Reply:
        return Do(body=b"[" + seen.body + b"]") if seen.phase.endswith("Body") else Do()

    phases = {"requestBody": "streamed", "responseBody": "buffered"}
    echo = RecordingBackend(script=lambda exchange: exchange.respond(body=exchange.body))
    with echo as backend, VrataProcessor(outer) as first, VrataProcessor(inner) as second:
        documents = second.entities(phases=phases)
        documents["middlewares"][0].update(id="second", name="second")
        documents["middlewares"][0]["extProc"]["destinationId"] = "other"
        documents["destinations"][0].update(id="other", name="other")
        own = first.entities(phases=phases)
        entry = route("all", forward=forward("backend"), middlewareIds=["processing", "second"])
        middlewares = [*own["middlewares"], *documents["middlewares"]]
        destinations = [*own["destinations"], *documents["destinations"], destination("backend", backend.port)]
        await proxy.apply(entry, middlewares=middlewares, destinations=destinations)
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"x")).body == b"([[(x)]])"
        second.script = lambda seen: DIE if seen.phase == "responseHeaders" else inner(seen)
        response = await client.exchange("POST /", body=b"x")
        assert (response.status, response.body) == (500, b'({"error":"external processor failed"})')


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        (lambda seen: Do(), {}),
        (lambda seen: Do(), {"allowOnError": True}),
        (lambda seen: DIE, {"allowOnError": True}),
        (lambda seen: LEAVE, {"contract": "envoy"}),
    ],
)
@on_our_loop
async def test_that_a_failure_inside_is_not_the_processors(
    proxy: InProcessProxy, script: Script, settings: dict[str, Any]
) -> None:
    issuer = Issuer(kid="a")
    to_headers = [{"expr": "claims.sub", "header": f"x-{number}"} for number in range(10)]
    token = middleware("jwt", {"issuer": ISSUER, "jwksInline": jwks(issuer.jwk).decode(), "claimToHeaders": to_headers})
    kind = EnvoyProcessor if "contract" in settings else VrataProcessor
    with RecordingBackend() as backend, kind(script) as found:
        await chain(proxy, found, backend.port, ["processing", "jwt"], token, **settings)
        client = await proxy.connect()
        many = [f"X-More-{number}: a" for number in range(93)]
        bearer = f"Authorization: Bearer {issuer.token(live_claims()).decode()}"
        assert (await client.exchange("GET /", bearer, *many)).status == 431
        assert (await client.exchange("GET /", bearer)).status == 200
