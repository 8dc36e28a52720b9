"""From a snapshot document to a plan.

A bad entity is left out and reported; only a document that is no snapshot at all is rejected. The work is done in
slices between which the event loop serves requests, and an entity that did not change since the last snapshot is not
read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from random import Random
from time import perf_counter
from typing import Any, TypeVar

from vrata.model import Destination as DestinationEntity
from vrata.model import Entity, InvalidEntity, Route, RouteGroup
from vrata.model import Listener as ListenerEntity
from vrata.model.forward import Forward
from vrata.model.host import host_and_port
from vrata.model.tls import ListenerTls
from vrata.net.deadlines import NEVER, DeadlineSweeper
from vrata.net.server_tls import TlsMaterialError, listener_context, with_files_read
from vrata.policy.client_address import TrustedProxies
from vrata.proxy.action.direct_response import DirectResponseAction
from vrata.proxy.action.forward import ForwardAction, PooledDestination
from vrata.proxy.action.redirect import RedirectAction
from vrata.proxy.action.unavailable import UnavailableAction
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.destination.destination import Destination, DestinationSplit
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector, RandomSelector, RoundRobinSelector
from vrata.proxy.failures import renderer
from vrata.proxy.listener.settings import ListenerSettings, ListenerTimeouts, TlsTermination
from vrata.proxy.meters import ListenerMeters, route_key
from vrata.proxy.metrics.scope import ListenerKey, MetricsScope, listener_key
from vrata.proxy.plan import Action, Plan, PlannedRoute
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.rewriting import Rewrite
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder
from vrata.proxy.runtime.registry import PoolKey, RuntimeRegistry
from vrata.proxy.status import EntityProblem
from vrata.proxy.upstream.pool import EndpointPool
from vrata.wire.http1.head import MAX_HEAD, MAX_REQUEST_LINE

SLICE = 0.002
"""Seconds of work between two turns of the event loop: what a swap may add to a request's latency."""

EntityT = TypeVar("EntityT", bound=Entity)


class SnapshotRejected(Exception):  # noqa: N818 - an outcome, named as the acknowledgement names it
    """The document is not a snapshot that this proxy can read; ``args[0]`` says why."""


class Compiler:
    """Makes plans. Keeps what it read of the last snapshot, so that the next one costs what changed."""

    def __init__(self, registry: RuntimeRegistry, sweeper: DeadlineSweeper) -> None:
        self._registry = registry
        self._sweeper = sweeper
        # Only spreads load, so its seed is of no interest to an attacker.
        self._random = Random()
        self._read: dict[str, dict[str, tuple[Any, Entity]]] = {}
        self._tls: dict[str, tuple[ListenerTls, TlsTermination]] = {}

    async def compile(self, document: Mapping[str, Any]) -> Plan:
        """The plan for *document*. Raises :class:`SnapshotRejected`."""
        compilation = _Compilation(document, self._registry, self._sweeper, self._random, self._read, self._tls)
        deadline = perf_counter() + SLICE
        for _ in compilation.steps():
            if perf_counter() >= deadline:
                await asyncio.sleep(0)
                deadline = perf_counter() + SLICE
        self._read = compilation.read
        self._tls = compilation.tls
        return compilation.plan()


