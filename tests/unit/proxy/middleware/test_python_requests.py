"""What a user's class does to requests, in front of a real backend."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.support.conditions import eventually_async
from tests.support.python_scene import PythonScene, python_scene
from tests.support.stream_client import request
from vrata.middleware import Middleware, Request, Response
from vrata.proxy.dataplane import ApplyReport

FAILED = b'{"error":"middleware failed"}'


@python_scene
async def test_headers_that_are_changed_reach_the_upstream(scene: PythonScene) -> None:
    class Editing(Middleware):
        def on_request(self, request: Request) -> None:
            request.headers["X-Tenant"] = self.settings["tenant"]
            request.headers.add("Accept", "text/plain")
            del request.headers["x-secret"]

    client = await scene.apply(Editing, settings={"tenant": "grün"})
    fields = ("X-Tenant: forged", "x_tenant: forged", "Accept: a/b", "X-Secret: hush", "X-Other: stays")
    response = await client.exchange("POST /path", *fields, body=b"content")
    assert response.body == b"ok"
    (found,) = scene.backend.requests
    assert found.all("x-tenant") == ["grün".encode().decode("latin-1")]
    assert found.all("accept") == ["a/b", "text/plain"]
    assert not {"x-secret", "x_tenant"} & found.names
    assert found.all("x-other") == ["stays"]
    assert (found.target, found.body, found.all("content-length")) == ("/path", b"content", ["7"])
    assert found.all("host") == ["proxy.test"]
    assert await scene.counted() == (1, 0, 0)


@python_scene
async def test_an_answer_of_its_own(scene: PythonScene) -> None:
    class Answering(Middleware):
        def on_request(self, request: Request) -> Response | None:
            if request.path == "/through":
                return None
            response = Response(401, {"WWW-Authenticate": "Bearer"}, "who are you?")
            response.headers.add("Set-Cookie", "a=1")
            response.headers.add("Set-Cookie", "b=2")
            return response

    client = await scene.apply(Answering)
    response = await client.exchange("GET /")
    assert (response.status, response.body, response["www-authenticate"]) == (401, b"who are you?", "Bearer")
    assert response.all("set-cookie") == ["a=1", "b=2"]
    head = await client.exchange("HEAD /")
    assert (head.status, head["content-length"], head.body) == (401, "12", b"")
    assert (await client.exchange("GET /through")).body == b"ok"  # on the same connection
    assert len(scene.backend.requests) == 1
    assert await scene.counted() == (1, 2, 0)


@python_scene
async def test_what_it_sees(scene: PythonScene) -> None:
    seen: list[Request] = []

    class Looking(Middleware):
        def on_request(self, request: Request) -> None:
            seen.append(request)

    client = await scene.apply(Looking)
    await client.exchange(
        "PUT /a%20b?c=d&c=%65", "X-Tag: 1", "x-tag: 2", "X-Request-Id: of-the-client", "Forwarded: for=x"
    )
    await client.exchange("GET /")
    one, two = seen
    assert (one.method, one.target, one.path) == ("PUT", "/a%20b?c=d&c=%65", "/a b")
    assert one.query.get_all("c") == ["d", "e"]
    assert one.headers.get_all("x-tag") == ["1", "2"]
    assert "host" not in one.headers
    assert "forwarded" not in one.headers  # which no client is to be believed
    assert (one.host, one.scheme, one.client_ip, one.claims) == ("proxy.test", "http", "127.0.0.1", None)
    assert one.request_id == "of-the-client"
    assert two.request_id == scene.backend.requests[1].all("x-request-id")[0]
    assert not scene.logged()


@python_scene
async def test_a_failure_is_the_requests_end_unless_it_is_allowed(scene: PythonScene) -> None:
    class Failing(Middleware):
        def on_request(self, request: Request) -> Response | None:
            request.headers["X-Half"] = "done"
            raise RuntimeError("no")

        def on_response(self, request: Request, response: Response) -> None:
            response.headers["X-Seen"] = "yes"

    client = await scene.apply(Failing)
    response = await client.exchange("GET /")
    assert (response.status, response.body, response["content-type"]) == (500, FAILED, "application/json")
    assert scene.logged() == [("error", "python middleware failed")]
    assert await scene.counted() == (0, 1, 1)

    client = await scene.apply(Failing, failureMode="allow")
    response = await client.exchange("GET /")
    assert (response.status, response.body) == (200, b"ok")
    assert "x-seen" not in response  # as if it were not there
    assert "x-half" not in scene.backend.requests[-1].names
    assert scene.logged() == [("error", "python middleware failed")]
    assert await scene.counted() == (1, 1, 2)


@python_scene
async def test_nothing_can_be_smuggled(scene: PythonScene) -> None:
    class Smuggling(Middleware):
        def on_request(self, request: Request) -> Response | None:
            match request.path:
                case "/value":
                    request.headers["a"] = "b\r\nTransfer-Encoding: chunked"
                case "/name":
                    request.headers["a: b\r\nc"] = "d"
                case "/framing":
                    request.headers["Content-Length"] = "5"
                case "/answer":
                    return Response(200, {"a": "b\r\n\r\nHTTP/1.1 200 OK"})
                case "/many":
                    for number in range(200):
                        request.headers.add(f"x-{number}", "y")
            return None

    client = await scene.apply(Smuggling)
    for path in ("/value", "/name", "/framing", "/answer", "/many"):
        response = await client.exchange(f"GET {path}")
        assert (response.status, response.body) == (500, FAILED), path
    assert not scene.backend.requests
    assert scene.logged() == [("error", "python middleware failed")]  # the others came too soon after it
    assert await scene.counted() == (0, 5, 5)


@python_scene
async def test_the_body_where_it_is_asked_for(scene: PythonScene) -> None:
    class Reading(Middleware):
        def on_request(self, request: Request) -> Response | None:
            if request.body.startswith(b"bad"):
                return Response.json({"error": "bad"}, 422)
            if request.body.startswith(b"change"):
                request.body = b"changed:" + request.body
            return None

    client = await scene.apply(Reading, requestBody="buffered", maxBodyBytes=20)
    assert (await client.exchange("POST /", body=b"bad")).status == 422
    assert (await client.exchange("POST /", body=b"plain")).status == 200
    client.send(request("POST /", "Transfer-Encoding: chunked") + b"6\r\nchange\r\n")
    await asyncio.sleep(0)
    client.send(b"2\r\n d\r\n0\r\n\r\n")
    assert (await client.read_response()).status == 200
    assert (await client.exchange("GET /")).status == 200
    bodies = [
        (found.body, found.all("content-length"), found.all("transfer-encoding")) for found in scene.backend.requests
    ]
    assert bodies == [(b"plain", ["5"], []), (b"changed:change d", ["16"], []), (b"", [], [])]

    client.send(request("POST /", "Expect: 100-continue", "Content-Length: 6"))
    assert (await client.read_head()).status == 100
    client.send(b"plain!")
    assert (await client.read_response()).status == 200
    assert scene.backend.requests[-1].body == b"plain!"


@python_scene
async def test_a_body_that_is_too_large(scene: PythonScene) -> None:
    class Reading(Middleware):
        def on_request(self, request: Request) -> None:
            assert request.body is not None

    client = await scene.apply(Reading, requestBody="buffered", maxBodyBytes=10)
    client.send(request("POST /", "Content-Length: 11"))
    response = await client.read_response()
    assert (response.status, response.body) == (413, b'{"error":"request body too large"}')
    client = await scene.proxy.connect()
    client.send(request("POST /", "Transfer-Encoding: chunked") + b"6\r\nabcdef\r\n5\r\nghijk\r\n")
    assert (await client.read_response()).status == 413
    client = await scene.proxy.connect()
    assert (await client.exchange("POST /", body=b"x" * 11)).status == 413
    assert (await (await scene.proxy.connect()).exchange("POST /", body=b"x" * 10)).status == 200
    assert await scene.counted() == (1, 3, 0)


@python_scene
async def test_an_async_method_is_waited_for(scene: PythonScene) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    class Waiting(Middleware):
        async def on_request(self, request: Request) -> Response | None:
            asked.set()
            await let_go.wait()
            request.headers["X-Waited"] = "yes"
            return Response(403) if request.path == "/no" else None

    client, other = await scene.apply(Waiting), await scene.proxy.connect()
    client.send(request("POST /", "Content-Length: 6") + b"abc")
    other.send(request("GET /no"))
    await asked.wait()
    client.send(b"def")
    assert await client.is_silent(0.05)
    assert not scene.backend.requests
    let_go.set()
    assert (await client.read_response()).body == b"ok"
    assert (await other.read_response()).status == 403
    (found,) = scene.backend.requests
    assert (found.body, found.all("x-waited")) == (b"abcdef", ["yes"])
    assert await scene.counted() == (1, 1, 0)


@python_scene
async def test_an_async_method_that_fails_or_takes_too_long(scene: PythonScene) -> None:
    class Failing(Middleware):
        async def on_request(self, request: Request) -> Response | None:
            if request.path == "/late":
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            raise RuntimeError("no")

    client = await scene.apply(Failing, timeout="30s")
    response = await client.exchange("GET /")
    assert (response.status, response.body) == (500, FAILED)
    assert scene.logged() == [("error", "python middleware failed")]
    client = await scene.apply(Failing, timeout="10ms")
    response = await client.exchange("GET /late")
    assert (response.status, response.body) == (500, FAILED)
    assert scene.logged() == [("error", "python middleware timed out")]
    client = await scene.apply(Failing, timeout="10ms", failureMode="allow")
    assert (await client.exchange("POST /late", body=b"through")).body == b"ok"
    assert scene.backend.requests[-1].body == b"through"
    assert scene.logged() == [("error", "python middleware timed out")]


@python_scene
async def test_a_client_that_goes_away_ends_the_wait(scene: PythonScene) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    class Waiting(Middleware):
        async def on_request(self, request: Request) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    client = await scene.apply(Waiting)
    client.send(request("GET /"))
    await asked.wait()
    client.reset()
    await cancelled.wait()
    assert not scene.backend.requests


@python_scene
async def test_an_async_method_with_a_body(scene: PythonScene) -> None:
    class Reading(Middleware):
        async def on_request(self, request: Request) -> None:
            await asyncio.sleep(0)
            request.body = request.body.upper()

    client = await scene.apply(Reading, requestBody="buffered")
    client.send(request("POST /", "Content-Length: 6") + b"abc")
    client.send(b"def")
    assert (await client.read_response()).body == b"ok"
    assert scene.backend.requests[0].body == b"ABCDEF"


@python_scene
async def test_calls_of_grpc_are_answered_with_a_status(scene: PythonScene) -> None:
    class Answering(Middleware):
        def on_request(self, request: Request) -> Response:
            if request.path == "/a.B/Own":
                return Response(200, {"Content-Type": "application/grpc", "grpc-status": "5"})
            if request.path == "/a.B/Fail":
                raise RuntimeError
            return Response(403)

    client = await scene.apply(Answering)
    codes = []
    for name in ("Call", "Own", "Fail"):
        response = await client.exchange(f"POST /a.B/{name}", "Content-Type: application/grpc", body=b"")
        assert (response.status, response["content-type"]) == (200, "application/grpc")
        codes.append(response["grpc-status"])
    assert codes == ["7", "5", "13"]
    scene.logged()


@python_scene
async def test_a_class_that_is_not_there_lets_nobody_past(scene: PythonScene) -> None:
    class Broken(Middleware):
        def __init__(self, settings: Mapping[str, Any]) -> None:
            super().__init__(settings)
            if "plans" not in settings:
                raise ValueError("plans are required")
            raise RuntimeError("no database")

    report = await scene.apply_settings({"class": "mine:Missing", "failureMode": "allow"})
    (problem,) = report.problems
    assert "the module mine has no class Missing" in problem.reason
    client = await scene.proxy.connect()
    response = await client.exchange("GET /")
    assert (response.status, response.body) == (500, b'{"error":"middleware unavailable"}')
    vars(scene._module)["Broken"] = Broken
    for version in range(2):
        report = await scene.apply_settings({"class": "mine:Broken", "settings": {"plans": version}})
        assert "Broken cannot be made: RuntimeError: no database" in report.problems[0].reason
    # Each plan tries again and reports it; the traceback is told once.
    assert scene.logged() == [("error", "python middleware cannot be made")]
    report = await scene.apply_settings({"class": "mine:Broken"})
    assert "Broken cannot be made: ValueError: plans are required" in report.problems[0].reason
    assert scene.logged() == []
    assert (await client.exchange("GET /")).status == 500


@python_scene
async def test_one_object_from_snapshot_to_snapshot(scene: PythonScene) -> None:
    made: list[dict[str, Any]] = []
    closed: list[dict[str, Any]] = []
    asked, let_go = asyncio.Event(), asyncio.Event()

    class Counting(Middleware):
        def __init__(self, settings: Mapping[str, Any]) -> None:
            super().__init__(settings)
            made.append(dict(settings))

        async def on_request(self, request: Request) -> None:
            if request.path == "/wait":
                asked.set()
                await let_go.wait()

        async def close(self) -> None:
            closed.append(dict(self.settings))

    client = await scene.apply(Counting, settings={"version": 1})
    await scene.apply(Counting, settings={"version": 1}, timeout="5s")
    await eventually_async(lambda: closed == [{"version": 1}], what="other settings make another object")
    await scene.apply(Counting, settings={"version": 1}, timeout="5s")
    assert made == [{"version": 1}] * 2
    client.send(request("GET /wait"))
    await asked.wait()
    await scene.apply(Counting, settings={"version": 2})
    assert (await (await scene.proxy.connect()).exchange("GET /")).body == b"ok"
    assert closed == [{"version": 1}]  # a request is in it
    let_go.set()
    assert (await client.read_response()).body == b"ok"
    await eventually_async(lambda: closed == [{"version": 1}] * 2, what="it is closed after its last request")


@python_scene
async def test_a_route_of_other_settings_has_an_object_of_its_own(scene: PythonScene) -> None:
    made: list[str] = []
    closed: list[str] = []

    class Saying(Middleware):
        def __init__(self, settings: Mapping[str, Any]) -> None:
            super().__init__(settings)
            made.append(settings["says"])

        def on_request(self, request: Request) -> Response:
            return Response(200, {}, self.settings["says"])

        def close(self) -> None:
            closed.append(self.settings["says"])

    async def apply(**says: str) -> ApplyReport:
        routes = []
        for path, said in says.items():
            override = {"p": {"python": {"settings": {"says": said} if said else {}}}} if said != "own" else {}
            answer = {"id": path, "name": path, "match": {"path": f"/{path}"}, "directResponse": {"status": 204}}
            routes.append({**answer, "middlewareIds": ["p"], "middlewareOverrides": override})
        python = {"class": scene.name(Saying), "settings": {"says": "own"}}
        entity = {"id": "p", "name": "p", "type": "python", "python": python}
        return await scene.proxy.apply(*routes, middlewares=[entity])

    assert not (await apply(a="own", b="other", c="other")).problems
    assert made == ["own", "other"]
    client = await scene.proxy.connect()
    bodies = [(await client.exchange(f"GET /{path}")).body for path in "abc"]
    assert bodies == [b"own", b"other", b"other"]

    report = await apply(a="own", b="third", c="")
    assert [problem.id for problem in report.problems] == ["c"]
    assert report.problems[0].reason == (
        "middleware \"p\" cannot work: Saying cannot be made: KeyError: 'says': its requests are answered with 500"
    )
    assert made == ["own", "other", "third"]
    await eventually_async(lambda: closed == ["other"], what="what no route asks for any more is closed")
    assert [(await client.exchange(f"GET /{path}")).status for path in "abc"] == [200, 200, 500]
    assert (await client.exchange("GET /b")).body == b"third"
    assert scene.logged() == [("error", "python middleware cannot be made")]


@python_scene
async def test_it_is_closed_once_and_after_its_last_request(scene: PythonScene) -> None:
    seen: list[str] = []
    let_go = asyncio.Event()

    class Inner(Middleware):
        async def on_request(self, request: Request) -> None:
            seen.append("request")
            await let_go.wait()

        def on_response(self, request: Request, response: Response) -> None:
            seen.append("response")

        def close(self) -> None:
            seen.append("close")

    client = await scene.apply(Inner)
    client.send(request("GET /"))
    await eventually_async(lambda: seen == ["request"], what="it is asked")
    await scene.proxy.apply()
    let_go.set()
    assert (await client.read_response()).status == 200
    await eventually_async(lambda: "close" in seen, what="it is closed")
    # The same while the body of its request comes, and for one that comes later.
    client = await scene.apply(Inner, requestBody="buffered")
    client.send(request("POST /", "Content-Length: 2") + b"a")
    await eventually_async(lambda: scene.proxy.data_plane.status().in_flight == 1, what="the request is there")
    await scene.proxy.apply()
    client.send(b"b")
    assert (await client.read_response("POST")).status == 200
    await eventually_async(lambda: seen[-1] == "close", what="it is closed")
    assert seen == ["request", "response", "close"] * 2


@python_scene
async def test_it_stays_open_for_who_waits_further_outside(scene: PythonScene) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    class Outer(Middleware):
        async def on_request(self, request: Request) -> None:
            asked.set()
            await let_go.wait()

    seen: list[str] = []

    class Closing(Middleware):
        def on_request(self, request: Request) -> None:
            seen.append("request")

        def close(self) -> None:
            seen.append("close")

    outer, inner = ({"class": scene.name(cls)} for cls in (Outer, Closing))
    await scene.apply_settings(outer, None, inner)
    client = await scene.proxy.connect()
    client.send(request("GET /"))
    await asked.wait()
    await scene.apply_settings(outer)
    let_go.set()
    assert (await client.read_response()).body == b"ok"
    await eventually_async(lambda: seen == ["request", "close"], what="it is closed after its last request")


def test_a_worker_that_ends_waits_for_what_is_closed() -> None:
    closed: list[str] = []

    class Holding(Middleware):
        async def close(self) -> None:
            await asyncio.sleep(0.01)
            closed.append("all")

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        await scene.apply(Holding)

    scenario()
    assert closed == ["all"]


@python_scene
async def test_it_cannot_change_what_others_get(scene: PythonScene) -> None:
    class Keeping(Middleware):
        def on_request(self, request: Request) -> None:
            self.settings["list"].append(1)

    client = await scene.apply(Keeping, settings={"list": []})
    await client.exchange("GET /")
    plan = scene.proxy.data_plane._plan
    assert plan is not None
    assert [found[0].python.settings for found in plan.instances.values() if found[0].python] == [{"list": []}]
