"""What is concluded from the answers of clients and from what was sent to a failing backend."""

from __future__ import annotations

from bench.faults.findings import Findings, Period, find, quantile
from bench.faults.load import Answer

PERIOD = Period(begin=100.0, end=110.0, backend="b", share=100.0)


def every(seconds: float, start: float, end: float) -> list[float]:
    return [start + number * seconds for number in range(round((end - start) / seconds))]


def answers(start: float, end: float, *, backend: str = "b", status: int = 200, taken: float = 0.001) -> list[Answer]:
    return [Answer(at, taken, status, backend) for at in every(0.01, start, end)]


def found(sent: list[Answer], attempts: list[float] | None = None) -> Findings:
    return find(sent, attempts, PERIOD)


def test_counts_what_was_lost_and_what_took_long_since_the_begin() -> None:
    before, lost = answers(99, 100, status=500), [Answer(101.0, 0.1, 503), Answer(102.0, 10.0, 0)]
    late = [Answer(103.0, 1.5, 200, "a")]
    seen = found([*before, *lost, *late, *answers(110, 111)])
    assert (seen.requests, seen.lost, seen.long) == (103, 2, 2)


def test_quantiles_are_of_the_fault_alone() -> None:
    seen = found([*answers(100, 101, taken=0.5), *answers(110, 112, taken=2.0)])
    assert (seen.p50_ms, seen.p99_ms) == (500.0, 500.0)
    assert quantile([], 0.99) == 0.0


def test_a_backend_that_gets_nothing_is_out_at_once() -> None:
    assert found([], []).out == 0.0


def test_a_backend_is_out_after_the_last_attempt_before_a_quiet_window() -> None:
    seen = found([], [*every(0.01, 100, 102), *every(1.0, 103, 110)])
    assert seen.out is not None
    assert 1.9 <= seen.out <= 2.0
    assert (seen.attempts, seen.expected) == (207, 1000)


def test_a_backend_that_gets_its_share_to_the_end_is_never_out() -> None:
    assert found([], every(0.01, 100, 110)).out is None


def test_without_a_tap_nobody_knows_what_was_sent() -> None:
    seen = found([])
    assert seen.attempts is None
    assert seen.out is None


def test_a_backend_is_back_when_it_serves_half_of_its_share_again() -> None:
    others = answers(110, 120, backend="a")
    trickle = [Answer(at, 0.001, 200, "b") for at in every(0.2, 110, 113)]
    seen = found([*others, *trickle, *answers(113, 115)])
    assert seen.back is not None
    assert 2.0 < seen.back <= 3.0


def test_a_backend_is_not_back_that_answers_with_failures_or_too_rarely() -> None:
    assert found(answers(110, 115, status=500)).back is None
    assert found([Answer(at, 0.001, 200, "b") for at in every(0.1, 110, 115)]).back is None