class _Compilation:
    """One snapshot on its way to a plan; each step of :meth:`steps` is short."""

    def __init__(
        self,
        document: Mapping[str, Any],
        registry: RuntimeRegistry,
        sweeper: DeadlineSweeper,
        random: Random,
        read_before: dict[str, dict[str, tuple[Any, Entity]]],
        tls_before: dict[str, tuple[ListenerTls, TlsTermination]],
    ) -> None:
        self._snapshot_id = document.get("id")
        self._content = document.get("snapshot")
        if not isinstance(self._snapshot_id, str) or not isinstance(self._content, Mapping):
            raise SnapshotRejected("not a snapshot document: id and snapshot are required")
        self._registry = registry
        self._sweeper = sweeper
        self._random = random
        self._read_before = read_before
        self.read: dict[str, dict[str, tuple[Any, Entity]]] = {}
        self._tls_before = tls_before
        self.tls: dict[str, tuple[ListenerTls, TlsTermination]] = {}
        self._problems: list[EntityProblem] = []
        self._listeners: dict[str, ListenerSettings] = {}
        self._destinations: dict[str, PooledDestination] = {}
        self._pools: dict[PoolKey, int] = {}
        self._metered: dict[ListenerKey, ListenerEntity] = {}
        self._route_keys: set[str] = set()
        self._endpoints: set[tuple[str, str]] = set()
        self._builder = RouteTableBuilder[PlannedRoute]()
        self._grouped: set[str] = set()
        self._table: RouteTable[PlannedRoute] | None = None

    def plan(self) -> Plan:
        """The result, once every step was taken."""
        assert self._table is not None
        assert isinstance(self._snapshot_id, str)
        return Plan(
            self._snapshot_id,
            self._listeners,
            self._table,
            self._pools,
            frozenset(self._destinations),
            MetricsScope(
                self._metered, frozenset(self._route_keys), frozenset(self._destinations), frozenset(self._endpoints)
            ),
            tuple(self._problems),
        )

    def steps(self) -> Iterator[None]:
        """Compile bit by bit."""
        for listener in self._entities(ListenerEntity):
            yield
            if listener is not None:
                self._add_listener(listener)
        for destination in self._entities(DestinationEntity):
            yield
            if destination is not None:
                self._destinations[destination.id] = self._destination(destination)
        groups: list[RouteGroup] = []
        for group in self._entities(RouteGroup):
            yield
            if group is not None:
                groups.append(group)
        routes: dict[str, Route] = {}
        for route in self._entities(Route):
            yield
            if route is not None:
                routes[route.id] = route
        yield from self._add_entries(groups, routes)
        self._table = yield from self._builder.building()

    def _entities(self, kind: type[EntityT]) -> Iterator[EntityT | None]:
        """The entities of one kind in ascending order of ID; None in the place of one that could not be read."""
        assert isinstance(self._content, Mapping)
        documents = self._content.get(kind.collection)
        if not isinstance(documents, list):
            raise SnapshotRejected(f"not a snapshot document: snapshot.{kind.collection} must be an array")
        before = self._read_before.get(kind.collection, {})
        read = self.read.setdefault(kind.collection, {})
        for document in sorted(documents, key=_id_of):
            identity = _id_of(document)
            known = before.get(identity)
            if known is not None and known[0] == document:
                entity = known[1]
            else:
                try:
                    entity = kind.parse(document)
                except InvalidEntity as error:
                    name = str(document.get("name", "")) if isinstance(document, dict) else ""
                    self._problems.append(EntityProblem(kind.kind, identity, name, str(error)))
                    if kind is RouteGroup:
                        # On their own they would serve without the group's conditions.
                        self._grouped.update(_route_ids_of(document))
                    yield None
                    continue
            assert isinstance(entity, kind)
            read[identity] = (document, entity)
            yield entity

    def _add_listener(self, listener: ListenerEntity) -> None:
        try:
            tls = None if listener.tls is None else self._tls_termination(listener.id, listener.tls)
        except TlsMaterialError as error:
            self._problems.append(EntityProblem(listener.kind, listener.id, listener.name, str(error)))
        else:
            meters = self._registry.metrics.meters(listener)
            if meters is not None:
                self._metered[listener_key(listener)] = listener
            self._listeners[listener.bind_address] = _listener_settings(listener, tls, meters)

    def _tls_termination(self, listener_id: str, tls: ListenerTls) -> TlsTermination:
        """What was made for the last snapshot, while it says the same: its session tickets stay good."""
        tls = with_files_read(tls)
        known = self._tls_before.get(listener_id)
        if known is not None and known[0] == tls:
            termination = known[1]
        else:
            auth = tls.client_auth
            terms = (auth.mode, auth.ca, tls.min_version, tls.max_version or "")
            termination = TlsTermination(listener_context(tls), terms)
        self.tls[listener_id] = (tls, termination)
        return termination

    def _destination(self, entity: DestinationEntity) -> PooledDestination:
        endpoints = []
        for endpoint in entity.static_endpoints:
            key = (entity.id, endpoint.host, endpoint.port)
            self._pools[key] = entity.options.max_conns_per_host
            self._endpoints.add((entity.id, endpoint.address))
            endpoints.append(Endpoint(endpoint.address, self._registry.pool(*key)))
        selector: EndpointSelector[EndpointPool]
        if entity.options.endpoint_balancing.algorithm == "RANDOM":
            selector = RandomSelector(endpoints, self._random)
        else:
            selector = RoundRobinSelector(endpoints, self._registry.rotation(entity.id))
        timeouts = entity.options.timeouts
        return Destination(
            destination_id=entity.id,
            authority=host_and_port(entity.host, entity.port).encode("ascii"),
            host=entity.host,
            selector=selector,
            request_timeout=_limit(timeouts.request.seconds),
            timeouts=UpstreamTimeouts(
                connect=_limit(timeouts.connect.seconds),
                dual_stack_fallback=timeouts.dual_stack_fallback.seconds,
                response_header=_limit(timeouts.response_header.seconds),
                expect_continue=timeouts.expect_continue.seconds,
                idle_connection=_limit(timeouts.idle_connection.seconds),
            ),
        )

    def _add_entries(self, groups: list[RouteGroup], routes: dict[str, Route]) -> Iterator[None]:
        """Table entries in build order: groups by ID with their routes in order, then the routes of no group."""
        for group in groups:
            for route_id in group.route_ids:
                yield
                self._grouped.add(route_id)
                route = routes.get(route_id)
                if route is not None:
                    self._add_entry(route, group)
        for route_id, route in routes.items():
            yield
            if route_id not in self._grouped:
                self._add_entry(route, None)

    def _add_entry(self, route: Route, group: RouteGroup | None) -> None:
        group_name = group.name if group is not None else ""
        try:
            meter_key = route_key(route.name, group_name)
            planned = PlannedRoute(route.id, route.name, group_name, self._action(route, group), meter_key)
            self._builder.add(match_conditions(route, group), planned)
            self._route_keys.add(meter_key)
        except ValueError as error:
            self._problems.append(EntityProblem(route.kind, route.id, route.name, str(error)))

    def _action(self, route: Route, group: RouteGroup | None) -> Action:
        if route.middleware_ids or (group is not None and group.middleware_ids):
            # The control plane refuses this; a newer one may not. Whatever they are to keep out stays out.
            reason = "this build has no middlewares: its requests are answered with 500"
            self._problems.append(EntityProblem(route.kind, route.id, route.name, reason))
            return UnavailableAction()
        if route.direct_response is not None:
            return DirectResponseAction(route.direct_response)
        if route.redirect is not None:
            return RedirectAction(route.redirect)
        assert route.forward is not None
        return self._forward(route.forward)

    def _forward(self, forward: Forward) -> Action:
        known = [
            (self._destinations[ref.destination_id], ref.weight)
            for ref in forward.destinations
            if ref.destination_id in self._destinations
        ]
        budget = forward.timeouts.request
        return ForwardAction(
            DestinationSplit(known, self._random),
            self._sweeper,
            request_timeout=None if budget is None else _limit(budget.seconds),
            rewrite=Rewrite(forward.rewrite) if forward.rewrite is not None else None,
        )


