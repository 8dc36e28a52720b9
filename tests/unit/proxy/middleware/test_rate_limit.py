"""The ``rateLimit`` middleware in a proxy. Tokens come so slowly that none does while a test runs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.support.gateway import Document, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.raw_http import Response
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims

SLOWLY = {"requestsPerSecond": 0.01}
"""A token in 100 seconds."""
EXCEEDED = b'{"error":"rate limit exceeded"}'
ISSUED = Issuer(kid="a")
PAGE = Path(__file__).resolve().parents[4] / "docs" / "guide" / "middlewares" / "rate-limit.md"


def limit(id: str = "limit", **settings: Any) -> Document:  # noqa: A002
    return middleware(id, "rateLimit", **{**SLOWLY, **settings})


async def answer_directly(proxy: InProcessProxy, *middlewares: Document, **listener: Any) -> None:
    """Have the proxy itself answer what gets past *middlewares*."""
    attached = {"middlewareIds": [each["id"] for each in middlewares]}
    report = await proxy.apply(
        route("all", directResponse={"status": 200, "body": "ok"}) | attached,
        listeners=[proxy.listener(**listener)],
        middlewares=middlewares,
    )
    assert report.problems == ()


async def statuses(client: StreamClient, count: int, *fields: str) -> list[int]:
    return [(await client.exchange("GET /", *fields)).status for _ in range(count)]


@on_each_loop
async def test_what_is_beyond_the_burst_is_refused(proxy: InProcessProxy) -> None:
    await answer_directly(proxy, limit(burst=2))
    client = await proxy.connect()
    assert await statuses(client, 2) == [200, 200]
    refused = await client.exchange("GET /")
    assert (refused.status, refused.body, refused["content-type"]) == (429, EXCEEDED, "application/json")
    assert 99 <= int(refused["retry-after"]) <= 100
    assert not {"ratelimit", "ratelimit-policy"} & {name.lower() for name, _ in refused.headers}
    # Another connection of the same client is not another client.
    assert await statuses(await proxy.connect(), 1) == [429]


@on_each_loop
async def test_calls_of_grpc_are_told_in_their_own_way(proxy: InProcessProxy) -> None:
    await answer_directly(proxy, limit())
    client = await proxy.connect()
    await client.exchange("POST /a.B/C", "Content-Type: application/grpc")
    refused = await client.exchange("POST /a.B/C", "Content-Type: application/grpc")
    assert (refused.status, refused["grpc-status"], refused["grpc-message"]) == (200, "8", "rate limit exceeded")


@on_each_loop
async def test_clients_are_told_what_they_have_left(proxy: InProcessProxy) -> None:
    named = limit(burst=2, responseHeaders=True) | {"name": 'Fünf "am" Tag\\'}
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [named])
        client = await proxy.connect()
        answers: list[Response] = [await client.exchange("GET /") for _ in range(3)]
    name = '"F?nf \\"am\\" Tag\\\\"'
    assert [answer["ratelimit-policy"] for answer in answers] == [f"{name};q=2;w=200"] * 3
    told = [answer["ratelimit"].rpartition(";t=") for answer in answers]
    assert [left for left, _, _ in told] == [f"{name};r=1", f"{name};r=0", f"{name};r=0"]
    assert all(99 <= int(seconds) <= 100 for _, _, seconds in told)
    # They speak of the same moment.
    assert (answers[2].status, answers[2]["retry-after"]) == (429, told[2][2])


@on_each_loop
async def test_each_value_of_a_header_has_a_bucket_and_so_have_clients_without_one(proxy: InProcessProxy) -> None:
    await answer_directly(proxy, limit(key={"header": "X-Api-Key"}))
    client = await proxy.connect()
    for fields in (["X-API-KEY: a"], ["x-api-key: b", "x-api-key: a"], ["X-Api-Key: 127.0.0.1"], []):
        assert await statuses(client, 2, *fields) == [200, 429]
    assert await statuses(client, 1, "X-Api-Key:") == [429]  # as without


@on_each_loop
async def test_each_value_of_a_claim_has_a_bucket(proxy: InProcessProxy) -> None:
    verified = middleware("jwt", "jwt", issuer=ISSUER, jwksInline=jwks(ISSUED.jwk).decode())
    await answer_directly(proxy, verified, limit(key={"claim": "tenant"}))
    client = await proxy.connect()
    values: list[Any] = ["a", "b", 1, True, 1.5, "é", "\ud800", "\udc80", "127.0.0.1", None]
    for value in values:
        token = ISSUED.token(live_claims(tenant=value)).decode()
        assert await statuses(client, 2, f"Authorization: Bearer {token}") == [200, 429]
    for value in (["a"], {"a": 1}, ""):
        token = ISSUED.token(live_claims(tenant=value)).decode()
        assert await statuses(client, 1, f"Authorization: Bearer {token}") == [429]  # as null


@on_each_loop
async def test_each_value_of_an_expression_has_a_bucket(proxy: InProcessProxy) -> None:
    key = {"cel": "request.path == '/none' ? request.headers['x-absent'] : request.path + request.body.json.user"}
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [limit(key=key)])
        client = await proxy.connect()
        for path, user in (("/a", "eve"), ("/b", "eve"), ("/a", "bob"), ("/a", r"\ud800"), ("/none", "eve")):
            body = b'{"user":"%s"}' % user.encode()
            answers = [
                await client.exchange(f"POST {path}", "Content-Type: application/json", body=body) for _ in range(2)
            ]
            assert [answer.status for answer in answers] == [200, 429]
            assert backend.requests[-1].body == body
        # Without the value it belongs to the client.
        assert (await client.exchange("POST /a", body=b"no json")).status == 429


@on_each_loop
async def test_who_the_client_is(proxy: InProcessProxy) -> None:
    client = await proxy.connect()
    forwarded = "X-Forwarded-For: 203.0.113.7, 198.51.100.9"
    # Nobody is believed: all of them are one.
    await answer_directly(proxy, limit("a"))
    assert await statuses(client, 1) + await statuses(client, 1, forwarded) == [200, 429]
    # The listener believes its peer.
    await answer_directly(proxy, limit("b"), trustedProxies=["127.0.0.1"])
    assert await statuses(client, 1) + await statuses(client, 2, forwarded) == [200, 200, 429]
    # So does the middleware, and more: whom the listener believes is of no concern.
    own = limit("c", trustedProxies=["127.0.0.0/8", "198.51.100.0/24"])
    await answer_directly(proxy, own)
    assert await statuses(client, 2, forwarded) == [200, 429]
    assert await statuses(client, 1, "X-Forwarded-For: 1.2.3.4, 203.0.113.7") == [429]
    assert await statuses(client, 1, "X-Forwarded-For: 203.0.113.7, 1.2.3.4") == [200]
    await answer_directly(proxy, limit("d", trustedProxies=["192.0.2.1"]), trustedProxies=["127.0.0.1"])
    assert await statuses(client, 1) + await statuses(client, 1, forwarded) == [200, 429]


@on_each_loop
async def test_what_was_taken_stays_taken_while_the_limit_is_the_same(proxy: InProcessProxy) -> None:
    client = await proxy.connect()
    await answer_directly(proxy, limit(burst=2))
    assert await statuses(client, 1) == [200]
    for same in (limit(burst=2), limit(burst=2, responseHeaders=True), limit(burst=2) | {"name": "new"}):
        await answer_directly(proxy, same)
    assert await statuses(client, 2) == [200, 429]
    for other in (limit(burst=1), limit("other", burst=2), limit(burst=2, requestsPerSecond=0.02)):
        await answer_directly(proxy, other)
        assert await statuses(client, 1) == [200]


@on_each_loop
async def test_tokens_come_back(proxy: InProcessProxy) -> None:
    await answer_directly(proxy, limit(requestsPerSecond=20, burst=1))
    client = await proxy.connect()
    while (answer := await client.exchange("GET /")).status == 200:
        pass  # a busy machine
    assert (answer.status, answer["retry-after"]) == (429, "1")
    while (await client.exchange("GET /")).status == 429:
        pass


@on_each_loop
async def test_a_limit_for_all_proxies_needs_a_store(proxy: InProcessProxy) -> None:
    report = await proxy.apply(
        route("all", directResponse={"status": 200}) | {"middlewareIds": ["limit"]},
        middlewares=[limit(store="redis")],
    )
    (problem,) = report.problems
    assert problem.id == "all"
    assert 'rateLimit.store is "redis", and the configuration of this proxy names no sessionStore.redis' in (
        problem.reason
    )
    client = await proxy.connect()
    assert await statuses(client, 1) == [500]


@on_each_loop
async def test_the_page_of_the_guide(proxy: InProcessProxy) -> None:
    stated, admitted, refused = re.findall(r"^```(?:json)?\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    await answer_directly(proxy, {"id": "limit", **json.loads(stated)})
    client = await proxy.connect()
    answers: list[Response] = []
    for attempt in range(20):
        began = time.monotonic()
        answers = [await client.exchange("GET /", f"X-Api-Key: {attempt}") for _ in range(4)]
        if time.monotonic() - began < 0.9:
            break  # else the machine was too busy for the seconds on the page
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    for line in admitted.splitlines():
        name, _, value = line.partition(": ")
        assert answers[2][name] == value
    head, _, body = refused.strip().partition("\n\n")
    status, *fields = head.splitlines()
    assert status == "HTTP/1.1 429 Too Many Requests"
    assert answers[3].body.decode() == body
    for line in fields:
        name, _, value = line.partition(": ")
        assert answers[3][name] == value


@on_each_loop
async def test_a_network_of_ipv6_is_one_client(proxy: InProcessProxy) -> None:
    trusted = ["127.0.0.1"]
    await answer_directly(proxy, limit(), trustedProxies=trusted)
    client = await proxy.connect()
    assert await statuses(client, 1, "X-Forwarded-For: 2001:db8:1:2::1") == [200]
    assert await statuses(client, 1, "X-Forwarded-For: 2001:db8:1:2:ffff::2") == [429]
    assert await statuses(client, 1, "X-Forwarded-For: 2001:db8:1:3::1") == [200]
    assert await statuses(client, 1, "X-Forwarded-For: ::ffff:192.0.2.1") == [200]
    assert await statuses(client, 1, "X-Forwarded-For: 192.0.2.1") == [429]
    # The same of a middleware that has its own proxies, and each address on its own where that is asked for.
    for own in ([], trusted):
        each = limit(f"own {own}", ipv6PrefixLength=128, trustedProxies=own)
        await answer_directly(proxy, each, trustedProxies=trusted)
        for address in ("2001:db8:1:2::1", "2001:db8:1:2::2"):
            assert await statuses(client, 2, f"X-Forwarded-For: {address}") == [200, 429]
    wide = limit("wide", ipv6PrefixLength=48, trustedProxies=trusted)
    await answer_directly(proxy, wide, trustedProxies=trusted)
    assert await statuses(client, 1, "X-Forwarded-For: 2001:db8:1:2::1") == [200]
    assert await statuses(client, 1, "X-Forwarded-For: 2001:db8:1:3::1") == [429]
    assert await statuses(client, 1, "X-Forwarded-For: 192.0.2.1") == [200]
