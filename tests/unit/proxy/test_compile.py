"""From documents to plans: order, conversion, reuse, and what is reported."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.client_request import client_request
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import Document, snapshot_document
from tests.support.request_message import accepted, message
from vrata.expressions import compile_expression
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.action.forward import ForwardAction
from vrata.proxy.compile import Compiler
from vrata.proxy.listener.connection import DownstreamConnection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.settings import ListenerSettings, ListenerTimeouts
from vrata.proxy.plan import Plan, PlannedRoute
from vrata.proxy.reading import SnapshotRejected
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.status import EntityProblem


@dataclass(frozen=True, slots=True)
class Workshop:
    """A compiler and what its plans share."""

    compiler: Compiler
    registry: RuntimeRegistry

    async def plan(self, **entities: Iterable[Any]) -> Plan:
        return await self.compiler.compile(snapshot_document("s", **entities))


def in_workshop(work: Callable[[Workshop], Any]) -> None:
    """Run *work*, a coroutine function, with a fresh compiler."""

    async def main() -> None:
        sweeper = DeadlineSweeper(asyncio.get_running_loop())
        registry = RuntimeRegistry(sweeper, TaskSupervisor())
        await work(Workshop(Compiler(registry, sweeper), registry))

    asyncio.run(main())


def found(plan: Plan, line: bytes, *fields: bytes) -> PlannedRoute | None:
    """What the table has for a request."""
    loop = asyncio.get_running_loop()
    settings = next(iter(plan.listeners.values()), None)
    assert settings is not None, "the plan has no listener"
    owner = ConnectionOwner(loop, DeadlineSweeper(loop), settings, lambda *_: None)
    head = accepted(message(*fields, line=line + b" HTTP/1.1"))
    match = plan.table.match(DownstreamRequest(DownstreamConnection(owner), head))
    return match.payload if match is not None else None


LISTENER: Document = {"id": "l", "name": "web", "port": 8080}


def named(identifier: str, **match: Any) -> Document:
    return route(identifier, match, directResponse={"status": 200})


# -- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_equal_routes_compete_by_id_and_not_by_their_place(turned: bool) -> None:
    async def work(workshop: Workshop) -> None:
        routes = [named("b", path="/x"), named("a", path="/x"), named("c", path="/x")]
        plan = await workshop.plan(listeners=[LISTENER], routes=routes[::-1] if turned else routes)
        winner = found(plan, b"GET /x")
        assert winner is not None
        assert (winner.route_id, winner.name, winner.group) == ("a", "a", "")

    in_workshop(work)


@pytest.mark.parametrize("turned", [False, True])
def test_groups_compete_by_id_and_their_routes_by_the_groups_order(turned: bool) -> None:
    async def work(workshop: Workshop) -> None:
        groups = [
            {"id": "g2", "name": "second", "routeIds": ["a"]},
            {"id": "g1", "name": "first", "routeIds": ["c", "b"]},
        ]
        routes = [named("a", path="/x"), named("b", path="/x"), named("c", path="/x"), named("0", path="/x")]
        plan = await workshop.plan(
            listeners=[LISTENER],
            groups=groups[::-1] if turned else groups,
            routes=routes[::-1] if turned else routes,
        )
        winner = found(plan, b"GET /x")
        assert winner is not None
        assert (winner.route_id, winner.group) == ("c", "first")

    in_workshop(work)


def test_what_is_more_specific_comes_before_any_id() -> None:
    async def work(workshop: Workshop) -> None:
        plan = await workshop.plan(
            listeners=[LISTENER],
            routes=[
                named("1", pathRegex="/x.*"),
                named("2", pathPrefix="/x"),
                named("3", pathPrefix="/x/y"),
                named("4", path="/x/y/z"),
            ],
        )
        lines = [b"GET /x/y/z", b"GET /x/y/a", b"GET /x/a", b"GET /xa", b"GET /a"]
        winners = [winner.route_id if winner else None for winner in (found(plan, line) for line in lines)]
        assert winners == ["4", "3", "2", "1", None]

    in_workshop(work)


# -- conversion -------------------------------------------------------------------------------------------------------


def settings_of(plan: Plan) -> ListenerSettings:
    (settings,) = plan.listeners.values()
    return settings


def test_a_listener_with_defaults() -> None:
    async def work(workshop: Workshop) -> None:
        plan = await workshop.plan(listeners=[LISTENER])
        assert list(plan.listeners) == ["0.0.0.0:8080"]
        settings = settings_of(plan)
        assert (settings.listener_id, settings.name, settings.address) == ("l", "web", "0.0.0.0:8080")
        assert settings.timeouts == ListenerTimeouts(10, 60, 60, 120) == ListenerTimeouts()
        assert (settings.server, settings.max_fields_size) == (None, 0)

    in_workshop(work)


def test_a_listener_with_everything() -> None:
    async def work(workshop: Workshop) -> None:
        timeouts = {"clientHeader": "1s", "clientRequest": "0s", "clientResponse": "1m30s", "idleBetweenRequests": "0"}
        document = {
            **LISTENER,
            "address": "::1",
            "serverName": "edge",
            "maxRequestHeadersKB": 100,
            "maxConnections": 7,
            "timeouts": timeouts,
        }
        plan = await workshop.plan(listeners=[document])
        settings = settings_of(plan)
        assert settings.address == "[::1]:8080"
        assert settings.timeouts == ListenerTimeouts(1, math.inf, 90, math.inf)
        assert (settings.server, settings.max_fields_size) == (b"edge", 102400)
        assert settings.max_head > 102400
        assert settings.max_connections == 7

    in_workshop(work)


@pytest.mark.parametrize(
    ("timeouts", "request_timeout", "expected"),
    [
        ({}, 30, (5, 0.3, 10, 1, 90)),
        (
            {
                "request": "1s",
                "connect": "2s",
                "dualStackFallback": "3ms",
                "responseHeader": "4s",
                "expectContinue": "5s",
                "idleConnection": "6s",
            },
            1,
            (2, 0.003, 4, 5, 6),
        ),
        (
            dict.fromkeys(("request", "connect", "dualStackFallback", "responseHeader", "idleConnection"), "0s"),
            math.inf,
            (math.inf, 0, math.inf, 1, math.inf),
        ),
    ],
    ids=["defaults", "all", "none"],
)
def test_the_time_limits_of_a_destination(
    timeouts: dict[str, str], request_timeout: float, expected: tuple[float, ...]
) -> None:
    async def work(workshop: Workshop) -> None:
        plan = await workshop.plan(
            listeners=[LISTENER],
            destinations=[destination("d", 80, timeouts=timeouts)],
            routes=[route("r", forward=forward("d"))],
        )
        target = destination_of(plan)
        assert target.request_timeout == request_timeout
        limits = target.timeouts
        assert (
            *(limits.connect, limits.dual_stack_fallback, limits.response_header),
            *(limits.expect_continue, limits.idle_connection),
        ) == expected

    in_workshop(work)


def destination_of(plan: Plan) -> Any:
    """The destination of the plan's forwarding route."""
    winner = found(plan, b"GET /")
    assert winner is not None
    assert isinstance(winner.action, ForwardAction)
    picked = winner.action._split.pick(client_request())
    assert picked is not None
    return picked


