"""Guards before backends that normalise paths: nobody gets past one by spelling a path another way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.gateway import Document, forward, listener, route
from tests.support.http2_requester import Http2Requester
from tests.support.in_process_proxy import InProcessProxy, on_our_loop, snapshot_document
from tests.support.middlewares import middleware, pass_through
from tests.support.staged_backend import StagedBackend
from vrata.model.question import Question
from vrata.proxy.explain.snapshot import ExplainedSnapshot

GUARD = middleware("guard", "inlineAuthz", rules=[{"cel": "false", "action": "allow"}], defaultAction="deny")
PUBLIC = {"guard": {"skipWhen": ["request.path.startsWith('/public/')"]}}
WAYS_AROUND = [
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/.%2E/%61dmin",
    "/public/..%2fadmin",
    "/public/..;/admin",
    "/public/..%5cadmin",
    "/public/x/../../admin",
    "/public/%u002e%u002e/admin",
]


async def guarded(proxy: InProcessProxy, backend: StagedBackend, mode: str) -> None:
    await pass_through(
        proxy, backend.port, [GUARD], overrides=PUBLIC, listener={"pathNormalization": mode, "http2": True}
    )


@on_our_loop
async def test_a_guard_is_not_walked_around(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await guarded(proxy, backend, "base")
        async with Http2Requester(proxy.port) as http2:
            for path in WAYS_AROUND:
                client = await proxy.connect()
                first = (await client.exchange(f"GET {path}")).status
                assert first == (await http2.request("GET", path)).status, path
                assert first in (400, 403), path
            assert backend.requests == []
            # What remains of the path after it was settled is what the backend is asked for.
            client = await proxy.connect()
            for path in ("/admin/../public/%61?x=/../%61", "http://h.test/admin/../public/%61?x=/../%61"):
                assert (await client.exchange(f"GET {path}")).status == 200
            assert (await http2.request("GET", "/admin/../public/%61?x=/../%61")).status == 200
            assert [each.target for each in backend.requests] == ["/public/a?x=/../%61"] * 3


@on_our_loop
async def test_slashes_in_a_row_are_one(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await guarded(proxy, backend, "mergeSlashes")
        client = await proxy.connect()
        assert (await client.exchange("GET //public///a")).status == 200
        assert (await client.exchange("GET //admin")).status == 403
        assert [each.target for each in backend.requests] == ["/public/a"]


@on_our_loop
async def test_paths_are_left_alone_unless_it_is_asked_for(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await guarded(proxy, backend, "none")
        client = await proxy.connect()
        for path in WAYS_AROUND:
            assert (await client.exchange(f"GET {path}")).status == 200
        assert [each.target for each in backend.requests] == WAYS_AROUND


@on_our_loop
async def test_settings_come_into_force_for_connections_that_are_open(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await guarded(proxy, backend, "none")
        client = await proxy.connect()
        assert (await client.exchange("GET /public/../admin")).status == 200
        await guarded(proxy, backend, "base")
        assert (await client.exchange("GET /public/../admin")).status == 403


@pytest.mark.parametrize(("path", "ran"), [("/public/../admin", True), ("/x/../public/a", False)])
def test_it_is_explained_as_it_would_be(path: str, ran: bool) -> None:
    entry: Document = route("r", forward=forward("d")) | {"middlewareIds": ["guard"], "middlewareOverrides": PUBLIC}
    document = snapshot_document(
        "s",
        listeners=[listener(3000, pathNormalization="base")],
        routes=[entry],
        destinations=[{"id": "d", "name": "d", "host": "127.0.0.1", "port": 9}],
        middlewares=[GUARD],
    )
    question = Question.parse({"request": {"url": f"http://proxy.test:3000{path}"}})
    found: Any = ExplainedSnapshot(document, 60, 65536).explain(question.request)
    assert not found.get("problems"), json.dumps(found)
    assert [each["runs"] for each in found["middlewares"]] == [ran], json.dumps(found, indent=1)
