"""The ``accessLog`` middleware between a client and a backend, with files that are real."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from tests.support.conditions import eventually_async
from tests.support.http2_requester import Http2Requester
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request
from vrata.proxy.status import EntityProblem

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

REQUEST = {
    "id": "${id}",
    "method": "${request.method}",
    "host": "${request.host}",
    "authority": "${request.authority}",
    "path": "${request.path}",
    "scheme": "${request.scheme}",
    "client": "${request.clientIp}",
    "agent": "${request.header.User-Agent}",
    "none": "${request.header.absent}",
    "unknown": "${nonsense}",
}
RESPONSE = {
    "status": "${response.status}",
    "bytes": "${response.bytes}",
    "type": "${response.header.Content-Type}",
    "length": "${response.header.content-length}",
    "server": "${response.header.server}",
    "ms": "${duration.ms}",
    "us": "${duration.us}",
    "s": "${duration.s}",
}


def access_log(path: Path, id: str = "log", **settings: Any) -> dict[str, Any]:  # noqa: A002
    return middleware(id, "accessLog", path=str(path), **settings)


async def lines_of(path: Path, count: int) -> list[str]:
    """The lines of the log, once there are so many."""

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    await eventually_async(lambda: len(lines()) >= count, what=f"{count} lines")
    assert len(lines()) == count
    return lines()


async def answer_slowly(connection: StagedConnection) -> None:
    while True:
        await connection.read_request()
        await asyncio.sleep(0.02)
        connection.respond(b"hello", "Content-Type: text/plain", "Server: backend")


@on_each_loop
async def test_every_variable_has_its_value(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = access_log(
        path, json=True, onRequest={"fields": REQUEST | RESPONSE}, onResponse={"fields": REQUEST | RESPONSE}
    )
    async with StagedBackend(answer_slowly) as backend:
        # What is edited inside is not what came, but what goes out is.
        edits: dict[str, Any] = {
            "requestHeadersToRemove": ["user-agent"],
            "responseHeadersToAdd": [{"key": "Content-Type", "value": "text/html", "append": False}],
        }
        await pass_through(proxy, backend.port, [log, middleware("h", "headers", **edits)])
        client = await proxy.connect()
        client.send(request("GET /a%20b?secret", 'User-Agent: "me"', host="Shop.Test:8080"))
        assert (await client.read_response()).status == 200
        before, after = [json.loads(line) for line in await lines_of(path, 2)]
    assert list(after) == sorted(REQUEST | RESPONSE)
    assert UUID.fullmatch(after["id"])
    told = {
        "id": after["id"],
        "method": "GET",
        "host": "shop.test",
        "authority": "Shop.Test:8080",
        "path": "/a b",
        "scheme": "http",
        "client": "127.0.0.1",
        "agent": '"me"',
        "none": "",
        "unknown": "${nonsense}",
    }
    nothing = {"status": "0", "bytes": "0", "type": "", "length": "", "server": ""}
    assert before == told | nothing | {"ms": "0", "us": "0", "s": "0.000"}
    seconds = int(after["us"]) / 1e6
    assert 0.02 <= seconds < 10
    response = {"status": "200", "bytes": "5", "type": "text/html", "length": "5", "server": "backend"}
    durations = {"ms": str(int(after["us"]) // 1000), "us": after["us"], "s": f"{seconds:.3f}"}
    assert after == told | response | durations


@on_each_loop
async def test_pairs_are_in_their_order_and_quoted(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    fields = {"z": "${response.status}", "path": "${request.path}", "a": "${request.header.x-evil}"}
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [access_log(path, onResponse={"fields": fields})])
        client = await proxy.connect()
        await client.exchange("GET /a%0Ab%22%20c", "X-Evil: ${request.path} \xff\x80")
        assert await lines_of(path, 1) == [r'z=200 path="/a\nb\" c" a="${request.path} \ufffd\ufffd"']


@on_each_loop
async def test_what_ends_otherwise_is_told_as_well(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    fields = {"p": "${request.path}", "s": "${response.status}", "b": "${response.bytes}"}
    begun = asyncio.Event()

    async def answer_badly(connection: StagedConnection) -> None:
        while True:
            target = (await connection.read_request()).target
            if target == "/cut":
                connection.send(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nabc")
                await connection.flush()
                connection.close()
            elif target == "/left":
                begun.set()
                await connection.gone()
            else:
                connection.respond(b"12345" if target == "/whole" else b"")

    async with StagedBackend(answer_badly) as backend:
        rules = [{"cel": "request.path == '/denied'", "action": "deny"}]
        deny = middleware("deny", "inlineAuthz", rules=rules, defaultAction="allow", denyBody="no")
        await pass_through(proxy, backend.port, [access_log(path, onResponse={"fields": fields}), deny])
        client = await proxy.connect()
        assert (await client.exchange("GET /whole")).body == b"12345"
        assert (await client.exchange("HEAD /whole")).status == 200
        assert (await client.exchange("GET /denied")).body == b"no"
        client.send(request("GET /cut"))
        await client.ending()
        lines = await lines_of(path, 4)
        other = await proxy.connect()
        other.send(request("GET /left"))
        await asyncio.wait_for(begun.wait(), 30)
        other.reset()
        assert await lines_of(path, 5) == [
            "p=/whole s=200 b=5",
            "p=/whole s=200 b=0",
            "p=/denied s=403 b=2",
            "p=/cut s=201 b=3",
            "p=/left s=0 b=0",
        ]
        assert len(lines) == 4


@on_each_loop
async def test_logs_of_one_path_share_the_file_from_plan_to_plan(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    def log(id: str, word: str) -> dict[str, Any]:  # noqa: A002
        return access_log(path, id, onRequest={"fields": {word: "${request.path}"}})

    async with StagedBackend() as backend:
        client = await proxy.connect()
        await pass_through(proxy, backend.port, [log("outer", "o"), log("inner", "i")])
        await client.exchange("GET /1")
        await pass_through(proxy, backend.port, [log("outer", "changed"), log("inner", "i")])
        await client.exchange("GET /2")
        await pass_through(proxy, backend.port, [])
        await client.exchange("GET /3")
        assert await lines_of(path, 4) == ["o=/1", "i=/1", "changed=/2", "i=/2"]


@on_each_loop
async def test_the_last_lines_are_there_after_a_drain(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [access_log(path, onResponse={"fields": {"p": "${request.path}"}})])
        client = await proxy.connect()
        for number in range(20):
            await client.exchange(f"GET /{number}")
        await proxy.data_plane.drain(0)
        assert await asyncio.to_thread(path.read_text) == "".join(f"p=/{number}\n" for number in range(20))


@on_each_loop
async def test_a_file_that_cannot_be_opened_is_a_problem_of_the_middleware(
    proxy: InProcessProxy, tmp_path: Path
) -> None:
    found: list[tuple[EntityProblem, ...]] = []
    proxy.data_plane.watch_problems(found.append)
    path = tmp_path / "logs" / "access.log"
    answer = {"id": "r", "name": "r", "match": {}, "directResponse": {"status": 204}, "middlewareIds": ["log"]}
    log = access_log(path, onResponse={"fields": {"p": "${request.path}"}})
    report = await proxy.apply(answer, middlewares=[log])
    reason = f"access log {path} cannot be opened: No such file or directory: its lines go to standard output"
    problem = EntityProblem("middleware", "log", "log", reason)
    assert report.problems == (problem,)
    assert (await proxy.apply(answer, middlewares=[log])).problems == (problem,)
    assert found == []  # what an apply reports is not told twice

    path.parent.mkdir()
    proxy.data_plane.reopen_logs()
    await eventually_async(lambda: found == [()], 10, what="it is told that the file is open")
    path.parent.rename(tmp_path / "gone")
    proxy.data_plane.reopen_logs()
    await eventually_async(lambda: len(found) == 2, 10, what="it is told that the file is not open again")
    assert found[1][0].reason.endswith("No such file or directory: the file that was open before is written on")
    assert (await proxy.apply(answer, middlewares=[])).problems == (
        EntityProblem(
            "route",
            "r",
            "r",
            'middleware "log" does not exist or could not be read: its requests are answered with 500',
        ),
    )


@on_each_loop
async def test_lines_for_a_full_disk_are_counted(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.symlink_to("/dev/full")
    async with StagedBackend() as backend:
        log = access_log(path, onRequest={"fields": {"p": "1"}}, onResponse={"fields": {"p": "2"}})
        await pass_through(proxy, backend.port, [log], listener={"metrics": {}})
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("GET /")).status == 200
        metrics = InProcessMetrics(proxy)
        labels = {"middleware": "log", "reason": "write_error"}
        assert await proxy.data_plane._registry.log_writers.flush(10)
        found = await metrics.scrape()
        assert found("vrata_access_log_dropped_lines_total", **labels) == 6
        assert found("vrata_middleware_passed_total", middleware="log", type="accessLog") == 3


@on_each_loop
async def test_streams_of_http2_are_logged_like_requests(proxy: InProcessProxy, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    fields = {"m": "${request.method}", "p": "${request.path}", "s": "${response.status}", "b": "${response.bytes}"}
    begun = asyncio.Event()

    async def answer(connection: StagedConnection) -> None:
        while (await connection.read_request()).target != "/left":
            connection.respond(b"12345", "X-Gone: 1")
        begun.set()
        await connection.gone()

    async with StagedBackend(answer) as backend:
        edits = middleware("h", "headers", responseHeadersToRemove=["x-gone"])
        cors = middleware("c", "cors", allowOrigins=[{"value": "https://a.test"}])
        deny = middleware("d", "inlineAuthz", rules=[{"cel": "request.method == 'PUT'", "action": "deny"}])
        deny["inlineAuthz"]["defaultAction"] = "allow"
        chain = [access_log(path, onResponse={"fields": fields}), edits, cors, deny]
        await pass_through(proxy, backend.port, chain, listener={"http2": True})
        async with Http2Requester(proxy.port) as client:
            response = await client.request("GET", "/a?b")
            assert (response.status, response.content) == (200, b"12345")
            assert response.fields["vary"] == "Origin"
            assert "x-gone" not in response.fields
            number = client.begin(
                "OPTIONS", "/o", ("origin", "https://a.test"), ("access-control-request-method", "PUT")
            )
            await client.send(number, b"")
            assert (await client.response(number)).fields["access-control-allow-origin"] == "https://a.test"
            assert (await client.request("PUT", "/p", b"abc")).status == 403
            left = client.begin("GET", "/left")
            await client.send(left, b"")
            await asyncio.wait_for(begun.wait(), 30)
            client.reset(left)
            assert await lines_of(path, 4) == [
                "m=GET p=/a s=200 b=5",
                "m=OPTIONS p=/o s=204 b=0",
                "m=PUT p=/p s=403 b=25",
                "m=GET p=/left s=0 b=0",
            ]