@pytest.mark.parametrize(
    ("timeouts", "expected"), [(None, None), ({}, None), ({"request": "2s"}, 2), ({"request": "0s"}, math.inf)]
)
def test_the_budget_of_a_route(timeouts: dict[str, str] | None, expected: float | None) -> None:
    async def work(workshop: Workshop) -> None:
        settings = {} if timeouts is None else {"timeouts": timeouts}
        plan = await workshop.plan(listeners=[LISTENER], routes=[route("r", forward=forward("d", **settings))])
        winner = found(plan, b"GET /")
        assert winner is not None
        assert isinstance(winner.action, ForwardAction)
        assert winner.action._request_timeout == expected

    in_workshop(work)


def test_authorities_and_endpoints() -> None:
    async def work(workshop: Workshop) -> None:
        endpoints = [{"host": "::1", "port": 81}, {"host": "b.test", "port": 82}]
        plan = await workshop.plan(
            listeners=[LISTENER],
            destinations=[{**destination("d", 80, host="::1"), "endpoints": endpoints}, destination("e", 90)],
            routes=[route("r", forward=forward("d"))],
        )
        assert plan.uses.pools.keys() == {("d", "::1", 81), ("d", "b.test", 82), ("e", "127.0.0.1", 90)}
        assert plan.uses.destinations == {"d", "e"}
        target = destination_of(plan)
        assert (target.authority, target.host) == (b"[::1]:80", "::1")

    in_workshop(work)


# -- reuse ------------------------------------------------------------------------------------------------------------


def test_what_did_not_change_is_not_read_again() -> None:
    async def work(workshop: Workshop) -> None:
        def entities(mark: str) -> dict[str, list[Document]]:
            return {
                "listeners": [LISTENER],
                "destinations": [destination("d", 80), destination("e", 81, timeouts={"connect": mark})],
                "groups": [{"id": "g", "name": "g", "routeIds": ["r"]}],
                "routes": [named("r", path="/x"), named("s", path=f"/{mark}")],
            }

        def read() -> dict[tuple[str, str], Any]:
            known = workshop.compiler._read
            return {(kind, identity): pair[1] for kind, by_id in known.items() for identity, pair in by_id.items()}

        await workshop.plan(**entities("1s"))
        before = read()
        await workshop.plan(**entities("2s"))
        after = read()
        changed = {key for key in before if before[key] is not after[key]}
        assert before.keys() == after.keys()
        assert changed == {("destinations", "e"), ("routes", "s")}
        await workshop.plan(routes=[named("r", path="/x")])
        assert list(read()) == [("routes", "r")]  # nothing that is gone is kept

    in_workshop(work)


