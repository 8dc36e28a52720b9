"""The routing of a data plane, from entities as they are written to what its table says of a request in bytes."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.brute_force_router import Configuration, WireRequest
from tests.support.in_process_proxy import snapshot_document
from tests.support.request_views import FakeRequest
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.compile import Compiler
from vrata.proxy.plan import Plan, PlannedRoute
from vrata.proxy.routing.candidate import Match
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.wire.http1.head import MAX_HEAD, parse_request_head


class HeadView(FakeRequest):
    """A head as conditions see it."""

    def __init__(self, request: WireRequest) -> None:
        head = parse_request_head(request.message, MAX_HEAD)
        assert head is not None
        self.head = head
        names = {name.lower() for name, _ in request.headers}
        values = {name: value for name in names if (value := head.header(name)) is not None}
        super().__init__(head.path, method=head.method.decode(), host=head.host, headers=values)

    def query_parameter(self, name: str) -> str | None:
        return self.head.query_parameter(name)


def plan_of(document: dict[str, Any]) -> Plan:
    """Compile a snapshot's *document*, on an event loop of its own."""
    return plan_and_registry(document)[0]


def plan_and_registry(document: dict[str, Any]) -> tuple[Plan, RuntimeRegistry]:
    """The same, and what outlives the plan."""

    async def compiled() -> tuple[Plan, RuntimeRegistry]:
        sweeper = DeadlineSweeper(asyncio.get_running_loop())
        registry = RuntimeRegistry(sweeper, TaskSupervisor())
        return await Compiler(registry, sweeper).compile(document), registry

    return asyncio.run(compiled())


class CompiledRouting:
    """The table that is compiled from a configuration."""

    def __init__(self, configuration: Configuration) -> None:
        plan = plan_of(snapshot_document("s", routes=configuration.routes, groups=configuration.groups))
        assert plan.problems == ()
        self.table = plan.table

    def match(self, request: WireRequest) -> Match[PlannedRoute] | None:
        return self.table.match(HeadView(request))

    def taken(self, request: WireRequest) -> tuple[str, str] | None:
        """Return group and route that answer *request*, or None."""
        match = self.match(request)
        return (match.payload.group, match.payload.route_id) if match is not None else None
