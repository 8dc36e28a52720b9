"""From a snapshot document to a plan.

A bad entity is left out and reported; only a document that is no snapshot at all is rejected. The work is done in
slices between which the event loop serves requests, and an entity that did not change since the last snapshot is not
read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from random import Random
from time import perf_counter
from typing import Any, TypeAlias

from vrata.expressions import Expression, compile_expression
from vrata.model import Destination as DestinationEntity
from vrata.model import Listener as ListenerEntity
from vrata.model import Middleware, Route, RouteGroup
from vrata.model.forward import Forward
from vrata.model.tls import ListenerTls
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.server_tls import building_listener_context, files_of, with_files_read
from vrata.net.tls_material import TlsMaterialError
from vrata.policy.client_address import TrustedProxies
from vrata.policy.grpc_timeout import GrpcTimeoutCap
from vrata.policy.retry import NO_RETRIES, retry_policy
from vrata.proxy.action.direct_response import DirectResponseAction
from vrata.proxy.action.forward import ForwardAction, PooledDestination
from vrata.proxy.action.mirror import Mirror
from vrata.proxy.action.redirect import RedirectAction
from vrata.proxy.action.retrying import RetrySettings
from vrata.proxy.destinations import DestinationFactory, limit_of
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.settings import ListenerSettings, ListenerTimeouts, TlsTermination
from vrata.proxy.meters import ListenerMeters, route_key
from vrata.proxy.metrics.scope import ListenerKey, MetricsScope, listener_key, middleware_keys
from vrata.proxy.middlewares import ChainFactory, Drafted
from vrata.proxy.plan import Action, Plan, PlannedRoute
from vrata.proxy.reading import Read, SnapshotReading
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.rewriting import Rewrite
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.selectors import Selector, SelectorFactory, Split, Tables
from vrata.proxy.status import EntityProblem
from vrata.proxy.tracing.tracer import Tracer
from vrata.wire.http1.head import MAX_HEAD, MAX_REQUEST_LINE
from vrata.wire.http1.path import PathNormalization

AnswersAtOnce: TypeAlias = RedirectAction | DirectResponseAction

SLICE = 0.002
"""Seconds of work between two turns of the event loop: what a swap may add to a request's latency."""

_PATHS: Mapping[str, PathNormalization | None] = {
    "none": None,
    "base": PathNormalization(merges_slashes=False),
    "mergeSlashes": PathNormalization(merges_slashes=True),
}


class Compiler:
    """Makes plans. Keeps what it read of the last snapshot, so that the next one costs what changed."""

    def __init__(self, registry: RuntimeRegistry, sweeper: DeadlineSweeper, random: Random | None = None) -> None:
        self._registry = registry
        self._sweeper = sweeper
        # Only spreads load, so its seed is of no interest to an attacker.
        self._random = random or Random()
        self._read: Read = {}
        self._tls: dict[str, tuple[ListenerTls, TlsTermination]] = {}
        self._expressions: dict[str, Expression] = {}
        self._tables = Tables()

    async def compile(self, document: Mapping[str, Any]) -> Plan:
        """The plan for *document*. Raises :class:`~vrata.proxy.reading.SnapshotRejected`."""
        compilation = _Compilation(
            document,
            self._registry,
            self._sweeper,
            self._random,
            self._read,
            self._tls,
            self._expressions,
            self._tables,
        )
        await _in_slices(compilation.steps())
        self._read = compilation.read
        self._tls = compilation.tls
        self._expressions = compilation.expressions
        self._tables = compilation.tables
        return compilation.plan()

    async def repopulate(self, plan: Plan) -> Plan:
        """The same plan with the endpoints that are discovered by now; requests go to them at once."""
        selectors = SelectorFactory(self._registry, self._random, self._tables)
        factory = DestinationFactory(self._registry, selectors)
        repopulated: dict[str, Selector] = {}

        def steps() -> Iterator[None]:
            for destination_id, entity in plan.entities.items():
                yield
                repopulated[destination_id] = yield from factory.populating(entity)

        await _in_slices(steps())
        for destination_id, entity in plan.entities.items():
            if entity.options.discovery is not None:
                plan.destinations[destination_id].selector = repopulated[destination_id]
        selectors.tables.splits = self._tables.splits
        self._tables = selectors.tables
        scope = replace(plan.metrics_scope, endpoints=frozenset(factory.endpoints))
        return replace(plan, uses=replace(factory.uses, speech=plan.uses.speech), metrics_scope=scope)


