"""External authorization by HTTP, over real sockets: what the authorizer is told, and what comes of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.callouts import services
from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.gateway import Document, destination, forward, route
from tests.support.grpc_answers import CALL, MESSAGE
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.raw_http import Response
from tests.support.retries import Answer, close, in_turn, reset, respond, silence
from tests.support.staged_backend import ReceivedRequest, Script, StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import StreamClient, request


@dataclass
class Setup:
    """A route to ``upstream`` whose requests ``authorizer`` decides about."""

    proxy: InProcessProxy
    authorizer: StagedBackend
    upstream: StagedBackend
    client: StreamClient

    async def put_inside(self, inner: Document) -> None:
        """Ask about ``X-Auth-*``, and have what is allowed pass *inner*."""
        await self.proxy.apply(
            route("all", forward=forward("upstream"), middlewareIds=["m", inner["id"]]),
            destinations=[
                destination("upstream", self.upstream.port),
                destination("authorizer", self.authorizer.port),
            ],
            middlewares=[middleware(onAllow={"copyToUpstream": ["X-Auth-*"]}), inner],
        )


def middleware(**settings: Any) -> Document:
    """An ``extAuthz`` middleware that asks the destination ``authorizer``."""
    return {
        "id": "m",
        "name": "authz",
        "type": "extAuthz",
        "extAuthz": {"destinationId": "authorizer", **settings},
    }


async def protect(
    proxy: InProcessProxy, upstream: int, authorizer: int, listeners: list[Document] | None = None, **settings: Any
) -> None:
    """Ask whoever listens on *authorizer* about each request to *upstream*."""
    report = await proxy.apply(
        route("all", forward=forward("upstream"), middlewareIds=["m"]),
        destinations=[destination("upstream", upstream), destination("authorizer", authorizer)],
        middlewares=[middleware(**settings)],
        listeners=listeners,
    )
    assert not report.problems


@asynccontextmanager
async def protected(
    proxy: InProcessProxy, *answers: Answer, script: Script = answer_ok, **settings: Any
) -> AsyncIterator[Setup]:
    async with StagedBackend(in_turn(*answers)) as authorizer, StagedBackend(script) as upstream:
        await protect(proxy, upstream.port, authorizer.port, **settings)
        yield Setup(proxy, authorizer, upstream, await proxy.connect())
        assert services(proxy).under_way == 0


def denial(response: Response) -> tuple[int, str]:
    """Status and text of an error that the middleware has made."""
    assert response["content-type"] == "application/json"
    members = json.loads(response.body)
    assert set(members) == {"error"}
    return response.status, members["error"]


@on_our_loop
async def test_what_the_authorizer_is_told(proxy: InProcessProxy) -> None:
    check = {
        "forwardHeaders": ["Authorization", "X-Many", "X-Absent", "X-Forwarded-Host", "Content-Length", "X-Client"],
        "injectHeaders": [
            {"key": "X-Host", "value": "${request.host} ${request.header.x-many}"},
            {"key": "X-Client", "value": "ours"},
            {"key": "X-Client", "value": "and ours", "append": True},
            {"key": "X-Last", "value": "first"},
            {"key": "X-Last", "value": "last", "append": False},
        ],
    }
    async with protected(proxy, path="/check?by=us", onCheck=check) as found:
        response = await found.client.exchange(
            "PUT /a%20b?c=d",
            "authorization: Bearer x",
            "X-Many: 1",
            "x-many: 2",
            "X-Client: theirs",
            "X-Forwarded-Host: lies.test",
            "X-Forwarded-Method: LIE",
            "Cookie: secret",
            body=b"content",
        )
        assert (response.status, response.body) == (200, b"ok")
        (asked,) = found.authorizer.requests
        assert asked.line == "POST /check?by=us HTTP/1.1"
        assert asked.fields == (
            ("host", f"127.0.0.1:{found.authorizer.port}"),
            ("content-length", "0"),
            ("authorization", "Bearer x"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("x-forwarded-method", "PUT"),
            ("x-forwarded-uri", "/a%20b?c=d"),
            ("x-forwarded-host", "proxy.test"),
            ("x-host", "proxy.test 1"),
            ("x-client", "ours"),
            ("x-client", "and ours"),
            ("x-last", "last"),
        )
        (forwarded,) = found.upstream.requests
        assert (forwarded.line, forwarded.body) == ("PUT /a%20b?c=d HTTP/1.1", b"content")
        assert forwarded.all("cookie") == ["secret"]


@on_our_loop
async def test_with_the_body_the_authorizer_sees_all_of_it_and_its_type(proxy: InProcessProxy) -> None:
    async with protected(proxy, includeBody=True, maxBodyBytes=100_000) as found:
        content = bytes(range(256)) * 300
        response = await found.client.exchange("POST /", "Content-Type: text/x", body=content)
        assert response.body == b"ok"
        (asked,) = found.authorizer.requests
        assert asked.all("content-type") == ["text/x"]
        assert asked.body == content
        assert found.upstream.requests[0].body == content
        chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
        found.client.send(request("POST /", "Transfer-Encoding: chunked", "TE: trailers", "Connection: te") + chunks)
        assert (await found.client.read_response()).body == b"ok"
        assert found.authorizer.requests[1].body == b"hello world"
        assert found.upstream.requests[1].body == b"hello world"
        assert found.upstream.requests[1].trailers == (b"X-Trailer: t",)


@on_our_loop
async def test_a_client_that_waits_for_leave_is_asked_for_its_body(proxy: InProcessProxy) -> None:
    async with protected(proxy, includeBody=True) as found:
        found.client.send(request("POST /", "Content-Length: 5", "Expect: 100-continue"))
        assert (await found.client.read_response(interim=True)).status == 100
        found.client.send(b"hello")
        assert (await found.client.read_response()).body == b"ok"
        assert found.authorizer.requests[0].body == b"hello"
        assert found.upstream.requests[0].body == b"hello"


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("fails_open", [True, False])
@on_our_loop
async def test_a_body_that_is_too_long_is_no_way_past(
    proxy: InProcessProxy, is_declared: bool, fails_open: bool
) -> None:
    async with protected(proxy, includeBody=True, maxBodyBytes=8, failureModeAllow=fails_open) as found:
        assert (await found.client.exchange("POST /", body=b"12345678")).body == b"ok"
        framing = "Content-Length: 9" if is_declared else "Transfer-Encoding: chunked"
        found.client.send(
            request("POST /", framing) + (b"123456789" if is_declared else b"9\r\n123456789\r\n0\r\n\r\n")
        )
        assert denial(await found.client.read_response()) == (413, "ext_authz: request body too large")
        assert len(found.authorizer.requests) == len(found.upstream.requests) == 1


@on_our_loop
async def test_what_is_allowed_may_get_fields_of_the_answer_and_keeps_none_of_its_own_copies(
    proxy: InProcessProxy,
) -> None:
    fields = ("X-User: bob", "X-Auth-Role: reader", "X-Auth-Role: writer", "X-Other: o", "Content-Type: text/plain")
    patterns = ["X-User", "x-auth-*", "Host", "Content-Length"]
    async with protected(proxy, respond(204, b"", *fields), onAllow={"copyToUpstream": patterns}) as found:
        await found.client.exchange(
            "GET /",
            "x-user: admin",
            "X_User: admin",
            "X-Auth-Role: root",
            "x-auth-anything: true",
            "X_Auth_Role: root",
            "X-Other: mine",
        )
        (forwarded,) = found.upstream.requests
        assert forwarded.all("x-user") == ["bob"]
        assert forwarded.all("x-auth-role") == ["reader", "writer"]
        assert forwarded.all("x-other") == ["mine"]
        assert forwarded.names & {"x-auth-anything", "x_user", "x_auth_role", "content-type", "content-length"} == set()
        # The next answer says nothing of them, and so do they.
        await found.client.exchange("GET /", "x-user: admin", "x-auth-anything: true")
        assert found.upstream.requests[1].names & {"x-user", "x-auth-anything"} == set()


@on_our_loop
async def test_trailers_do_not_bring_back_what_was_removed(proxy: InProcessProxy) -> None:
    edits = {"requestHeadersToAdd": [{"key": "X-Via", "value": "us", "append": False}]}
    headers = {"id": "h", "name": "h", "type": "headers", "headers": edits}
    async with protected(proxy) as found:
        await found.put_inside(headers)
        trailers = b"X-Auth-Role: admin\r\nx_auth_user: root\r\nX-Mine: m\r\nX_VIA: me\r\n"
        found.client.send(request("POST /", "Transfer-Encoding: chunked") + b"2\r\nab\r\n0\r\n" + trailers + b"\r\n")
        assert (await found.client.read_response()).body == b"ok"
        assert found.upstream.requests[0].trailers == (b"X-Mine: m",)


@on_our_loop
async def test_what_connection_nominates_is_deleted_for_what_is_inside_as_well(proxy: InProcessProxy) -> None:
    rules = [{"cel": "request.headers['x-auth-role'] == 'admin'", "action": "allow"}]
    inside = {"id": "i", "name": "i", "type": "inlineAuthz", "inlineAuthz": {"rules": rules, "defaultAction": "deny"}}
    async with protected(proxy) as found:
        await found.put_inside(inside)
        response = await found.client.exchange("GET /", "Connection: x-auth-role", "X-Auth-Role: admin")
        assert response.status == 403
        assert (len(found.authorizer.requests), found.upstream.requests) == (1, [])


@on_our_loop
async def test_a_pattern_for_everything_takes_what_the_answer_has(proxy: InProcessProxy) -> None:
    fields = ("X-User: bob", "Date: today", "Content-Type: text/plain", "Content-Language: en", "Server: x")
    async with protected(proxy, respond(200, b"yes", *fields), onAllow={"copyToUpstream": ["*"]}) as found:
        await found.client.exchange("POST /", "X-User: me", "X-Mine: m", "Content-Type: text/mine", body=b"b")
        (forwarded,) = found.upstream.requests
        assert (forwarded.all("x-user"), forwarded.all("x-mine")) == (["bob"], ["m"])
        assert forwarded.all("content-type") == ["text/mine"]
        assert forwarded.names & {"date", "server", "content-language"} == set()


@on_our_loop
async def test_what_is_denied_gets_the_answer(proxy: InProcessProxy) -> None:
    fields = (
        "Location: /login",
        "Set-Cookie: a=1",
        "Set-Cookie: b=2",
        "WWW-Authenticate: Basic",
        "Content-Type: text/html",
        "X-Copied-Why: because",
        "X-Secret: s",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    )
    copied = {"copyToClient": ["x-copied-*", "Connection", "Date", "Server"]}
    answers = [respond(302, b"<p>", *fields), respond(304), respond(500, b"oops"), respond(401)]
    async with protected(proxy, *answers, onDeny=copied) as found:
        response = await found.client.exchange("GET /")
        assert (response.status, response.body) == (302, b"<p>")
        assert response["location"] == "/login"
        assert response.all("set-cookie") == ["a=1", "b=2"]
        assert response["www-authenticate"] == "Basic"
        assert response["content-type"] == "text/html"
        assert response["x-copied-why"] == "because"
        assert not response.all("x-secret")
        (date,) = response.all("date")
        assert "1970" not in date
        assert (await found.client.exchange("GET /")).status == 304
        response = await found.client.exchange("GET /")
        assert (response.status, response.body, response.all("content-type")) == (500, b"oops", [])
        assert (await found.client.exchange("GET /")).status == 401
        assert found.upstream.requests == []
        assert [each.target for each in found.authorizer.requests] == ["/"] * 4, "redirects are not followed"


async def babble(connection: StagedConnection, found: ReceivedRequest) -> None:
    await connection.read_body(found)
    connection.send(b"no HTTP at all\r\n\r\n")
    await connection.gone()
    raise EOFError


UNREACHABLE = (403, "ext_authz: authz service unreachable")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(silence, id="hangs"),
        pytest.param(close, id="closes"),
        pytest.param(reset, id="resets"),
        pytest.param(babble, id="garbage"),
        pytest.param(respond(200, bytes((1 << 20) + 1)), id="endless"),
        pytest.param(respond(999), id="no status"),
    ],
)
@on_our_loop
async def test_an_authorizer_that_fails(proxy: InProcessProxy, answer: Answer) -> None:
    async with protected(proxy, answer, answer, decisionTimeout="100ms") as found:
        assert denial(await found.client.exchange("POST /", body=b"content")) == UNREACHABLE
        assert found.upstream.requests == []
        await protect(proxy, found.upstream.port, found.authorizer.port, decisionTimeout="100ms", failureModeAllow=True)
        assert (await found.client.exchange("POST /", body=b"content")).body == b"ok"
        assert found.upstream.requests[0].body == b"content"


@on_our_loop
async def test_nobody_keeps_the_authorizers_fields_where_failures_let_requests_in(proxy: InProcessProxy) -> None:
    settings: Document = {"failureModeAllow": True, "onAllow": {"copyToUpstream": ["X-Auth-*"]}}
    many = [f"f{number}: 1" for number in range(97)]
    async with protected(
        proxy, respond(200, b"", "X-Auth-User: bob", "X-Auth-Role: guest"), close, close, **settings
    ) as found:
        answer = denial(await found.client.exchange("GET /", "X-Auth-Role: admin", *many))
        assert answer == (431, "ext_authz: too many request headers")
        assert found.upstream.requests == []
        await found.client.exchange("GET /", "X-Auth-Role: admin", "X-Other: o")
        (forwarded,) = found.upstream.requests
        assert (forwarded.all("x-auth-role"), forwarded.all("x-other")) == ([], ["o"])


@on_our_loop
async def test_an_authorizer_that_is_not_there(proxy: InProcessProxy) -> None:
    async with StagedBackend() as upstream:
        with DeadPorts() as dead:
            await protect(proxy, upstream.port, dead.refused)
            client = await proxy.connect()
            assert denial(await client.exchange("GET /")) == UNREACHABLE
            await proxy.apply(
                route("all", forward=forward("upstream"), middlewareIds=["m"]),
                destinations=[destination("upstream", upstream.port)],
                middlewares=[middleware()],
            )
            assert denial(await client.exchange("GET /")) == UNREACHABLE
            assert upstream.requests == []


@on_each_loop
async def test_a_client_that_leaves_takes_its_question_with_it(proxy: InProcessProxy) -> None:
    async with protected(proxy, silence) as found:
        found.client.send(request("GET /"))
        await eventually_async(lambda: found.authorizer.requests, what="the authorizer is asked")
        found.client.reset()
        await eventually_async(lambda: found.authorizer.open == 0, what="the question is taken back")
        assert found.upstream.requests == []


@on_each_loop
async def test_a_body_waits_for_the_decision_and_only_so_much_of_it_is_held(proxy: InProcessProxy) -> None:
    released = asyncio.Event()

    async def allow(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        await released.wait()
        connection.respond()

    async with protected(proxy, allow) as found:
        content = bytes(8_000_000)
        found.client.send(request("POST /", f"Content-Length: {len(content)}") + content)
        await eventually_async(lambda: found.authorizer.requests, what="the authorizer is asked")
        assert found.upstream.requests == []
        released.set()
        assert (await found.client.read_response()).body == b"ok"
        assert found.upstream.requests[0].body == content


@on_our_loop
async def test_a_denial_does_not_wait_for_the_body(proxy: InProcessProxy) -> None:
    async with protected(proxy, respond(403, b"no")) as found:
        found.client.send(request("POST /", "Content-Length: 10"))
        response = await found.client.read_response()
        assert (response.status, response.body) == (403, b"no")


@on_our_loop
async def test_calls_of_grpc_get_a_status(proxy: InProcessProxy) -> None:
    answers = [respond(403, b"no"), respond(401), respond(429, b"slowly"), babble]
    async with protected(proxy, *answers) as found:
        codes = []
        for _ in range(4):
            response = await found.client.exchange("POST /a.B/C", *CALL, body=MESSAGE)
            assert (response.status, response["content-type"]) == (200, "application/grpc")
            codes.append((response["grpc-status"], response["grpc-message"]))
        assert codes == [
            ("7", "denied by the authorizer"),
            ("16", "denied by the authorizer"),
            ("14", "denied by the authorizer"),
            ("7", "ext_authz: authz service unreachable"),
        ]


@on_our_loop
async def test_a_denial_ends_a_request_whose_body_was_not_read(proxy: InProcessProxy) -> None:
    released = asyncio.Event()

    async def deny(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        await released.wait()
        connection.respond(b"no", status=403)

    async with protected(proxy, deny) as found:
        content = bytes(8_000_000)
        found.client.send(request("POST /", f"Content-Length: {len(content)}") + content)
        await eventually_async(lambda: found.authorizer.requests, what="the authorizer is asked")
        released.set()
        assert (await found.client.read_response()).body == b"no"
        assert await found.client.ending() in ("closed", "reset")
        assert found.upstream.requests == []


@on_our_loop
async def test_an_upgrade_is_decided_about_as_well(proxy: InProcessProxy) -> None:
    async def tunnel(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        connection.send(b"echo " + await connection.reader.readexactly(5))

    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    async with protected(proxy, respond(200, b"", "X-User: bob"), respond(403), script=tunnel, **COPIES_USER) as found:
        found.client.send(request("GET /", *upgrade, "X-User: me"))
        assert (await found.client.read_response(interim=True)).status == 101
        found.client.send(b"hello")
        assert await found.client.read_exactly(10) == b"echo hello"
        assert found.upstream.requests[0].all("x-user") == ["bob"]
        assert (await (await proxy.connect()).exchange("GET /", *upgrade)).status == 403
        assert len(found.upstream.requests) == 1


COPIES_USER = {"onAllow": {"copyToUpstream": ["X-User"]}}


@on_our_loop
async def test_decisions_are_counted(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(200), respond(401), silence)) as authorizer, StagedBackend() as upstream:
        await protect(
            proxy, upstream.port, authorizer.port, listeners=[proxy.listener(metrics={})], decisionTimeout="1s"
        )
        client = await proxy.connect()
        assert [(await client.exchange("GET /")).status for _ in range(3)] == [200, 401, 403]
        scraped = await InProcessMetrics(proxy).scrape()
        labels = {"middleware": "authz", "type": "extAuthz"}
        assert scraped("vrata_middleware_passed_total", **labels) == 1
        for status in ("401", "403"):
            assert scraped("vrata_middleware_rejections_total", **labels, status_code=status) == 1
        assert scraped("vrata_middleware_duration_seconds_count", **labels) == 3
        assert scraped("vrata_middleware_duration_seconds_sum", **labels) >= 1.0
        # The last one was decided by nobody.
        assert scraped("vrata_middleware_errors_total", **labels) == 1
