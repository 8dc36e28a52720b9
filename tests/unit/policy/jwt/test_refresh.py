from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.jwt.refresh import FIRST_PAUSE, LONGEST_PAUSE, PERIOD, SHORTEST_INTERVAL, SPREAD, RefreshSchedule


def test_periods_are_shorter_by_chance() -> None:
    assert RefreshSchedule(lambda: 0.0).after_success(1000.0) == 1000.0 + PERIOD
    assert RefreshSchedule(lambda: 0.5).after_success(1000.0) == 1000.0 + PERIOD * (1 - SPREAD / 2)


def test_pauses_double_until_a_retrieval_succeeds() -> None:
    schedule = RefreshSchedule(lambda: 0.0)
    pauses = [schedule.after_failure(0.0) for _ in range(9)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    schedule.after_success(0.0)
    assert schedule.after_failure(0.0) == FIRST_PAUSE


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 100))
def test_the_next_try_is_never_at_once_and_never_far(chance: float, failures: int) -> None:
    schedule = RefreshSchedule(lambda: chance)
    for _ in range(failures):
        schedule.after_failure(0.0)
    assert FIRST_PAUSE / 2 <= schedule.after_failure(0.0) <= LONGEST_PAUSE


@given(st.lists(st.floats(0, 3), max_size=200))
def test_tokens_ask_rarely(pauses: list[float]) -> None:
    schedule = RefreshSchedule(lambda: 0.0)
    now, asked = 1000.0, []
    for pause in pauses:
        now += pause
        if schedule.may_ask(now):
            asked.append(now)
    assert all(later - earlier >= SHORTEST_INTERVAL for earlier, later in pairwise(asked))
    assert len(asked) <= 1 + (now - 1000.0) / SHORTEST_INTERVAL
    assert not pauses or len(asked) >= 1
