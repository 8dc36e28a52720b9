"""The health of an endpoint by its probes, against a reading of all results from the beginning."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.health import EndpointHealth, Thresholds, first_probe_at, next_probe_at

CHANCE = st.floats(0, 1, exclude_max=True)
INTERVALS = st.floats(0.001, 86400)


def report(health: EndpointHealth, success: bool, thresholds: Thresholds, at: int = 0) -> bool:
    return health.succeeded(at, thresholds) if success else health.failed(at, thresholds, f"failure {at}")


def states(results: list[bool], thresholds: Thresholds) -> list[bool]:
    """Healthy or not after each result: the last run of equal results that was long enough to say so decides."""
    healthy, found = True, []
    for number in range(1, len(results) + 1):
        last = results[number - 1]
        run = len(list(itertools.takewhile(lambda result: result == last, reversed(results[:number]))))  # noqa: B023
        if run >= (thresholds.healthy if last else thresholds.unhealthy):
            healthy = last
        found.append(healthy)
    return found


def test_an_endpoint_is_healthy_before_it_was_probed() -> None:
    health = EndpointHealth()
    assert (health.is_healthy, health.since, health.probed_at, health.reason, health.cause) == (
        True,
        None,
        None,
        "",
        "",
    )


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_only_so_many_results_in_a_row_change_it(results: list[bool], unhealthy: int, healthy: int) -> None:
    thresholds = Thresholds(unhealthy, healthy)
    health = EndpointHealth()
    expected = states(results, thresholds)
    since = 1
    for number, (result, state) in enumerate(zip(results, expected, strict=True), 1):
        before = health.is_healthy
        changed = report(health, result, thresholds, number)
        assert health.is_healthy is state
        assert changed is (before is not state)
        if changed:
            since = number
        assert health.is_failing is not result
        assert (health.probed_at, health.since) == (number, since)
        failures = [each for each, success in enumerate(results[:number], 1) if not success]
        assert health.reason == (f"failure {failures[-1]}" if failures else "")
        assert health.cause == ("" if state else f"failure {since}")


def test_thresholds_that_have_changed_hold_from_the_next_result_on() -> None:
    health = EndpointHealth()
    for at in range(3):
        assert not health.failed(at, Thresholds(5, 2), "status 503")
    assert health.failed(3, Thresholds(2, 2), "status 503")


@given(st.floats(0, 1e9), INTERVALS, CHANCE)
def test_first_probes_are_spread_over_a_second_and_later_ones_over_a_fifth_of_the_interval(
    now: float, interval: float, chance: float
) -> None:
    slack = 1e-6
    assert now <= first_probe_at(now, interval, chance) <= now + min(1.0, interval) + slack
    assert now + 0.9 * interval - slack <= next_probe_at(now, interval, chance) <= now + 1.1 * interval + slack


def test_chance_reaches_both_ends() -> None:
    assert first_probe_at(10.0, 5.0, 0.0) == 10.0
    assert first_probe_at(10.0, 5.0, 0.5) == 10.5
    assert next_probe_at(10.0, 10.0, 0.0) == 19.0
    assert next_probe_at(10.0, 10.0, 0.5) == 20.0
