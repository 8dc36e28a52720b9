"""Chains: which stages are put around an action, in which order, and what becomes of those that cannot be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client_request import client_request
from tests.support.manual_loop import ManualLoop
from vrata.expressions import compile_expression
from vrata.model import Middleware, Route, RouteGroup
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import middlewares
from vrata.proxy.contracts import ClientRequest, LocalResponse
from vrata.proxy.listener.memory_connection import MemoryConnection
from vrata.proxy.middleware.instance import MiddlewareUnavailable
from vrata.proxy.middleware.stage import Inner, Place
from vrata.proxy.middlewares import ChainFactory, Drafted, Instances, Resources
from vrata.proxy.runtime.registry import RuntimeRegistry


class Recorder:
    """An instance whose stages say that a request has passed them."""

    def __init__(self, settings: Any, passed: list[str]) -> None:
        self.settings = settings
        self.passed = passed
        self.closings = 0

    def stage(self, place: Place, inner: Inner) -> Inner:
        if place.name == "picky":
            raise MiddlewareUnavailable("not here")
        return RecordingStage(place, inner, self.passed)

    def close(self) -> None:
        self.closings += 1


class RecordingStage:
    def __init__(self, place: Place, inner: Inner, passed: list[str]) -> None:
        self.place = place
        self.inner = inner
        self.passed = passed

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        self.passed.append(self.place.middleware_id)
        self.inner.run(request, match, content, end)


class Answer:
    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        request.respond(LocalResponse(200, b"", b"inside"))


class Workshop:
    """Instances, what their stages have recorded, and how chains are made of them."""

    def __init__(self, instances: Instances, loop: ManualLoop) -> None:
        self.instances = instances
        self.loop = loop
        self.passed: list[str] = []
        self.made: list[Recorder] = []

    def build(self, settings: Any, resources: Any) -> Recorder:
        if settings.max_age == 13:
            raise ValueError("thirteen")
        recorder = Recorder(settings, self.passed)
        self.made.append(recorder)
        return recorder

    def closed(self) -> list[bool]:
        """Which of those that were made are closed by now."""
        self.loop.advance(0)
        return [each.closings > 0 for each in self.made]

    def draft(self, *entities: Middleware) -> tuple[ChainFactory, Drafted]:
        used: Drafted = {}
        factory = ChainFactory(self.instances, used, compile_expression, {})
        for entity in entities:
            factory.add(entity)
        return factory, used

    def answer(self, chain: Inner) -> int:
        """Run a request through *chain* and return the status of its response."""
        self.passed.clear()
        request = client_request(b"X-A: 1")
        chain.run(request, None, b"", True)
        connection = request._connection
        assert isinstance(connection, MemoryConnection)
        assert connection.response is not None
        return connection.response.status


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    async def made() -> Resources:
        return RuntimeRegistry(DeadlineSweeper(asyncio.get_running_loop()), TaskSupervisor()).instances.resources

    loop = ManualLoop()
    found = Workshop(Instances(asyncio.run(made()), loop.as_event_loop()), loop)
    monkeypatch.setattr(middlewares, "BUILDERS", {"cors": found.build})
    return found


def cors(identity: str, name: str = "", **settings: Any) -> Middleware:
    return Middleware.parse({"id": identity, "name": name or identity, "type": "cors", "cors": settings})


def route(*attached: str, **overrides: Any) -> Route:
    document = {"id": "r", "name": "r", "directResponse": {"status": 200}, "middlewareIds": list(attached)}
    return Route.parse(document | {"middlewareOverrides": overrides})


def group(*attached: str, **overrides: Any) -> RouteGroup:
    document = {"id": "g", "name": "g", "routeIds": ["r"], "middlewareIds": list(attached)}
    return RouteGroup.parse(document | {"middlewareOverrides": overrides})


def test_the_group_is_outside_of_the_route_and_nobody_runs_twice(workshop: Workshop) -> None:
    factory, _ = workshop.draft(*map(cors, "abcd"))
    chain, problems = factory.chain(route("b", "c", "d"), group("a", "c"), Answer())
    assert problems == []
    assert workshop.answer(chain) == 200
    assert workshop.passed == ["a", "c", "b", "d"]


def test_an_instance_has_any_number_of_places(workshop: Workshop) -> None:
    factory, used = workshop.draft(cors("a"), cors("b"))
    for _ in range(3):
        factory.chain(route("a"), None, Answer())
    assert len(workshop.made) == 1
    assert list(used) == ["a"]


@pytest.mark.parametrize(
    ("overrides", "runs"),
    [
        ({"disabled": True}, False),
        ({"skipWhen": ["false", 'request.headers["x-a"] == "1"']}, False),
        ({"skipWhen": ['request.headers["x-b"] == "1"']}, True),
        ({"onlyWhen": ["false", 'request.method == "GET"']}, True),
        ({"onlyWhen": ['request.method == "POST"']}, False),
        ({"onlyWhen": ['request.headers["x-b"] == "1"']}, False),
    ],
)
def test_conditions(workshop: Workshop, overrides: dict[str, Any], runs: bool) -> None:
    factory, _ = workshop.draft(cors("a"), cors("b"))
    chain, problems = factory.chain(route("a", "b", a=overrides), None, Answer())
    assert problems == []
    assert workshop.answer(chain) == 200
    assert workshop.passed == (["a", "b"] if runs else ["b"])


def test_the_override_of_the_route_replaces_that_of_the_group(workshop: Workshop) -> None:
    factory, _ = workshop.draft(cors("a"))
    chain, _ = factory.chain(route("a", a={"skipWhen": ["false"]}), group(a={"disabled": True}), Answer())
    workshop.answer(chain)
    assert workshop.passed == ["a"]


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("gone", 'middleware "gone" does not exist or could not be read'),
        ("bad", 'middleware "bad" cannot work: thirteen'),
        ("picky", 'middleware "picky" cannot work: not here'),
        ("other", 'middleware "other" cannot work: this build knows no middleware of type "headers"'),
    ],
)
def test_who_cannot_work_lets_nobody_past(workshop: Workshop, identity: str, reason: str) -> None:
    other = Middleware.parse({"id": "other", "name": "other", "type": "headers", "headers": {}})
    factory, _ = workshop.draft(cors("a"), cors("bad", maxAge=13), cors("picky"), other)
    chain, problems = factory.chain(route("a", identity), None, Answer())
    assert problems == [f"{reason}: its requests are answered with 500"]
    assert workshop.answer(chain) == 500
    assert workshop.passed == ["a"]
    # Where it would not run anyway it does no harm.
    skipped, _ = factory.chain(route(identity, **{identity: {"skipWhen": ["true"]}}), None, Answer())
    assert workshop.answer(skipped) == 200
    disabled, problems = factory.chain(route(identity, **{identity: {"disabled": True}}), None, Answer())
    assert workshop.answer(disabled) == 200
    assert problems == []


def test_instances_live_as_long_as_their_settings(workshop: Workshop) -> None:
    factory, used = workshop.draft(cors("a"), cors("b", maxAge=1))
    factory.chain(route("a", "b"), None, Answer())
    workshop.instances.keep_only(used)
    first, second = used["a"][1].instance, used["b"][1].instance
    # The same settings under another name, and other ones under the same.
    factory, used = workshop.draft(cors("a", "new name"), cors("b", maxAge=2))
    factory.chain(route("a", "b"), None, Answer())
    assert used["a"][1].instance is first
    assert used["b"][1].instance is not second
    # This plan does not come into force.
    del factory
    used.clear()
    assert workshop.closed() == [False, False, True]
    factory, used = workshop.draft(cors("a"), cors("b", maxAge=2))
    factory.chain(route("a", "b"), None, Answer())
    workshop.instances.keep_only(used)
    assert workshop.closed() == [True, False, True, False]  # inner ones are made first
    assert used["a"][1].instance is first
    del factory
    used.clear()
    workshop.instances.keep_only({})
    assert workshop.closed() == [True] * 4
    assert workshop.instances.open_count == 0


def test_an_instance_is_open_as_long_as_a_request_may_come_to_it(workshop: Workshop) -> None:
    factory, used = workshop.draft(cors("a"), cors("b"))
    chain, _ = factory.chain(route("a", "b"), None, Answer())
    del factory
    used.clear()
    workshop.instances.keep_only({})
    assert workshop.closed() == [False, False]
    assert isinstance(chain, RecordingStage)
    chain = chain.inner  # it has passed the first one
    assert workshop.closed() == [False, True]  # inner ones are made first
    assert workshop.answer(chain) == 200
    del chain
    assert workshop.closed() == [True, True]


def test_whoever_holds_on_to_an_instance_it_is_closed_when_the_worker_ends(workshop: Workshop) -> None:
    factory, used = workshop.draft(cors("a"), cors("b"))
    chain, _ = factory.chain(route("a", "b"), None, Answer())
    workshop.instances.keep_only(used)
    workshop.instances.close()
    assert [each.closings for each in workshop.made] == [1, 1]
    del factory, chain
    used.clear()
    workshop.closed()
    assert [each.closings for each in workshop.made] == [1, 1]
