"""The first example of a guide page does what its page says."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.guide import DOCUMENTATION
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.staged_backend import StagedBackend, StagedConnection


def example(page: str) -> dict[str, Any]:
    text = (DOCUMENTATION / "docs" / "guide" / "middlewares" / f"{page}.md").read_text(encoding="utf-8")
    found = re.search(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return {"id": "example", **json.loads(found[1])}


async def answer_with_fields(connection: StagedConnection) -> None:
    while True:
        await connection.read_request()
        connection.respond(b"ok", "X-Powered-By: old", "X-Total-Count: 3")


@on_our_loop
async def test_headers(proxy: InProcessProxy) -> None:
    async with StagedBackend(answer_with_fields) as backend:
        await pass_through(proxy, backend.port, [example("headers")])
        client = await proxy.connect()
        response = await client.exchange("GET /a?b", "X-Debug: 1", "X-Original-Path: /lie", "X-Env: staging")
        (seen,) = backend.requests
        assert (seen.all("x-original-path"), seen.all("x-debug")) == (["/a"], [])
        assert seen.all("x-env") == ["staging", "production"]
        assert response["strict-transport-security"] == "max-age=31536000"
        assert "x-powered-by" not in response


@on_our_loop
async def test_cors(proxy: InProcessProxy) -> None:
    async with StagedBackend(answer_with_fields) as backend:
        await pass_through(proxy, backend.port, [example("cors")])
        client = await proxy.connect()
        origin = "https://pr-7.preview.shop.example"
        preflight = await client.exchange("OPTIONS /", f"Origin: {origin}", "Access-Control-Request-Method: PUT")
        assert (preflight.status, preflight["access-control-allow-origin"]) == (204, origin)
        assert preflight["access-control-allow-headers"] == "Content-Type, X-Cart"
        response = await client.exchange("GET /", "Origin: https://shop.example")
        assert response["access-control-expose-headers"] == "X-Total-Count"
        other = await client.exchange("GET /", "Origin: https://shop.example.evil.test")
        assert "access-control-allow-origin" not in other


@on_our_loop
async def test_inline_authz(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [example("inline-authz")])
        client = await proxy.connect()

        async def decision(
            amount: int, team: str, content_type: str = "application/json", blanks: int = 0
        ) -> tuple[int, bytes]:
            body = b" " * blanks + json.dumps({"amount": amount}).encode()
            response = await client.exchange("POST /", f"Content-Type: {content_type}", f"X-Team: {team}", body=body)
            return response.status, response.body

        assert (await client.exchange("GET /")).status == 200
        assert await decision(1000, "sales") == (200, b"ok")
        assert await decision(1001, "sales") == (403, b'{"error":"not yours"}')
        assert await decision(1000, "press") == (403, b'{"error":"not yours"}')
        assert await decision(1001, "management") == (200, b"ok")
        # What cannot be read is not allowed either.
        assert await decision(1001, "sales", "text/plain") == (403, b'{"error":"not yours"}')
        assert await decision(1001, "sales", blanks=80_000) == (403, b'{"error":"not yours"}')


@on_our_loop
async def test_access_log(proxy: InProcessProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [example("access-log")])
        client = await proxy.connect()
        await client.exchange("GET /a?b")
        log = tmp_path / "access.log"
        await eventually_async(lambda: log.exists() and log.stat().st_size, what="the line is there")
        line = json.loads(await asyncio.to_thread(log.read_text))
        assert list(line) == ["bytes", "client", "id", "method", "ms", "path", "status", "time"]
        assert abs(datetime.now(UTC) - datetime.fromisoformat(line["time"])) < timedelta(seconds=30)
        assert (line["client"], line["method"], line["path"], line["status"], line["bytes"]) == (
            "127.0.0.1",
            "GET",
            "/a",
            "200",
            "2",
        )


@on_our_loop
async def test_conditions(proxy: InProcessProxy) -> None:
    guard = middleware("<jwt>", "inlineAuthz", rules=[{"cel": "false", "action": "allow"}], defaultAction="deny")
    overrides = {"<jwt>": example("README")["middlewareOverrides"]["<jwt>"]}
    async with StagedBackend() as backend:
        await pass_through(proxy, backend.port, [guard], overrides=overrides)
        client = await proxy.connect()
        assert (await client.exchange("GET /public/a%20b?c=..")).status == 200
        for path in ("/a", "/public/../a", "/public/%2e%2e/a", "/public/.%2E%2fa", "/public/..;/a", "/%70ublic/../a"):
            assert (await client.exchange(f"GET {path}")).status == 403
