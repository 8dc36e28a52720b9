"""What the API does when something below it fails; everything else is tested from outside, in tests/conformance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from vrata.config import SecretSources
from vrata.controlplane.api import body
from vrata.controlplane.api.application import build
from vrata.controlplane.api.layers import Recovery
from vrata.controlplane.auth import Authenticator
from vrata.controlplane.proxies import ProxyRegistry
from vrata.controlplane.snapshots.capture import SnapshotCapturer
from vrata.controlplane.store.base import Store
from vrata.controlplane.store.errors import StoreFailedError
from vrata.controlplane.store.memory import MemoryStore
from vrata.controlplane.sync import SnapshotFeed
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.explain.explainer import Explainer


def application(store: Store) -> ASGIApp:
    capturer = SnapshotCapturer(store, {}, SecretSources((), ()))
    feed, registry, explainer = SnapshotFeed(store), ProxyRegistry(), Explainer(65536)
    return build(store, capturer, feed, registry, Authenticator([]), TaskSupervisor(), explainer)


def ask(app: ASGIApp, method: str, path: str, content: bytes | AsyncIterator[bytes] | None = None) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x/api/v1") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(asking())


def failing(*methods: str, error: Exception | None = None) -> Store:
    """A store whose *methods* fail as a full disk makes them fail."""
    store = MemoryStore()

    async def fail(*_: Any) -> Any:
        raise error or StoreFailedError("database or disk is full")

    for name in methods:
        setattr(store, name, fail)
    return store


FULL = "the store failed: database or disk is full"
SECRET = b'{"name":"s","value":"hidden"}'
ROUTE = b'{"name":"r","directResponse":{"status":200}}'


@pytest.mark.parametrize(
    ("broken", "method", "path", "content", "text"),
    [
        ("summaries", "GET", "/secrets", None, "listing secrets"),
        ("read", "GET", "/secrets/s1", None, "reading secret"),
        ("create", "POST", "/secrets", SECRET, "saving secret"),
        ("contains", "PUT", "/secrets/s1", SECRET, "reading secret"),
        ("delete", "DELETE", "/secrets/s1", None, "deleting secret"),
        ("bodies", "GET", "/routes", None, FULL),
        ("read", "GET", "/routes/r1", None, FULL),
        ("create", "POST", "/routes", ROUTE, FULL),
        ("delete", "DELETE", "/routes/r1", None, FULL),
        ("activate", "POST", "/snapshots/s1/activate", None, FULL),
        (
            "create",
            "POST",
            "/snapshots",
            b'{"name":"n"}',
            f"building snapshot: {FULL}",
        ),
        (
            "bodies",
            "POST",
            "/snapshots",
            b'{"name":"n"}',
            f"building snapshot: {FULL}",
        ),
    ],
)
def test_a_failing_store(broken: str, method: str, path: str, content: bytes | None, text: str) -> None:
    with capture_logs() as log:
        answer = ask(application(failing(broken)), method, path, content)
    assert (answer.status_code, answer.json()) == (500, {"error": text})
    assert any(line["event"] == "store failed" and "full" in line["reason"] for line in log)


def test_a_crash_says_nothing_of_itself_and_is_logged() -> None:
    store = failing("bodies", error=RuntimeError("internal detail"))
    with capture_logs() as log:
        answer = ask(application(store), "GET", "/routes?q=1")
    assert (answer.status_code, answer.json()) == (500, {"error": "an unexpected error occurred"})
    assert answer.headers["content-type"] == "application/json"
    (crash,) = (line for line in log if line["event"] == "request crashed")
    assert (crash["method"], crash["path"]) == ("GET", "/api/v1/routes")
    assert str(crash["exc_info"]) == "internal detail"


def test_a_crash_outside_of_the_resources_is_answered_too() -> None:
    async def crashing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    with capture_logs():
        answer = ask(Recovery(crashing), "GET", "/")
    assert (answer.status_code, answer.json()) == (500, {"error": "an unexpected error occurred"})


def test_requests_are_logged_with_status_and_duration() -> None:
    with capture_logs() as log:
        ask(application(MemoryStore()), "GET", "/none%1B%0A")
    (line,) = log
    duration = line.pop("ms")
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/api/v1/none%1B%0A",
        "status": 404,
    }
    assert 0 <= duration < 10_000


def test_heartbeats_do_not_fill_the_log() -> None:
    with capture_logs() as log:
        ask(application(MemoryStore()), "PUT", "/sync/proxies/p1", b'{"version":"1"}')
        ask(application(MemoryStore()), "PUT", "/sync/proxies/p1", b"{}")
    assert [(line["status"], line["log_level"]) for line in log] == [(204, "debug"), (400, "info")]


def test_a_body_that_comes_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.02)

    async def slow() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    messages = asyncio.run(exchange(application(MemoryStore()), slow))
    assert messages[0]["status"] == 408
    assert "did not arrive within" in json.loads(messages[1]["body"])["error"]


def test_a_client_that_leaves_while_sending_is_no_crash() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with capture_logs() as log:
        messages = asyncio.run(exchange(application(MemoryStore()), gone))
    assert messages[0]["status"] == 400
    assert not [line for line in log if line["event"] == "request crashed"]


async def exchange(app: ASGIApp, receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    """Post something to /routes whose body comes from *receive*."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/routes",
        "raw_path": b"/api/v1/routes",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    return sent