class _Compilation:
    """One snapshot on its way to a plan; each step of :meth:`steps` is short."""

    def __init__(
        self,
        document: Mapping[str, Any],
        registry: RuntimeRegistry,
        sweeper: DeadlineSweeper,
        random: Random,
        read_before: Read,
        tls_before: dict[str, tuple[ListenerTls, TlsTermination]],
        expressions_before: dict[str, Expression],
        tables_before: Tables,
    ) -> None:
        self._reading = SnapshotReading(document, read_before)
        self._registry = registry
        self._sweeper = sweeper
        self._random = random
        self._tls_before = tls_before
        self.tls: dict[str, tuple[ListenerTls, TlsTermination]] = {}
        self._expressions_before = expressions_before
        self.expressions: dict[str, Expression] = {}
        self._selectors = SelectorFactory(registry, random, tables_before)
        self._factory = DestinationFactory(registry, self._selectors)
        self._problems = self._reading.problems
        self._listeners: dict[str, ListenerSettings] = {}
        self._destinations: dict[str, PooledDestination] = {}
        self._entities: dict[str, DestinationEntity] = {}
        self.instances: Drafted = {}
        """The instances of middlewares that the plan uses."""
        self._chains = ChainFactory(registry.instances, self.instances, self._expression, self._destinations)
        self._metered: dict[ListenerKey, ListenerEntity] = {}
        self._route_keys: set[str] = set()
        self._middleware_keys = middleware_keys(document["snapshot"])
        self._builder = RouteTableBuilder[PlannedRoute](self._expression)
        self._table: RouteTable[PlannedRoute] | None = None

    @property
    def read(self) -> Read:
        """The entities that were read."""
        return self._reading.read

    @property
    def tables(self) -> Tables:
        """The tables for choosing by hash."""
        return self._selectors.tables

    def plan(self) -> Plan:
        """The result, once every step was taken."""
        assert self._table is not None
        return Plan(
            self._reading.snapshot_id,
            self._listeners,
            self._table,
            self._destinations,
            self._entities,
            self._factory.uses,
            self.instances,
            MetricsScope(
                self._metered,
                frozenset(self._route_keys),
                frozenset(self._destinations),
                frozenset(self._factory.endpoints),
                middlewares=self._middleware_keys,
            ),
            tuple(self._problems),
        )

    def steps(self) -> Iterator[None]:
        """Compile bit by bit."""
        for listener in self._reading.entities(ListenerEntity):
            yield
            if listener is not None:
                yield from self._add_listener(listener)
        for destination in self._reading.entities(DestinationEntity):
            yield
            if destination is not None:
                yield from self._add_destination(destination)
        for middleware in self._reading.entities(Middleware):
            yield
            if middleware is not None:
                self._chains.add(middleware)
        for entry in self._reading.entries():
            yield
            if entry is not None:
                split = yield from self._split(entry[0])
                self._add_entry(*entry, split)
        self._table = yield from self._builder.building()
        # They know a method of this, and this knows them: what was compiled is to go without the garbage collector.
        del self._builder, self._chains

    def _add_listener(self, listener: ListenerEntity) -> Iterator[None]:
        try:
            tls = None
            if listener.tls is not None:
                tls = yield from self._tls_termination(listener.id, listener.tls, http2=listener.http2)
        except TlsMaterialError as error:
            self._problems.append(EntityProblem(listener.kind, listener.id, listener.name, str(error)))
        else:
            meters = self._registry.metrics.meters(listener)
            if meters is not None:
                self._metered[listener_key(listener)] = listener
            self._listeners[listener.bind_address] = listener_settings(
                listener, tls, meters, self._tracer(listener, meters)
            )

    def _tracer(self, listener: ListenerEntity, meters: ListenerMeters | None) -> Tracer | None:
        if listener.tracing is None:
            return None
        exporter = self._registry.spans.exporter(listener.tracing)
        # Identities are the one thing that is drawn which has to differ from worker to worker, and from run to run.
        return Tracer(listener.tracing, listener.name, exporter, meters, Random())

    def _tls_termination(
        self, listener_id: str, tls: ListenerTls, *, http2: bool
    ) -> Generator[None, None, TlsTermination]:
        """What was made for the last snapshot, while it says the same: its session tickets stay good."""
        known = self._tls_before.get(listener_id)
        if files_of(tls):
            tls = with_files_read(tls)
        if known is not None and known[0] == tls and known[1].http2 == http2:
            termination = known[1]
        else:
            auth = tls.client_auth
            terms = (auth.mode, auth.ca, tls.min_version, tls.max_version or "")
            termination = TlsTermination((yield from building_listener_context(tls, http2=http2)), terms, http2)
        self.tls[listener_id] = (tls, termination)
        return termination

    def _add_destination(self, destination: DestinationEntity) -> Iterator[None]:
        try:
            self._destinations[destination.id] = yield from self._factory.making(destination)
            self._entities[destination.id] = destination
        except TlsMaterialError as error:
            reason = f"options.{error}"
            self._problems.append(EntityProblem(destination.kind, destination.id, destination.name, reason))

    def _add_entry(self, route: Route, group: RouteGroup | None, split: Split | None) -> None:
        group_name = group.name if group is not None else ""
        try:
            meter_key = route_key(route.name, group_name)
            action, problems = self._chains.chain(route, group, self._action(route, group, meter_key, split))
            planned = PlannedRoute(route.id, route.name, group_name, action, meter_key)
            self._builder.add(match_conditions(route, group), planned)
            self._route_keys.add(meter_key)
        except ValueError as error:
            problems = [str(error)]
        for problem in problems:
            self._problems.append(EntityProblem(route.kind, route.id, route.name, problem))

    def _expression(self, text: str) -> Expression:
        expression = self._expressions_before.get(text) or compile_expression(text)
        self.expressions[text] = expression
        return expression

    def _action(self, route: Route, group: RouteGroup | None, meter_key: str, split: Split | None) -> Action:
        answer = answer_at_once(route)
        if answer is not None:
            return answer
        assert route.forward is not None
        assert split is not None
        return self._forward(route.forward, group, meter_key, split)

    def _split(self, route: Route) -> Generator[None, None, Split | None]:
        """What chooses the destination; None for a route that does not forward."""
        if route.forward is None:
            return None
        known = [
            (self._destinations[ref.destination_id], ref.weight)
            for ref in route.forward.destinations
            if ref.destination_id in self._destinations
        ]
        return (yield from self._selectors.splitting(route.forward, route.id, known))

    def _forward(self, forward: Forward, group: RouteGroup | None, meter_key: str, split: Split) -> Action:
        budget = forward.timeouts.request
        return ForwardAction(
            split,
            self._sweeper,
            request_timeout=None if budget is None else limit_of(budget.seconds),
            rewrite=Rewrite(forward.rewrite) if forward.rewrite is not None else None,
            retrying=self._retrying(forward, group),
            mirror=self._mirror(forward, meter_key),
            grpc_timeout_cap=grpc_timeout_cap(forward),
        )

    def _retrying(self, forward: Forward, group: RouteGroup | None) -> RetrySettings | None:
        """What there is beside one attempt without a number; None for nothing."""
        numbered = group is not None and group.include_attempt_count
        policy = retry_policy(forward.retry, group.retry_default if group is not None else None)
        if policy is None and not numbered:
            return None
        budgets = {
            ref.destination_id: self._registry.retry_budget(ref.destination_id)
            for ref in forward.destinations
            if ref.destination_id in self._destinations
        }
        return RetrySettings(policy or NO_RETRIES, budgets, self._random.random, numbered=numbered)

    def _mirror(self, forward: Forward, meter_key: str) -> Mirror | None:
        mirror = forward.mirror
        destination = None if mirror is None else self._destinations.get(mirror.destination_id)
        if mirror is None or destination is None:
            return None
        return Mirror(
            destination,
            mirror.percentage,
            route_key=meter_key,
            chance=self._random.random,
            copies=self._registry.copies,
        )


