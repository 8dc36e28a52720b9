from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.balancing import chi_square, chi_square_bound
from vrata.policy.balancing.least_request import least_request_cost
from vrata.policy.balancing.power_of_choices import PowerOfChoices, cheapest

PICKS = 100_000


def counts(choice: PowerOfChoices, size: int, cost: list[float]) -> list[int]:
    random = Random(11)
    seen = Counter(choice.pick(random.random, cost.__getitem__) for _ in range(PICKS))
    return [seen[index] for index in range(size)]


@pytest.mark.parametrize("choices", [1, 2, 3, 7, 8, 100])
def test_equally_busy_ones_are_equally_likely(choices: int) -> None:
    assert chi_square(counts(PowerOfChoices([1] * 8, choices), 8, [0.0] * 8), [1] * 8) < chi_square_bound(8)


@pytest.mark.parametrize("choices", [1, 2, 5])
def test_equally_busy_ones_follow_their_weights(choices: int) -> None:
    weights = [1, 2, 3, 10]
    assert chi_square(counts(PowerOfChoices(weights, choices), 4, [0.0] * 4), weights) < chi_square_bound(4)


@pytest.mark.parametrize("choices", [2, 3, 5])
def test_the_busiest_is_taken_only_when_nobody_else_was_drawn(choices: int) -> None:
    seen = counts(PowerOfChoices([1] * 5, choices), 5, [0.0, 1.0, 2.0, 3.0, 4.0])
    assert seen[5 - choices + 1 :] == [0] * (choices - 1)  # distinct draws: the most costly never win
    assert seen == sorted(seen, reverse=True)


def test_all_choices_find_the_least_busy_one() -> None:
    assert counts(PowerOfChoices([1] * 5, 5), 5, [3.0, 1.0, 2.0, 9.0, 4.0]) == [0, PICKS, 0, 0, 0]


def test_few_candidates_cost_no_chance() -> None:
    def never() -> float:
        raise AssertionError("no number was to be drawn")

    assert PowerOfChoices([], 2).pick(never, lambda _: 0.0) == -1
    assert PowerOfChoices([5], 2).pick(never, lambda _: 0.0) == 0


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), min_size=1, max_size=12),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_every_pick_is_a_candidate(candidates: list[tuple[int, int]], choices: int, random: Random) -> None:
    weights = [weight for weight, _ in candidates]
    choice = PowerOfChoices(weights, choices)
    index = choice.pick(random.random, lambda at: least_request_cost(candidates[at][1], weights[at]))
    assert 0 <= index < len(candidates)


@given(st.lists(st.integers(0, 5), max_size=12), st.randoms(use_true_random=False))
def test_cheapest_is_of_the_lowest_cost(costs: list[int], random: Random) -> None:
    index = cheapest(range(len(costs)), random.random, lambda at: float(costs[at]))
    assert index == -1 if not costs else costs[index] == min(costs)


def test_weights_divide_the_load() -> None:
    assert least_request_cost(4, 2) == least_request_cost(2, 1)
    assert least_request_cost(0, 9) == 0


def test_two_choices_keep_queues_shorter_than_one() -> None:
    longest = []
    for choices in (1, 2):
        random, queues = Random(5), [0] * 100
        choice = PowerOfChoices([1] * 100, choices)
        for _ in range(10_000):
            queues[choice.pick(random.random, lambda at: queues[at])] += 1  # noqa: B023 - used at once
        longest.append(max(queues))
    one, two = longest
    assert one > 120
    assert two <= 104
