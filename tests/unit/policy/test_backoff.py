"""Pauses that double."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.backoff import doubled

SECONDS = st.floats(1e-9, 1e6)


def test_each_is_twice_the_one_before_until_the_longest() -> None:
    assert [doubled(0.1, 1.0, number) for number in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_longest_one_that_is_shorter_than_the_first_holds_at_once() -> None:
    assert doubled(5.0, 1.0, 0) == 1.0


@given(SECONDS, SECONDS, st.integers(0, 1 << 32))
def test_none_is_longer_than_the_longest_or_shorter_than_the_one_before(
    first: float, longest: float, number: int
) -> None:
    assert 0 < doubled(first, longest, number) <= doubled(first, longest, number + 1) <= longest
