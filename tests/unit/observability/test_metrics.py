"""Histograms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.observability.metrics import Histogram

BOUNDS = (0.1, 0.5, 2.0)


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(-1.0, 0), (0.0, 0), (0.1, 0), (0.1000001, 1), (0.5, 1), (1.0, 2), (2.0, 2), (2.1, 3), (1e9, 3)],
)
def test_a_value_falls_into_the_first_bucket_that_holds_it(value: float, bucket: int) -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(value)
    assert histogram.counts == [1 if index == bucket else 0 for index in range(4)]
    assert histogram.sum == value


def test_without_limits_there_is_one_bucket() -> None:
    histogram = Histogram(())
    histogram.observe(3.0)
    assert (histogram.counts, histogram.count) == ([1], 1)


def test_taking_begins_at_zero_and_adding_restores() -> None:
    histogram, other = Histogram(BOUNDS), Histogram(BOUNDS)
    for value in (0.05, 1.0, 7.0):
        histogram.observe(value)
    other.observe(0.3)
    other.add(*histogram.take())
    assert (histogram.count, histogram.sum) == (0, 0.0)
    assert other.counts == [1, 1, 1, 1]
    assert other.sum == pytest.approx(8.35)
    histogram.observe(0.05)
    assert histogram.counts == [1, 0, 0, 0]


def test_other_buckets_begin_at_zero() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(1.0)
    histogram.reset((5.0,))
    assert (histogram.bounds, histogram.counts, histogram.sum) == ((5.0,), [0, 0], 0.0)
    histogram.observe(5.0)
    assert histogram.counts == [1, 0]


@given(
    st.lists(st.floats(-10, 10), unique=True, max_size=6).map(sorted).map(tuple),
    st.lists(st.floats(-20, 20), max_size=30),
)
def test_every_value_is_counted_where_a_slow_reader_expects_it(bounds: tuple[float, ...], values: list[float]) -> None:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    below = [sum(value <= bound for value in values) for bound in bounds]
    assert [sum(histogram.counts[: index + 1]) for index in range(len(bounds))] == below
    assert histogram.count == len(values)