def _id_of(document: Any) -> str:
    identity = document.get("id") if isinstance(document, dict) else None
    return identity if isinstance(identity, str) else ""


def _route_ids_of(document: Any) -> set[str]:
    """What *document*, a group that could not be read, says of its routes as far as that can be understood."""
    route_ids = document.get("routeIds") if isinstance(document, dict) else None
    return {each for each in route_ids if isinstance(each, str)} if isinstance(route_ids, list) else set()


def _limit(seconds: float) -> float:
    """A time limit as the data plane uses it: ``0s`` means none."""
    return seconds if seconds > 0 else NEVER


def _listener_settings(
    entity: ListenerEntity, tls: TlsTermination | None, meters: ListenerMeters | None
) -> ListenerSettings:
    timeouts = entity.timeouts
    max_fields_size = entity.max_request_headers_kb * 1024
    return ListenerSettings(
        listener_id=entity.id,
        name=entity.name,
        address=entity.bind_address,
        render_failure=renderer(entity.proxy_errors.detail),
        timeouts=ListenerTimeouts(
            client_header=_limit(timeouts.client_header.seconds),
            client_request=_limit(timeouts.client_request.seconds),
            client_response=_limit(timeouts.client_response.seconds),
            idle_between_requests=_limit(timeouts.idle_between_requests.seconds),
        ),
        trusted_proxies=TrustedProxies(entity.trusted_proxies) if entity.trusted_proxies else None,
        server=entity.server_name.encode("latin-1") if entity.server_name else None,
        max_fields_size=max_fields_size,
        max_connections=entity.max_connections,
        # Room for the request line and for each field's colon, space and CRLF beside what the limit counts.
        max_head=max(MAX_HEAD, max_fields_size * 2) + MAX_REQUEST_LINE,
        tls=tls,
        meters=meters,
    )
