"""Pools and balancing positions by identity: a plan asks for what it needs, a swap retires what it no longer does."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.rotation import Rotation
from vrata.proxy.upstream.pool import EndpointPool

PoolKey = tuple[str, str, int]
"""Destination ID, host, port: two destinations never share connections, since their protection differs."""


class RuntimeRegistry:
    """Lives as long as the worker."""

    def __init__(self, sweeper: DeadlineSweeper, tasks: TaskSupervisor) -> None:
        self._sweeper = sweeper
        self._tasks = tasks
        self._pools: dict[PoolKey, EndpointPool] = {}
        self._rotations: dict[str, Rotation] = {}

    def __repr__(self) -> str:
        return f"<RuntimeRegistry {len(self._pools)} pools>"

    def pool(self, destination_id: str, host: str, port: int) -> EndpointPool:
        """The pool of this endpoint; the same object for as long as some plan uses it."""
        key = (destination_id, host, port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = EndpointPool(host, port, self._sweeper, self._tasks)
        return pool

    def rotation(self, destination_id: str) -> Rotation:
        """The round-robin position of this destination."""
        return self._rotations.setdefault(destination_id, Rotation())

    def keep_only(self, pools: AbstractSet[PoolKey], destinations: AbstractSet[str]) -> None:
        """A new plan is in force: what it does not name takes no new work and goes when its last exchange has ended."""
        for key in self._pools.keys() - pools:
            self._pools.pop(key).retire()
        for destination_id in self._rotations.keys() - destinations:
            del self._rotations[destination_id]
