"""What outlives plans: pools with the limits of the plan in force, and numbers shared with other workers or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.dataplane import DataPlane
from vrata.proxy.runtime import shared_counts
from vrata.proxy.runtime.registry import NOTHING, RuntimeRegistry, Uses
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.upstream.queue import ConnectionLimits

A, B = ("d", "127.0.0.1", 80), ("d", "::1", 80)


def with_registry(scenario: Callable[[RuntimeRegistry, DeadlineSweeper], Awaitable[None]]) -> None:
    async def run() -> None:
        sweeper = DeadlineSweeper(asyncio.get_running_loop())
        await scenario(RuntimeRegistry(sweeper, TaskSupervisor()), sweeper)
        assert repr(sweeper) == "<DeadlineSweeper 0 watched>"

    asyncio.run(run())


def test_a_plan_in_force_sets_the_limits() -> None:
    async def scenario(registry: RuntimeRegistry, sweeper: DeadlineSweeper) -> None:
        def limits() -> list[int | None]:
            return [None if pool.places is None else pool.places.limit for pool in pools]

        pools = [registry.pool(*A), registry.pool(*B)]
        assert limits() == [None, None]
        registry.keep_only(Uses({A: ConnectionLimits(3), B: ConnectionLimits(0)}, frozenset({"d"})))
        assert limits() == [3, None]
        assert repr(sweeper) == "<DeadlineSweeper 1 watched>"
        # The next plan changes the limits in place.
        places = pools[0].places
        assert [registry.pool(*A), registry.pool(*B)] == pools
        registry.keep_only(Uses({A: ConnectionLimits(5), B: ConnectionLimits(2)}, frozenset({"d"})))
        assert limits() == [5, 2]
        assert pools[0].places is places
        registry.keep_only(Uses({A: ConnectionLimits(0), B: ConnectionLimits(2)}, frozenset({"d"})))
        assert limits() == [None, 2]
        registry.keep_only(NOTHING)

    with_registry(scenario)


def test_the_numbers_of_an_endpoint_that_is_gone_are_given_up() -> None:
    async def scenario(registry: RuntimeRegistry, sweeper: DeadlineSweeper) -> None:
        table = shared_counts.create()
        counts = SharedCounts(table)
        registry.share(counts)
        registry.pool(*A)
        registry.keep_only(Uses({A: ConnectionLimits(3)}, frozenset({"d"})))
        assert repr(counts) != "<SharedCounts lane 0, 0 counts>"
        registry.keep_only(NOTHING)
        assert repr(counts) == "<SharedCounts lane 0, 0 counts>"
        os.close(table)

    with_registry(scenario)


def test_the_retry_budget_of_a_destination_lives_as_long_as_some_plan_names_it() -> None:
    async def scenario(registry: RuntimeRegistry, sweeper: DeadlineSweeper) -> None:
        budget = registry.retry_budget("d")
        assert registry.retry_budget("other") is not budget
        registry.keep_only(Uses({}, frozenset({"d"})))
        assert registry.retry_budget("d") is budget
        registry.keep_only(NOTHING)
        assert registry.retry_budget("d") is not budget

    with_registry(scenario)


def test_numbers_are_shared_with_those_it_was_told_of() -> None:
    async def scenario(registry: RuntimeRegistry, sweeper: DeadlineSweeper) -> None:
        table = shared_counts.create()
        registry.share(SharedCounts(table))
        registry.count("a").add(2)
        assert SharedCounts(table).count("a").total == 2
        os.close(table)

    with_registry(scenario)


def test_a_worker_for_which_there_is_no_lane_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        table = shared_counts.create()
        data_plane = DataPlane(TaskSupervisor())
        with monkeypatch.context() as patch, capture_logs() as entries:
            patch.setattr(shared_counts, "LANES", 0)
            data_plane.share_counts(table)
        assert [entry["event"] for entry in entries] == ["limits hold for this worker alone"]
        data_plane._registry.count("a").add(1)
        assert SharedCounts(table).count("a").total == 0
        await data_plane.drain(0)
        os.close(table)

    asyncio.run(run())
