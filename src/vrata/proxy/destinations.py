"""From destination entities to what a plan forwards to, with the endpoints that they have at the moment."""

from __future__ import annotations

from collections.abc import Generator

from vrata.model import Destination as DestinationEntity
from vrata.model.destination import DestinationOptions
from vrata.model.host import host_and_port
from vrata.net import upstream_tls
from vrata.net.deadlines import NEVER
from vrata.net.upstream_tls import UpstreamTls
from vrata.proxy.action.forward import PooledDestination, PooledEndpoint
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.destination.destination import Destination
from vrata.proxy.destination.protection import Protection, ProtectionSettings
from vrata.proxy.endpoint.selection import Endpoint
from vrata.proxy.members import members
from vrata.proxy.runtime.registry import PoolKey, RuntimeRegistry, Speech, Uses
from vrata.proxy.selectors import Selector, SelectorFactory
from vrata.proxy.upstream.queue import ConnectionLimits


class DestinationFactory:
    """Makes the destinations of one plan, and collects what they need of the runtime."""

    def __init__(self, registry: RuntimeRegistry, selectors: SelectorFactory) -> None:
        self._registry = registry
        self._selectors = selectors
        self._pools: dict[PoolKey, ConnectionLimits] = {}
        self._destinations: set[str] = set()
        self._protected: set[str] = set()
        self._judged: set[str] = set()
        self._speech: dict[str, Speech] = {}
        self.endpoints: set[tuple[str, str]] = set()
        """Destination ID and ``host:port`` of each."""

    @property
    def uses(self) -> Uses:
        """What all of them together need."""
        return Uses(
            self._pools,
            frozenset(self._destinations),
            frozenset(self._protected),
            frozenset(self._judged),
            self._speech,
        )

    def making(self, entity: DestinationEntity) -> Generator[None, None, PooledDestination]:
        """Make the destination of *entity*. Raises :class:`~vrata.net.tls_material.TlsMaterialError`."""
        self._settle_speech(entity)
        selector = yield from self.populating(entity)
        timeouts = entity.options.timeouts
        return Destination(
            destination_id=entity.id,
            authority=host_and_port(entity.host, entity.port).encode("ascii"),
            host=entity.host,
            selector=selector,
            request_timeout=limit_of(timeouts.request.seconds),
            timeouts=UpstreamTimeouts(
                connect=limit_of(timeouts.connect.seconds),
                dual_stack_fallback=timeouts.dual_stack_fallback.seconds,
                tls_handshake=limit_of(timeouts.tls_handshake.seconds),
                response_header=limit_of(timeouts.response_header.seconds),
                expect_continue=timeouts.expect_continue.seconds,
                idle_connection=limit_of(timeouts.idle_connection.seconds),
            ),
            protection=self._protection(entity),
        )

    def populating(self, entity: DestinationEntity) -> Generator[None, None, Selector]:
        """Make what chooses among the endpoints that *entity* has now."""
        options, registry = entity.options, self._registry
        self._destinations.add(entity.id)
        is_judged = options.outlier_detection is not None
        if is_judged:
            self._judged.add(entity.id)
        if options.circuit_breaker is not None:
            self._protected.add(entity.id)
        limits = connection_limits(options)
        endpoints: list[PooledEndpoint] = []
        for member in members(entity, registry.discovered(entity.id, entity.host, entity.port)):
            yield
            key = (entity.id, member.host, member.port)
            self._pools[key] = limits
            self.endpoints.add((entity.id, member.address))
            streaks = registry.streaks(*key) if is_judged else None
            endpoints.append(Endpoint(member.address, registry.pool(*key), member.weight, streaks))
        selector = yield from self._selectors.selecting(entity, endpoints)
        selector.follow(registry.live_standing(entity.id), options.panic_threshold)
        return selector

    def _settle_speech(self, entity: DestinationEntity) -> None:
        options = entity.options
        tls: UpstreamTls | None = None
        if options.tls.mode != "none":
            stated = options.tls
            if upstream_tls.files_of(stated):
                stated = upstream_tls.with_files_read(stated)
            tls = upstream_tls.upstream_tls(stated, entity.host, http2=options.http2)
        self._speech[entity.id] = Speech(tls, options.http2, options.max_requests_per_connection)

    def _protection(self, entity: DestinationEntity) -> Protection | None:
        breaker = entity.options.circuit_breaker
        if breaker is None:
            return None
        settings = ProtectionSettings(
            max_requests=breaker.max_requests,
            max_retries=breaker.max_retries,
            failure_threshold=breaker.failure_threshold,
            open_time=round(breaker.open_duration.seconds * 1000),
        )
        return self._registry.protection(entity.id, settings)


def connection_limits(options: DestinationOptions) -> ConnectionLimits:
    """How many connections, and requests that wait for one, *options* allow."""
    breaker = options.circuit_breaker
    if breaker is None:
        return ConnectionLimits(per_endpoint=options.max_conns_per_host)
    return ConnectionLimits(options.max_conns_per_host, breaker.max_connections, breaker.max_pending_requests)


def limit_of(seconds: float) -> float:
    """A time limit as the data plane uses it: ``0s`` means none."""
    return seconds if seconds > 0 else NEVER
