"""What a user's class does to responses, whoever makes them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import ModuleType
from typing import Any

import pytest

from tests.support.client_request import client_request
from tests.support.conditions import eventually_async
from tests.support.gateway import forward
from tests.support.http2_requester import Http2Requester
from tests.support.python_scene import PythonScene, python_scene
from tests.support.staged_backend import StagedConnection, answer_ok
from tests.support.stream_client import request
from vrata.middleware import Middleware, Request, Response
from vrata.model.middleware import Python
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.python.instance import PythonInstance
from vrata.proxy.middleware.python.modules import PythonModules
from vrata.proxy.middleware.stage import Place


async def half(connection: StagedConnection) -> None:
    """Answer half, and wait for the proxy to give up."""
    await connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    await connection.gone()


FAILED = b'{"error":"middleware failed"}'


@python_scene
async def test_a_response_is_changed(scene: PythonScene) -> None:
    class Editing(Middleware):
        def on_request(self, request: Request) -> None:
            request.state["path"] = request.path

        def on_response(self, request: Request, response: Response) -> Response:
            response.headers["X-Path"] = request.state["path"]
            response.headers.add("Vary", "Accept")
            for name in ("x-powered-by", "server"):
                response.headers.pop(name, None)
            if response.status == 200:
                response.status = 203
            return response

    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(b"ok", "X-Powered-By: Z80", "Server: Z80", "Vary: Origin", "x-path: forged")

    scene.backend.script = script
    client = await scene.apply(Editing)
    response = await client.exchange("GET /a")
    assert (response.status, response.body, response["x-path"]) == (203, b"ok", "/a")
    assert response.all("vary") == ["Origin", "Accept"]
    assert "x-powered-by" not in response
    assert "server" not in response
    assert len(response.all("date")) == 1
    head = await client.exchange("HEAD /b")
    assert (head.status, head["x-path"], head["content-length"]) == (203, "/b", "2")
    assert await scene.counted() == (2, 0, 0)


@pytest.mark.parametrize("later", [False, True])
def test_what_others_than_an_upstream_answer(later: bool) -> None:
    seen: list[int] = []

    class Looking(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            seen.append(response.status)
            response.headers["X-Seen"] = str(response.status)

    class LookingLater(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            await asyncio.sleep(0)
            Looking.on_response(self, request, response)  # type: ignore[arg-type]

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        cls = LookingLater if later else Looking
        actions: list[Any] = [
            {"directResponse": {"status": 418, "body": "short"}},
            {"redirect": {"url": "https://a.example/", "code": 307}},
            {"forward": forward("nobody")},
        ]
        for action in actions:
            client = await scene.apply(cls, action)
            response = await client.exchange("GET /")
            assert response["x-seen"] == str(response.status)
            assert int(response["content-length"]) == len(response.body)

    scenario()
    assert seen == [418, 307, 502]


@python_scene
async def test_a_response_without_content_gets_a_status_that_has_some(scene: PythonScene) -> None:
    class Modified(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            response.status = 200

    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n")

    scene.backend.script = script
    client = await scene.apply(Modified)
    for _ in range(2):
        response = await client.exchange("GET /")
        assert (response.status, response["content-length"], response.body) == (200, "0", b"")
    assert (await client.exchange("HEAD /"))["content-length"] == "300"


@python_scene
async def test_another_response_instead(scene: PythonScene) -> None:
    class Replacing(Middleware):
        def on_response(self, request: Request, response: Response) -> Response | None:
            return Response(404, {"X-Was": str(response.status)}, "gone") if request.path == "/hide" else None

    scene.backend.script = half
    client = await scene.apply(Replacing)
    response = await client.exchange("GET /hide")
    assert (response.status, response.body, response["x-was"]) == (404, b"gone", "200")
    # The rest of what was replaced is not waited for, and nobody else gets it.
    await eventually_async(lambda: scene.backend.open == 0, what="the upstream's response is given up")
    scene.backend.script = answer_ok
    assert (await client.exchange("GET /show")).body == b"ok"
    assert await scene.counted() == (2, 1, 0)  # it has answered one of those that had gone on


@pytest.mark.parametrize("later", [False, True])
def test_a_failure(later: bool) -> None:
    class Failing(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            response.headers["X-Half"] = "done"
            raise RuntimeError("no")

    class FailingLater(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            response.headers["X-Half"] = "done"
            await asyncio.sleep(0)
            raise RuntimeError("no")

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        cls = FailingLater if later else Failing
        client = await scene.apply(cls)
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (500, FAILED)
        assert scene.logged() == [("error", "python middleware failed")]
        client = await scene.apply(cls, failureMode="allow")
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (200, b"ok")
        assert "x-half" not in response
        assert scene.logged() == [("error", "python middleware failed")]
        assert await scene.counted() == (2, 1, 2)

    scenario()


@python_scene
async def test_nothing_can_be_smuggled(scene: PythonScene) -> None:
    class Smuggling(Middleware):
        def on_response(self, request: Request, response: Response) -> Response | None:
            match request.path:
                case "/value":
                    response.headers["a"] = "b\r\nSet-Cookie: c"
                case "/framing":
                    response.headers["Content-Length"] = "1"
                case "/status":
                    response.status = 99
                case "/body":
                    response.body = b"more"
                case "/type":
                    return "no"  # type: ignore[return-value]
                case "/many":
                    for number in range(3000):
                        response.headers.add(f"x-{number}", "y")
            return None

    client = await scene.apply(Smuggling)
    for path in ("/value", "/framing", "/status", "/body", "/type", "/many"):
        response = await client.exchange(f"GET {path}")
        assert (response.status, response.body) == (500, FAILED), path
    assert await scene.counted() == (6, 6, 6)
    scene.logged()


@pytest.mark.parametrize("later", [False, True])
def test_the_body_where_it_is_asked_for(later: bool) -> None:
    def changed(request: Request, response: Response) -> None:
        if request.path != "/same":
            response.body = response.body.upper() + request.path.encode()

    class Reading(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            changed(request, response)

    class ReadingLater(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            await asyncio.sleep(0)
            changed(request, response)

    async def script(connection: StagedConnection) -> None:
        while True:
            match (await connection.read_request()).target:
                case "/chunked" | "/same":
                    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                    await connection.flush()
                    connection.send(b"3\r\ndef\r\n0\r\n\r\n")
                case "/empty":
                    connection.send(b"HTTP/1.1 204 OK\r\n\r\n")
                case _:
                    connection.respond(b"abc")

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        scene.backend.script = script
        client = await scene.apply(ReadingLater if later else Reading, responseBody="buffered")
        response = await client.exchange("GET /a")
        assert (response.body, response["content-length"]) == (b"ABC/a", "5")
        assert (await client.exchange("GET /chunked")).body == b"ABCDEF/chunked"
        assert (await client.exchange("GET /same")).body == b"abcdef"
        assert (await client.exchange("GET /empty")).status == 204
        assert (await client.exchange("GET /a")).body == b"ABC/a"

    scenario()


@python_scene
async def test_a_body_that_is_too_large(scene: PythonScene) -> None:
    class Reading(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            response.headers["X-Size"] = str(len(response.body))

    async def script(connection: StagedConnection) -> None:
        while True:
            match (await connection.read_request()).target:
                case "/fits":
                    connection.respond(b"x" * 10)
                case "/announced":
                    connection.respond(b"x" * 11)
                case _:
                    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n")
                    await connection.flush()
                    connection.send(b"5\r\nxxxxx\r\n")
                    await connection.flush()
                    connection.send(b"2\r\nxx\r\n0\r\n\r\n")

    scene.backend.script = script
    for mode, expected in (("deny", [(500, FAILED)] * 2), ("allow", [(200, b"x" * 11), (200, b"x" * 13)])):
        client = await scene.apply(Reading, responseBody="buffered", maxBodyBytes=10, failureMode=mode)
        assert (await client.exchange("GET /fits"))["x-size"] == "10"
        found = [await client.exchange(f"GET {path}") for path in ("/announced", "/chunked")]
        assert [(response.status, response.body) for response in found] == expected
        assert not any("x-size" in response for response in found)
        scene.logged()
    assert await scene.counted() == (6, 2, 4)


@python_scene
async def test_a_response_that_is_cut_while_it_is_collected(scene: PythonScene) -> None:
    class Reading(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            response.headers["X-Seen"] = str(response.status)

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await connection.flush()
        connection.close()

    scene.backend.script = script
    client = await scene.apply(Reading, responseBody="buffered")
    response = await client.exchange("GET /")
    assert (response.status, response["x-seen"]) == (502, "502")
    assert b"connection_reset" in response.body


@python_scene
async def test_an_async_method_holds_the_response_and_what_follows(scene: PythonScene) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    class Waiting(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            asked.set()
            await let_go.wait()
            response.headers["X-Waited"] = "yes"

    size = 8_000_000
    sent = 0

    async def script(connection: StagedConnection) -> None:
        nonlocal sent
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 80_000):
            connection.send(b"x" * 80_000)
            await connection.flush()
            sent += 80_000

    scene.backend.script = script
    client = await scene.apply(Waiting)
    client.send(request("GET /"))
    await asked.wait()
    assert await client.is_silent(0.1)
    assert sent < size  # the upstream waits as well
    let_go.set()
    response = await client.read_response()
    assert (response["x-waited"], len(response.body)) == ("yes", size)


@python_scene
async def test_a_client_that_goes_away_ends_the_wait(scene: PythonScene) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    class Waiting(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    scene.backend.script = half
    client = await scene.apply(Waiting, timeout="30s")
    client.send(request("GET /"))
    await asked.wait()
    client.reset()
    await cancelled.wait()
    await eventually_async(lambda: scene.backend.open == 0, what="the upstream's response is given up")


@python_scene
async def test_an_async_method_that_takes_too_long(scene: PythonScene) -> None:
    class Waiting(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            await asyncio.Event().wait()

    client = await scene.apply(Waiting, timeout="10ms")
    response = await client.exchange("GET /")
    assert (response.status, response.body) == (500, FAILED)
    assert scene.logged() == [("error", "python middleware timed out")]
    assert (await (await scene.apply(Waiting, timeout="10ms", failureMode="allow")).exchange("GET /")).body == b"ok"
    scene.logged()


@python_scene
async def test_the_requests_time_is_over_while_the_method_looks(scene: PythonScene) -> None:
    cancelled = asyncio.Event()

    class Waiting(Middleware):
        async def on_response(self, request: Request, response: Response) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    scene.backend.script = half
    client = await scene.apply(Waiting, {"forward": forward("b", timeouts={"request": "50ms"})}, timeout="30s")
    response = await client.exchange("GET /")
    assert (response.status, b"timeout" in response.body) == (504, True)
    await cancelled.wait()


@python_scene
async def test_an_upgrade_is_not_shown(scene: PythonScene) -> None:
    shown: list[int] = []

    class Looking(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            shown.append(response.status)

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.send(await connection.reader.readexactly(4))

    scene.backend.script = script
    client = await scene.apply(Looking)
    client.send(request("GET /", "Connection: upgrade", "Upgrade: websocket"))
    assert (await client.read_response(interim=True)).status == 101
    client.send(b"ping")
    assert await client.read_exactly(4) == b"ping"
    assert not shown


@python_scene
async def test_calls_of_grpc_end_with_a_status(scene: PythonScene) -> None:
    class Replacing(Middleware):
        def on_response(self, request: Request, response: Response) -> Response:
            return Response(429)

    client = await scene.apply(Replacing)
    response = await client.exchange("POST /a.B/C", "Content-Type: application/grpc", body=b"")
    assert (response.status, response["grpc-status"]) == (200, "14")


@pytest.mark.parametrize("outer_later", [False, True])
@pytest.mark.parametrize("inner_later", [False, True])
def test_one_inside_of_another(outer_later: bool, inner_later: bool) -> None:
    class Tracing(Middleware):
        """Writes its name behind those of others."""

        def on_request(self, request: Request) -> Response | None:
            request.headers["Trace"] = request.headers.get("trace", "") + self.settings["name"]
            return Response(418) if request.path == f"/{self.settings['name']}" else None

        def on_response(self, request: Request, response: Response) -> None:
            response.headers["Trace"] = response.headers.get("trace", "") + self.settings["name"]
            response.body += self.settings["name"].encode()

    class TracingLater(Tracing):
        async def on_request(self, request: Request) -> Response | None:  # type: ignore[override]
            await asyncio.sleep(0)
            return super().on_request(request)

        async def on_response(self, request: Request, response: Response) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().on_response(request, response)

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        outer, inner = (
            {
                "class": scene.name(TracingLater if later else Tracing),
                "settings": {"name": name},
                "responseBody": "buffered",
            }
            for name, later in (("a", outer_later), ("b", inner_later))
        )
        report = await scene.apply_settings(outer, None, inner)
        assert not report.problems
        client = await scene.proxy.connect()
        response = await client.exchange("GET /")
        assert (response["trace"], response.body) == ("ba", b"okba")
        assert scene.backend.requests[0].all("trace") == ["ab"]
        response = await client.exchange("GET /b")
        assert (response.status, response["trace"], response.body) == (418, "a", b"a")
        response = await client.exchange("GET /a")
        assert (response.status, "trace" in response) == (418, False)

    scenario()


def test_what_cannot_go_on_inside_is_not_waited_for() -> None:
    class Broken:
        def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
            raise RuntimeError("inside")

    class Looking(Middleware):
        def on_response(self, request: Request, response: Response) -> None:
            raise AssertionError

    async def scenario() -> None:
        tasks, closings = TaskSupervisor(), set[asyncio.Task[None]]()
        module = ModuleType("mine")
        vars(module)["Looking"] = Looking
        instance = PythonInstance(
            Python.model_validate({"class": "mine:Looking"}),
            PythonModules({"mine": module}, {}, has_directories=True),
            tasks,
            DeadlineSweeper(asyncio.get_running_loop()),
            closings,
        )
        stage = instance.stage(Place("p", "p", "p"), Broken())
        with pytest.raises(RuntimeError, match="inside"):
            stage.run(client_request(), None, b"", True)
        instance.close()
        assert closings  # at once
        await asyncio.wait(closings)

    asyncio.run(scenario())


@python_scene
async def test_streams_of_one_connection(scene: PythonScene) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    class Mixed(Middleware):
        async def on_request(self, request: Request) -> Response | None:
            if request.path == "/no":
                return Response(403, body=request.body)
            request.body += b"!"
            return None

        async def on_response(self, request: Request, response: Response) -> Response | None:
            if request.path == "/wait":
                asked.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            if request.path == "/instead":
                return Response.json({"was": response.body.decode()}, 201)
            response.body = response.body.upper()
            return None

    async def echo(connection: StagedConnection) -> None:
        while True:
            connection.respond((await connection.read_request()).body)

    scene.backend.script = echo
    await scene.apply(Mixed, requestBody="buffered", responseBody="buffered", timeout="30s")
    async with Http2Requester(scene.proxy.port) as client:
        waiting = client.begin("GET", "/wait")
        await client.send(waiting, b"")
        await asked.wait()
        answers = await asyncio.gather(
            client.request("POST", "/yes", b"a"),
            client.request("POST", "/no", b"b", length=False),
            client.request("POST", "/instead", b"c", length=False),
            client.request("HEAD", "/head"),
        )
        assert [(found.status, found.content) for found in answers] == [
            (200, b"A!"),
            (403, b"b"),
            (201, b'{"was":"c!"}'),
            (200, b""),
        ]
        client.reset(waiting)
        await cancelled.wait()
        assert (await client.request("POST", "/yes", b"d")).content == b"D!"


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("path", ["/through", "/no", "/instead", "/late"])
def test_nothing_is_left_for_the_garbage_collector(later: bool, path: str) -> None:
    class Mark:
        pass

    marks: list[weakref.ref[Mark]] = []

    def on_request(request: Request) -> Response | None:
        mark = request.state["mark"] = Mark()
        marks.append(weakref.ref(mark))
        return Response(403) if request.path == "/no" else None

    def on_response(request: Request, response: Response) -> Response | None:
        return Response(404) if request.path == "/instead" else None

    class Marking(Middleware):
        def on_request(self, request: Request) -> Response | None:
            return on_request(request)

        def on_response(self, request: Request, response: Response) -> Response | None:
            return on_response(request, response)

    class MarkingLater(Middleware):
        async def on_request(self, request: Request) -> Response | None:
            return on_request(request)

        async def on_response(self, request: Request, response: Response) -> Response | None:
            await asyncio.sleep(0)
            return on_response(request, response)

    async def script(connection: StagedConnection) -> None:
        while True:
            late = (await connection.read_request()).target in ("/late", "/instead")
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await connection.flush()
            if late:
                await asyncio.sleep(0.02)
            connection.send(b"cd")

    @python_scene
    async def scenario(scene: PythonScene) -> None:
        scene.backend.script = script
        client = await scene.apply(MarkingLater if later else Marking)
        await client.exchange(f"GET {path}")
        (mark,) = marks
        await eventually_async(lambda: mark() is None, timeout=3, what="what belongs to the request is gone")

    gc.disable()
    try:
        scenario()
    finally:
        gc.enable()