async def _in_slices(steps: Iterator[None]) -> None:
    """Take all *steps*, with requests being served between slices of them."""
    deadline = perf_counter() + SLICE
    for _ in steps:
        if perf_counter() >= deadline:
            await asyncio.sleep(0)
            deadline = perf_counter() + SLICE


def answer_at_once(route: Route) -> AnswersAtOnce | None:
    """What answers the requests of *route* by itself; None when they are forwarded."""
    if route.direct_response is not None:
        return DirectResponseAction(route.direct_response)
    if route.redirect is not None:
        return RedirectAction(route.redirect)
    return None


def grpc_timeout_cap(forward: Forward) -> GrpcTimeoutCap | None:
    """What caps the client's ``grpc-timeout``; None when nothing does."""
    limit = forward.max_grpc_timeout
    return GrpcTimeoutCap(limit.seconds) if limit is not None and limit.seconds > 0 else None


def listener_settings(
    entity: ListenerEntity, tls: TlsTermination | None, meters: ListenerMeters | None, tracer: Tracer | None = None
) -> ListenerSettings:
    """What *entity* says to its connections."""
    timeouts = entity.timeouts
    max_fields_size = entity.max_request_headers_kb * 1024
    return ListenerSettings(
        listener_id=entity.id,
        name=entity.name,
        address=entity.bind_address,
        answers=FailureAnswers(entity.proxy_errors.detail),
        timeouts=ListenerTimeouts(
            client_header=limit_of(timeouts.client_header.seconds),
            client_request=limit_of(timeouts.client_request.seconds),
            client_response=limit_of(timeouts.client_response.seconds),
            idle_between_requests=limit_of(timeouts.idle_between_requests.seconds),
        ),
        trusted_proxies=TrustedProxies(entity.trusted_proxies) if entity.trusted_proxies else None,
        proxy_protocol=(
            TrustedProxies(entity.proxy_protocol.trusted_peers) if entity.proxy_protocol.mode == "required" else None
        ),
        server=entity.server_name.encode("latin-1") if entity.server_name else None,
        paths=_PATHS[entity.path_normalization],
        max_fields_size=max_fields_size,
        max_connections=entity.max_connections,
        # Room for the request line and for each field's colon, space and CRLF beside what the limit counts.
        max_head=max(MAX_HEAD, max_fields_size * 2) + MAX_REQUEST_LINE,
        http2=entity.http2,
        tls=tls,
        meters=meters,
        tracer=tracer,
    )
