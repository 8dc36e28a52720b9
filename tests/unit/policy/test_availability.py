"""Which endpoints take requests, given which of them are available."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.availability import is_panic, usable

AVAILABLE = st.lists(st.booleans(), max_size=40)
THRESHOLD = st.integers(0, 100)


@given(AVAILABLE, THRESHOLD)
def test_all_or_the_available_ones(available: list[bool], threshold: int) -> None:
    good = [index for index, each in enumerate(available) if each]
    panics = bool(available) and len(good) / len(available) < threshold / 100
    assert usable(available, threshold) == (list(range(len(available))) if panics else good)
    assert is_panic(len(good), len(available), threshold) == panics


@given(AVAILABLE)
def test_by_default_verdicts_never_empty_a_small_destination(available: list[bool]) -> None:
    assert bool(usable(available, 1)) == bool(available)


@given(AVAILABLE)
def test_without_a_threshold_they_may(available: list[bool]) -> None:
    assert len(usable(available, 0)) == sum(available)
