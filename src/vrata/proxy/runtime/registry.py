"""Pools and balancing positions by identity: a plan asks for what it needs, a swap retires what it no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from vrata.model.host import host_and_port
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.rotation import Rotation
from vrata.policy.retry_budget import RetryBudget
from vrata.proxy.action.mirror import Copies
from vrata.proxy.metrics.registry import MetricsRegistry
from vrata.proxy.runtime.shared_counts import SharedCount, SharedCounts
from vrata.proxy.upstream.places import Places
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
        self._retry_budgets: dict[str, RetryBudget] = {}
        self.metrics = MetricsRegistry()
        self.copies = Copies(sweeper)
        self._counts: SharedCounts | None = None

    def __repr__(self) -> str:
        return f"<RuntimeRegistry {len(self._pools)} pools>"

    def share(self, counts: SharedCounts) -> None:
        """Count in *counts*, together with the other workers of the proxy; to be said before anything is counted."""
        assert self._counts is None, "something was counted already"
        self._counts = counts

    def count(self, name: str) -> SharedCount:
        """The number of that name; this worker's own where nobody has said with whom to share it."""
        if self._counts is None:
            self._counts = SharedCounts.private()
        return self._counts.count(name)

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

    def retry_budget(self, destination_id: str) -> RetryBudget:
        """What counts the requests to this destination that try again."""
        return self._retry_budgets.setdefault(destination_id, RetryBudget())

    def keep_only(self, pools: Mapping[PoolKey, int], destinations: AbstractSet[str]) -> None:
        """A new plan is in force: what it does not name takes no new work and goes when its last exchange has ended.

        *pools* gives the limit of connections to each endpoint, 0 for none.
        """
        for key in self._pools.keys() - pools.keys():
            self._pools.pop(key).retire()
        for key, limit in pools.items():
            self._limit(key, limit)
        for destination_id in self._rotations.keys() - destinations:
            del self._rotations[destination_id]
        for destination_id in self._retry_budgets.keys() - destinations:
            del self._retry_budgets[destination_id]

    def _limit(self, key: PoolKey, limit: int) -> None:
        pool = self._pools[key]
        if pool.places is None:
            if limit:
                destination_id, host, port = key
                pool.limit(Places(limit, f"{destination_id} {host_and_port(host, port)}", self.count))
        elif not limit:
            pool.unlimit()
        elif limit != pool.places.limit:
            pool.places.limit = limit
            pool.look_around()
