"""Sticky sessions and a rate limit of two whole Vratas with the same entities, which share a Redis and nothing else."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection, Response, fetch
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.redis_server import RedisServer

NAMES = ("a", "b", "c", "d")
PIN: Document = {"algorithm": "STICKY", "sticky": {"cookie": {"name": "pin", "ttl": "1h"}}}


def say_name(exchange: Exchange) -> None:
    exchange.respond(body=exchange.backend.encode())


class Fleet:
    """Two proxies of two workers each, on a port each. Requests go to one and the other in turn."""

    def __init__(self, gateways: list[Gateway], redis: RedisServer, backends: dict[str, int]) -> None:
        self.gateways = gateways
        self.redis = redis
        self.backends = backends
        self.ports = {gateway: free_port() for gateway in gateways}
        self._turns = itertools.count()
        self.running = list(gateways)

    def configure(self, *weights: int, endpoints: tuple[str, str] = ("ab", "cd")) -> None:
        """Two destinations of those *weights*, with these backends as their endpoints."""
        shares = weights or (50, 50)
        targets = [destination(name, 1, endpointBalancing=PIN) for name in "xy"]
        for target, names in zip(targets, endpoints, strict=True):
            target["endpoints"] = [{"host": "127.0.0.1", "port": self.backends[name]} for name in names]
        refs = [{"destinationId": name, "weight": weight} for name, weight in zip("xy", shares, strict=True)]
        action = {"destinations": refs, "destinationBalancing": PIN}
        for gateway, port in self.ports.items():
            gateway.configure(listeners=[listener(port)], destinations=targets, routes=[route("r", forward=action)])

    def ask(self, cookie: str = "") -> Response:
        """A request on a connection of its own."""
        gateway = self.running[next(self._turns) % len(self.running)]
        with Connection(self.ports[gateway]) as client:
            response = client.exchange("GET", "/", headers=[("Cookie", f"theme=dark; {cookie}")] if cookie else [])
        assert response.status == 200, response
        return response

    def begin(self, count: int) -> dict[str, str]:
        """Sessions that begin: who served each, by cookie."""
        responses = [self.ask() for _ in range(count)]
        return {response["set-cookie"].partition(";")[0]: response.body.decode() for response in responses}

    def again(self, sessions: dict[str, str]) -> dict[str, str]:
        """Who serves *sessions* now."""
        with ThreadPoolExecutor(4) as pool:
            responses = list(pool.map(self.ask, sessions))
        assert not any("set-cookie" in response for response in responses)
        return {cookie: response.body.decode() for cookie, response in zip(sessions, responses, strict=True)}

    def logged(self, text: str) -> int:
        """How many of the workers have said so."""
        return sum(gateway.process.text().count(text) for gateway in self.gateways)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("sticky")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory / "redis", password="hush"))
        store = {"type": "redis", "redis": {"address": f"127.0.0.1:{redis.port}", "password": "hush", "db": 3}}
        backends = {name: stack.enter_context(RecordingBackend(name)) for name in NAMES}
        for backend in backends.values():
            backend.script = say_name
        gateways = [stack.enter_context(Gateway(directory / name, sessionStore=store)) for name in ("1", "2")]
        yield Fleet(gateways, redis, {name: backend.port for name, backend in backends.items()})
        for gateway in gateways:
            assert gateway.process.terminate(40) == 0
            assert "Traceback" not in gateway.process.text(), gateway.process.text()
            assert "hush" not in gateway.process.text()


def test_sessions_stay_whatever_changes(fleet: Fleet) -> None:
    fleet.configure()
    sessions = fleet.begin(40)
    assert set(sessions.values()) == set(NAMES)
    assert fleet.again(sessions) == sessions
    # Weights: none begins where there is none, and those that are there stay.
    fleet.configure(100, 0)
    assert fleet.again(sessions) == sessions
    later = fleet.begin(20)
    assert set(later.values()) <= {"a", "b"}
    # Endpoints: one comes, and one goes.
    fleet.configure(0, 100, endpoints=("abd", "cd"))
    assert fleet.again(sessions | later) == sessions | later
    fleet.configure(50, 50, endpoints=("bd", "cd"))
    moved = fleet.again(sessions)
    assert {cookie: name for cookie, name in moved.items() if sessions[cookie] != "a"} == {
        cookie: name for cookie, name in sessions.items() if name != "a"
    }
    assert {moved[cookie] for cookie, name in sessions.items() if name == "a"} <= {"b", "d"}
    fleet.configure(50, 50)
    stayed = {cookie: name for cookie, name in fleet.again(sessions).items() if sessions[cookie] != "a"}
    assert stayed == {cookie: name for cookie, name in sessions.items() if name != "a"}
    # Proxies: one ends, and comes back.
    leaving = fleet.running.pop()
    assert leaving.process.terminate(40) == 0
    assert fleet.again(stayed) == stayed
    leaving.start()
    eventually(lambda: len(leaving.proxies()[0]["workers"]) == 2, 20, what="its workers are there")
    fleet.running.append(leaving)
    assert fleet.again(stayed) == stayed


def test_hostile_cookies_never_reach_redis(fleet: Fleet) -> None:
    fleet.configure()
    before = keys(fleet.redis)
    for value in ("x:ep", "*", "x" * 129, "a%0d%0aDEL", "../r", "\xe9"):
        response = fleet.ask(f"pin={value}")
        assert response["set-cookie"].startswith("pin=")
    eventually(lambda: len(keys(fleet.redis) - before) == 12, what="each has got a session of its own")
    for key in keys(fleet.redis) - before:
        assert len(key.split(b":")[2]) == 32


def test_rates_are_limited_together(fleet: Fleet) -> None:
    settings = {"requestsPerSecond": 0.001, "burst": 20, "store": "redis", "onStoreFailure": "deny"}
    limit = {"id": "limit", "name": "limit", "type": "rateLimit", "rateLimit": settings}
    answered = route("r", directResponse={"status": 200}) | {"middlewareIds": ["limit"]}
    for gateway, port in fleet.ports.items():
        gateway.configure(listeners=[listener(port)], routes=[answered], middlewares=[limit])
    statuses = Counter(fetch(port).status for _ in range(20) for port in fleet.ports.values())
    # Where a busy machine was too slow for an answer, a token may have gone with it.
    assert statuses[200] <= 20 <= statuses[200] + statuses[503]
    assert statuses.keys() <= {200, 429, 503}
    assert statuses[429] > 0


def test_a_redis_that_dies_and_comes_back_loses_no_request(fleet: Fleet) -> None:
    fleet.configure()
    sessions = fleet.begin(40)
    assert fleet.again(sessions) == sessions
    outages, recoveries = fleet.logged("session store cannot be used"), fleet.logged("session store is back")
    fleet.redis.kill()
    slowest = 0.0
    for _ in range(3):
        for cookie, name in sessions.items():
            began = time.monotonic()
            # Weights have not changed since they began, so they are where the ring has them.
            assert fleet.ask(cookie).body.decode() == name
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 10, slowest
    meanwhile = fleet.begin(10)
    eventually(
        lambda: fleet.logged("session store cannot be used") == outages + 4, 20, what="each worker has said so, once"
    )
    fleet.redis.start()
    eventually(lambda: fleet.logged("session store is back") == recoveries + 4, 20, what="each worker is connected")
    assert fleet.again(sessions | meanwhile) == sessions | meanwhile
    # They have their places in Redis again, and so do weights not move them.
    fleet.configure(0, 100)
    # A Redis that a busy machine keeps from answering in time is out for a moment.
    eventually(lambda: fleet.again(sessions | meanwhile) == sessions | meanwhile, what="all are where they were")


def keys(redis: RedisServer) -> set[bytes]:
    """What is in the database that the proxies use."""
    return set(redis.ask("KEYS", "*", db=3).split(b"\r\n")[2::2])
