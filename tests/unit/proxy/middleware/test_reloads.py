"""Changes of configuration while requests are inside of middlewares: all end as if nothing had happened, and afterwards
nothing is left of what they needed. That must not wait for the garbage collector, which workers run hardly ever."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
import structlog

from tests.support.authorizer_messages import message_class
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, destination, forward, route
from tests.support.grpc_service import GrpcService
from tests.support.in_process_proxy import InProcessProxy
from tests.support.jwks_server import JwksServer
from tests.support.processors import Do, HttpProcessor, Processor, Reply, Seen, VrataProcessor
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.redis_server import RedisServer
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import request
from tests.support.tokens import ISSUER, Issuer, jwks, live_claims
from vrata.middleware import Middleware, Request, Response
from vrata.net.event_loop import new_event_loop
from vrata.proxy.middleware.python.modules import PythonModules
from vrata.proxy.redis.rate_limits import RedisRateLimits
from vrata.proxy.redis.settings import RedisSettings

FIRST, SECOND = Issuer(kid="a"), Issuer(kid="b", number=1)
STORE = "rate limit store"
"""The task that keeps a worker connected to its Redis, whoever limits rates."""
PATIENCE = 20.0
"""Seconds that those who are asked wait for the test."""


class Gate:
    """Where requests are held, in whatever is asked about them."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        """Wait until it is open, in a thread of one's own."""
        self._reached.set()
        assert self._open.wait(PATIENCE)

    async def pass_through_async(self) -> None:
        """The same on the loop of the proxy."""
        self._reached.set()
        await eventually_async(self._open.is_set, PATIENCE, what="the gate opens")

    def is_reached(self) -> bool:
        return self._reached.is_set()

    def open(self) -> None:
        self._open.set()


Made = tuple[Document, list[Document]]
"""A middleware, and the destinations that it asks."""
Kind = Callable[[Gate, ModuleType], AbstractContextManager[Made]]


def stated(kind: str, **settings: Any) -> Document:
    return {"id": "m", "name": "m", "type": kind, kind: settings}


@contextmanager
def authorizer(gate: Gate, module: ModuleType) -> Iterator[Made]:
    def allow(exchange: Exchange) -> None:
        gate.pass_through()
        exchange.respond()

    with RecordingBackend(script=allow) as server:
        yield stated("extAuthz", destinationId="s", decisionTimeout="15s"), [destination("s", server.port)]


@contextmanager
def grpc_authorizer(gate: Gate, module: ModuleType) -> Iterator[Made]:
    def check(message: Any, context: Any) -> Any:
        gate.pass_through()
        return message_class("extauthz.v1.CheckResponse")(allowed=True)

    handler = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=message_class("extauthz.v1.CheckRequest").FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    with GrpcService({"extauthz.v1.Authorizer": {"Check": handler}}) as server:
        settings = {"destinationId": "s", "mode": "grpc", "decisionTimeout": "15s"}
        yield stated("extAuthz", **settings), [destination("s", server.port, http2=True)]


def processor(kind: type[Processor], phase: str) -> Kind:
    @contextmanager
    def made(gate: Gate, module: ModuleType) -> Iterator[Made]:
        def script(seen: Seen) -> Reply:
            if seen.phase == phase:
                gate.pass_through()
            return Do()

        with kind(script) as server:
            entities = server.entities(phaseTimeout="15s", phases={"requestBody": "buffered"})
            yield entities["middlewares"][0] | {"id": "m"}, entities["destinations"]

    return made


@contextmanager
def keys(gate: Gate, module: ModuleType) -> Iterator[Made]:
    """The token needs a key that is not among those of the first retrieval."""

    class Rotating(JwksServer):
        def _answer(self, exchange: Exchange) -> None:
            if len(self.requests) > 1:
                gate.pass_through()
                self.document = jwks(SECOND.jwk)
            super()._answer(exchange)

    with Rotating(jwks(FIRST.jwk)) as server:
        settings = {"issuer": ISSUER, "jwksDestinationId": "s", "jwksPath": "/keys"}
        yield stated("jwt", **settings), [destination("s", server.port)]


def user_class(*, in_response: bool) -> Kind:
    @contextmanager
    def made(gate: Gate, module: ModuleType) -> Iterator[Made]:
        class Waiting(Middleware):
            is_closed = False

            async def on_request(self, request: Request) -> None:
                if not in_response:
                    await gate.pass_through_async()
                assert not self.is_closed

            async def on_response(self, request: Request, response: Response) -> None:
                if in_response:
                    await gate.pass_through_async()
                assert not self.is_closed

            def close(self) -> None:
                self.is_closed = True

        module.Waiting = Waiting  # type: ignore[attr-defined]
        yield stated("python", **{"class": "mine:Waiting", "timeout": "15s"}), []

    return made


KINDS: dict[str, Kind] = {
    "extAuthz": authorizer,
    "extAuthz-grpc": grpc_authorizer,
    "extProc": processor(HttpProcessor, "requestHeaders"),
    "extProc-response": processor(HttpProcessor, "responseHeaders"),
    "extProc-grpc": processor(VrataProcessor, "requestBody"),
    "extProc-grpc-response": processor(VrataProcessor, "responseHeaders"),
    "jwt": keys,
    "python": user_class(in_response=False),
    "python-response": user_class(in_response=True),
}


class Outermost(Middleware):
    """Holds requests back before they come to what is tested."""

    gate: Gate

    async def on_request(self, request: Request) -> None:
        await self.gate.pass_through_async()


