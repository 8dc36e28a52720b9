from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.balancing.rotation import Rotation
from vrata.policy.balancing.weighted_random import WeightedRandom

PICKS = 100_000


@pytest.mark.parametrize("weights", [[50, 50], [90, 10], [1, 2, 97], [0, 100], [25, 25, 25, 25]])
def test_picks_follow_the_weights(weights: list[int]) -> None:
    random = Random(7)
    picker = WeightedRandom(weights)
    seen = Counter(picker.pick(random.random) for _ in range(PICKS))
    expected = [PICKS * weight / sum(weights) for weight in weights]
    assert all(seen[index] == 0 for index, weight in enumerate(weights) if weight == 0)
    chi_square = sum((seen[i] - e) ** 2 / e for i, e in enumerate(expected) if e)
    # 99.9 % quantile for 3 degrees of freedom; fewer degrees have a smaller one.
    assert chi_square < 16.27


def test_weights_that_are_all_zero_mean_equal_shares() -> None:
    random = Random(7)
    picker = WeightedRandom([0, 0])
    seen = Counter(picker.pick(random.random) for _ in range(1000))
    assert min(seen[0], seen[1]) > 400


def test_no_candidates_is_an_error() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        WeightedRandom([])


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20), st.floats(0, 1, exclude_max=True))
def test_every_random_number_gives_a_candidate_that_may_be_picked(weights: list[int], number: float) -> None:
    index = WeightedRandom(weights).pick(lambda: number)
    assert 0 <= index < len(weights)
    assert weights[index] > 0 or not any(weights)


@given(st.integers(1, 20), st.integers(1, 5))
def test_rotation_visits_every_candidate_equally_often(count: int, rounds: int) -> None:
    rotation = Rotation()
    seen = Counter(rotation.next(count) for _ in range(count * rounds))
    assert seen == dict.fromkeys(range(count), rounds)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=50))
def test_rotation_stays_in_range_when_the_number_of_candidates_changes(counts: list[int]) -> None:
    rotation = Rotation()
    for count in counts:
        assert 0 <= rotation.next(count) < count


def test_shares_are_the_probabilities_of_the_picks() -> None:
    assert WeightedRandom([90, 10, 0]).shares() == [0.9, 0.1, 0.0]
    assert WeightedRandom([0, 0]).shares() == [0.5, 0.5]
