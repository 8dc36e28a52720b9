"""The table of workloads and what can be chosen from it."""

from __future__ import annotations

import pytest

from bench.comparison.goals import GOALS
from bench.comparison.workload import WORKLOADS, Batch, Site, Workload, batches, select


def test_names_are_unique() -> None:
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


def test_goals_are_about_workloads_of_the_table() -> None:
    names = {workload.name for workload in WORKLOADS}
    assert {goal.workload for goal in GOALS} | {goal.baseline for goal in GOALS if goal.baseline} <= names


def test_the_quick_form_is_a_part_of_the_whole() -> None:
    assert select() == WORKLOADS
    assert 0 < len(select(quick=True)) < len(WORKLOADS)
    assert all(workload.quick for workload in select(quick=True))


def test_named_workloads_come_in_the_order_of_the_table() -> None:
    assert [workload.name for workload in select(["get-1mb", "get-128b"])] == ["get-128b", "get-1mb"]
    assert [workload.name for workload in select(["get-1mb"], quick=True)] == ["get-1mb"]


def test_an_unknown_name_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"get-2gb; there are: get-128b"):
        select(["get-2gb"])


def test_paths_are_below_the_prefixes_of_the_site() -> None:
    assert Workload("w", "").paths() == ["/bytes/128"]
    assert Workload("w", "", site=Site(routes=2)).paths() == ["/service-0/bytes/128", "/service-1/bytes/128"]


def test_workloads_share_proxies_where_the_site_is_the_same_and_not_fresh() -> None:
    first, second = Workload("first", ""), Workload("second", "")
    routes = Workload("routes", "", site=Site(routes=10))
    idle, other_idle = (Workload(name, "", site=Site(fresh=True)) for name in ("idle", "other-idle"))
    assert batches([first, idle, routes, second, other_idle]) == [
        Batch(((first,), (second,))),
        Batch(((idle,),)),
        Batch(((routes,),)),
        Batch(((other_idle,),)),
    ]


def test_a_workload_takes_turns_with_the_one_it_is_compared_with() -> None:
    first, second = Workload("first", ""), Workload("second", "")
    routes = Workload("routes", "", site=Site(routes=10), beside="first")
    (batch,) = batches([first, second, routes])
    assert batch == Batch(((first, routes), (second,)))
    assert batch.workloads == (first, routes, second)
    assert batch.sites == (first.site, routes.site)


def test_without_the_other_it_is_measured_alone() -> None:
    routes = Workload("routes", "", beside="first")
    assert batches([routes]) == [Batch(((routes,),))]


def test_goals_against_a_baseline_are_measured_beside_it() -> None:
    beside = {workload.name: workload.beside for workload in WORKLOADS}
    assert all(beside[goal.workload] == goal.baseline for goal in GOALS if goal.baseline)