def test_pools_and_rotations_are_the_same_from_plan_to_plan() -> None:
    async def work(workshop: Workshop) -> None:
        pools = []
        for connect in ("1s", "2s"):
            plan = await workshop.plan(
                listeners=[LISTENER],
                destinations=[destination("d", 80, timeouts={"connect": connect})],
                routes=[route("r", forward=forward("d"))],
            )
            workshop.registry.keep_only(plan.uses)
            pools.append(destination_of(plan).selector.pick(client_request()).pool)
        assert pools[0] is pools[1]

    in_workshop(work)


def test_a_rejected_document_costs_nothing_that_was_read_before() -> None:
    async def work(workshop: Workshop) -> None:
        await workshop.plan(routes=[named("r", path="/x")])
        before = workshop.compiler._read
        with pytest.raises(SnapshotRejected) as rejected:
            await workshop.compiler.compile(
                {
                    "id": "x",
                    "snapshot": {"listeners": [], "destinations": [], "groups": {}, "middlewares": [], "routes": []},
                }
            )
        assert str(rejected.value) == "not a snapshot document: snapshot.groups must be an array"
        assert workshop.compiler._read is before

    in_workshop(work)


# -- problems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collection", "document", "problem"),
    [
        (
            "listeners",
            {"id": "l", "name": "web", "port": 0},
            EntityProblem("listener", "l", "web", "port: must be an integer from 1 to 65535"),
        ),
        (
            "destinations",
            {"id": "d", "name": "users", "host": "", "port": 80},
            EntityProblem("destination", "d", "users", "host: "),
        ),
        ("groups", {"id": "g", "name": "api", "color": "red"}, EntityProblem("group", "g", "api", "color: ")),
        (
            "routes",
            {"id": "r", "name": "all", "forward": {"destinations": []}},
            EntityProblem("route", "r", "all", "forward.destinations: must have at least one entry"),
        ),
        ("routes", {"id": 7, "name": 8}, EntityProblem("route", "", "8", "")),
        ("routes", "text", EntityProblem("route", "", "", "")),
        ("routes", None, EntityProblem("route", "", "", "")),
    ],
)
def test_an_entity_that_cannot_be_read_is_named(collection: str, document: Any, problem: EntityProblem) -> None:
    async def work(workshop: Workshop) -> None:
        for _ in range(2):  # it is reported every time, not only when it is new
            plan = await workshop.plan(**{collection: [document]})
            (seen,) = plan.problems
            assert (seen.kind, seen.id, seen.name) == (problem.kind, problem.id, problem.name)
            assert seen.reason.startswith(problem.reason)
            assert seen.reason

    in_workshop(work)


def test_the_loop_runs_on_while_a_large_snapshot_is_compiled() -> None:
    async def work(workshop: Workshop) -> None:
        compiling = asyncio.gather(workshop.plan(routes=[named(f"{n}", path=f"/{n}") for n in range(500)]))
        turns = 0
        while not compiling.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 5

    in_workshop(work)


def test_an_expression_is_compiled_once_for_all_plans_that_have_it() -> None:
    def by(cel: str, *names: str) -> list[Document]:
        return [route(name, {"cel": cel}, directResponse={"status": 200}) for name in names]

    async def work(workshop: Workshop) -> None:
        listeners = [{"id": "l", "name": "l", "address": "127.0.0.1", "port": 1}]
        await workshop.plan(listeners=listeners, routes=by("request.path == '/a'", "a", "b"))
        before = dict(workshop.compiler._expressions)
        compile_expression.cache_clear()  # which is smaller than what a plan may have
        plan = await workshop.plan(listeners=listeners, routes=by("request.path == '/a'", "c") + by("true", "d"))
        after = workshop.compiler._expressions
        assert after.keys() == {"request.path == '/a'", "true"}
        assert after["request.path == '/a'"] is before["request.path == '/a'"]
        assert [each.name for each in (found(plan, b"GET /a"), found(plan, b"GET /b")) if each] == ["c", "d"]
        await workshop.plan(listeners=listeners)
        assert not workshop.compiler._expressions

    in_workshop(work)


def test_a_route_whose_expression_cannot_be_compiled_is_left_out_and_named() -> None:
    async def work(workshop: Workshop) -> None:
        routes = [
            route("bad", {"cel": "request.nothing == 1"}, directResponse={"status": 200}),
            route("good", {"cel": "true"}, directResponse={"status": 200}),
        ]
        plan = await workshop.plan(routes=routes)
        (problem,) = plan.problems
        assert (problem.kind, problem.id) == ("route", "bad")
        assert problem.reason.startswith("match.cel: is not a valid CEL expression: line 1, column 9: ")
        assert len(plan.table) == 1

    in_workshop(work)