def run(scenario: Callable[[InProcessProxy, ModuleType], Any], log: Path, redis: RedisSettings | None = None) -> None:
    """Run *scenario* with a proxy and the module of its classes, and without the garbage collector; one request is in
    the *log* then."""
    surprises: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
        module = ModuleType("mine")
        module.Outermost = Outermost  # type: ignore[attr-defined]
        modules = PythonModules({"mine": module}, {}, has_directories=True)
        proxy = InProcessProxy(sessions=redis, python_modules=modules)
        try:
            async with asyncio.timeout(60):
                await scenario(proxy, module)
        finally:
            await proxy.end()

    gc.collect()
    gc.disable()
    try:
        with structlog.testing.capture_logs() as entries, asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    finally:
        gc.enable()
    assert not surprises
    assert not [entry for entry in entries if entry["log_level"] in ("warning", "error", "critical")]
    assert log.read_text() == "status=200\n"


def what_is_left(proxy: InProcessProxy) -> dict[str, Any]:
    """What a plan without anything in it has no use for."""
    registry = proxy.data_plane._registry
    resources = registry.instances.resources
    found = {
        "instances": registry.instances.open_count,
        "closings": len(resources.closings),
        "pools": len(registry._pools),
        "calls": registry.services.under_way,
        "keys": len(resources.key_sets._kept),
        "logs": len(registry.log_writers._writers) + len(registry.log_writers._threads),
        "requests": proxy.data_plane.status().in_flight,
        "tasks": [each.get_name() for each in proxy.tasks._tasks if each.get_name() != STORE],
    }
    return {name: count for name, count in found.items() if count}


async def held(
    proxy: InProcessProxy, made: Made, backend: StagedBackend, gate: Gate, log: Path, *, outside: Gate
) -> None:
    """Have a request pass the outermost middleware, a log and what was *made*; change everything when it is at *gate*,
    open both gates, and see that it comes to its end, and that nothing is left."""
    middleware, destinations = made
    before = (
        stated("python", **{"class": "mine:Outermost", "timeout": "15s"}) | {"id": "outermost"},
        stated("accessLog", path=str(log), onResponse={"fields": {"status": "${response.status}"}}) | {"id": "log"},
    )
    Outermost.gate = outside
    report = await proxy.apply(
        route("all", forward=forward("b"), middlewareIds=["outermost", "log", middleware["id"]]),
        destinations=[destination("b", backend.port), *destinations],
        middlewares=[*before, middleware],
    )
    assert not report.problems
    if middleware["type"] == "jwt":
        kept = next(iter(proxy.data_plane._registry.instances.resources.key_sets._kept.values()))
        await eventually_async(lambda: bool(kept.current.keys), what="the first keys are there")
    client = await proxy.connect()
    token = SECOND.token(live_claims()).decode()
    client.send(request("POST /", f"Authorization: Bearer {token}", "Content-Length: 4") + b"body")
    await eventually_async(gate.is_reached, PATIENCE, what="the request is at the gate")
    assert not (await proxy.apply()).problems
    new = await proxy.connect()
    assert (await new.exchange("GET /")).status == 404
    outside.open()
    gate.open()
    response = await client.read_response("POST")
    assert (response.status, response.body) == (200, b"ok"), response
    assert [each.body for each in backend.requests] == [b"body"]
    await eventually_async(lambda: not what_is_left(proxy), PATIENCE, what=f"nothing is left: {what_is_left(proxy)}")
    await eventually_async(lambda: backend.open == 0, PATIENCE, what="no connection is left")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_inside_ends_as_it_began(kind: str, tmp_path: Path) -> None:
    async def scenario(proxy: InProcessProxy, module: ModuleType) -> None:
        gate, outside = Gate(), Gate()
        outside.open()
        with ExitStack() as stack:
            stack.callback(gate.open)
            made = stack.enter_context(KINDS[kind](gate, module))
            async with StagedBackend() as backend:
                await held(proxy, made, backend, gate, tmp_path / "log", outside=outside)

    run(scenario, tmp_path / "log")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_still_further_outside_does_as_well(kind: str, tmp_path: Path) -> None:
    async def scenario(proxy: InProcessProxy, module: ModuleType) -> None:
        gate, outside = Gate(), Gate()
        gate.open()
        with KINDS[kind](gate, module) as made:
            async with StagedBackend() as backend:
                await held(proxy, made, backend, outside, tmp_path / "log", outside=outside)

    run(scenario, tmp_path / "log")


def test_a_request_that_waits_for_redis_ends_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrata.proxy.redis.client.LIMIT", PATIENCE)

    class Frozen(Gate):
        """Holds the answers of Redis back, and is reached when one is waited for."""

        def __init__(self, proxy: InProcessProxy) -> None:
            super().__init__()
            self._proxy = proxy

        def is_reached(self) -> bool:
            limits = self._proxy.data_plane._registry.instances.resources.fleet_limits
            assert isinstance(limits, RedisRateLimits)
            return bool(limits._client._waiting)

        def open(self) -> None:
            server.thaw()

    async def scenario(proxy: InProcessProxy, module: ModuleType) -> None:
        gate, outside = Frozen(proxy), Gate()
        outside.open()
        server.freeze()
        made = stated("rateLimit", requestsPerSecond=0.01, burst=1, store="redis"), list[Document]()
        async with StagedBackend() as backend:
            await held(proxy, made, backend, gate, tmp_path / "log", outside=outside)
        assert len(server.stored()) == 1

    with RedisServer(tmp_path) as server:
        run(scenario, tmp_path / "log", RedisSettings("127.0.0.1", server.port))
