from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.jwt.refresh import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_ASKED,
    PERIOD,
    SHORTEST_INTERVAL,
    SPREAD,
    START_SPREAD,
    RefreshSchedule,
)


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
    for at, first in enumerate(asked):
        for count, last in enumerate(asked[at:], 1):
            assert count <= MOST_ASKED + (last - first) / SHORTEST_INTERVAL + 1e-6
    assert len(asked) >= min(len(pauses), MOST_ASKED)


def test_a_few_in_a_row_and_then_one_at_a_time() -> None:
    schedule = RefreshSchedule(lambda: 0.0)
    assert [schedule.may_ask(1000.0) for _ in range(MOST_ASKED + 1)] == [True] * MOST_ASKED + [False]
    assert not schedule.may_ask(1000.0 + SHORTEST_INTERVAL - 0.001)
    assert [schedule.may_ask(1000.0 + SHORTEST_INTERVAL) for _ in range(2)] == [True, False]
    assert [schedule.may_ask(2000.0) for _ in range(MOST_ASKED + 1)] == [True] * MOST_ASKED + [False]


def test_workers_begin_at_different_times() -> None:
    assert RefreshSchedule(lambda: 0.0).start(1000.0) == 1000.0
    assert RefreshSchedule(lambda: 0.5).start(1000.0) == 1000.0 + START_SPREAD / 2
