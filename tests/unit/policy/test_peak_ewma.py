from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.balancing.peak_ewma import DECAY, FAILED, UNKNOWN, PeakEwma, peak_ewma_cost

seconds = st.floats(0.0001, 60)


def test_who_was_never_observed_is_tried() -> None:
    assert PeakEwma().expected(1000.0) == UNKNOWN


def test_a_peak_counts_at_once_and_is_forgotten_slowly() -> None:
    latency = PeakEwma()
    latency.observe(0.010, 0.0)
    latency.observe(0.500, 1.0)
    assert latency.expected(1.0) == 0.5
    latency.observe(0.010, 1.0 + DECAY)
    assert latency.expected(1.0 + DECAY) == pytest.approx(0.010 + 0.490 / math.e)


def test_without_observations_it_fades() -> None:
    latency = PeakEwma()
    latency.observe(2.0, 5.0)
    assert latency.expected(5.0 + DECAY) == pytest.approx(2.0 / math.e)
    assert latency.expected(5.0 + 100 * DECAY) == UNKNOWN


def test_a_failure_is_never_fast() -> None:
    latency = PeakEwma()
    latency.failed(0.0001, 0.0)
    assert latency.expected(0.0) == FAILED
    latency.failed(5.0, 0.0)
    assert latency.expected(0.0) == 5.0


def test_who_gave_up_early_says_nothing() -> None:
    latency = PeakEwma()
    latency.observe(1.0, 0.0)
    latency.waited(0.5, 0.0)
    assert latency.expected(0.0) == 1.0
    latency.waited(3.0, 0.0)
    assert latency.expected(0.0) == 3.0


@given(st.lists(st.tuples(seconds, st.floats(0, 100)), min_size=1, max_size=20))
def test_it_stays_between_the_least_and_the_most(observed: list[tuple[float, float]]) -> None:
    latency, now = PeakEwma(), 0.0
    for taken, pause in observed:
        now += pause
        latency.observe(taken, now)
        times = [each for each, _ in observed]
        assert min(*times, UNKNOWN) <= latency.expected(now) <= max(*times, UNKNOWN) * (1 + 1e-9)


def test_cost_grows_with_time_and_queue_and_falls_with_weight() -> None:
    assert peak_ewma_cost(0.2, 0, 1) == 0.2
    assert peak_ewma_cost(0.1, 1, 1) == pytest.approx(0.2)
    assert peak_ewma_cost(0.1, 4, 4) == pytest.approx(0.2)
    assert peak_ewma_cost(0.1, 0, 4) == 0.1  # who is idle gets its share by being drawn more often
