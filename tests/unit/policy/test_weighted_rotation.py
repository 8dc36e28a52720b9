from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.balancing.weighted_rotation import WeightedRotation

weight_lists = st.lists(st.integers(1, 20), min_size=1, max_size=10)


@given(weight_lists, st.integers(1, 5), st.randoms(use_true_random=False))
def test_turns_follow_the_weights(weights: list[int], rounds: int, random: Random) -> None:
    rotation = WeightedRotation(weights, random.random)
    seen = Counter(rotation.next() for _ in range(sum(weights) * rounds))
    assert all(abs(seen[index] - weight * rounds) <= 1 for index, weight in enumerate(weights))


@given(st.integers(1, 20), st.integers(0, 1000))
def test_equal_weights_are_a_plain_rotation(count: int, seed: int) -> None:
    rotation = WeightedRotation([4] * count, Random(seed).random)
    first = [rotation.next() for _ in range(count)]
    assert sorted(first) == list(range(count))
    for _ in range(5):
        assert [rotation.next() for _ in range(count)] == first


def test_a_heavy_one_does_not_take_all_its_turns_at_once() -> None:
    rotation = WeightedRotation([5, 1, 1], Random(1).random)
    turns = [rotation.next() for _ in range(70)]
    assert all(len(set(turns[at : at + 5])) > 1 for at in range(60))


def test_where_it_begins_is_chance() -> None:
    begins = Counter(WeightedRotation([1, 1, 1, 1], Random(seed).random).next() for seed in range(200))
    assert min(begins[index] for index in range(4)) > 25
