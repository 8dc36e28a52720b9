"""When a process that died is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.restart import RestartPace


def pace() -> RestartPace:
    return RestartPace(long_life=5.0, first_delay=0.1, max_delay=1.0)


def test_one_death_is_forgiven_and_more_in_a_row_wait_ever_longer() -> None:
    subject = pace()
    assert [subject.delay_after(1.0) for _ in range(7)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_long_life_clears_the_account() -> None:
    subject = pace()
    for _ in range(5):
        subject.delay_after(0.0)
    assert subject.delay_after(5.0) == 0.0
    assert subject.delay_after(0.0) == 0.0
    assert subject.delay_after(0.0) == 0.1


@given(st.lists(st.floats(0, 10), max_size=200))
def test_the_delay_is_never_more_than_the_most(lives: list[float]) -> None:
    subject = pace()
    assert all(0.0 <= subject.delay_after(lived) <= 1.0 for lived in lives)


def test_thousands_of_deaths_do_not_overflow() -> None:
    subject = pace()
    assert [subject.delay_after(0.0) for _ in range(5000)][-1] == 1.0
