"""The bucket that is kept as one moment, beside one that counts its tokens."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vrata.policy.token_bucket import LONGEST_FILLING, SECOND, TokenBucket, whole_seconds

RATES = st.one_of(st.floats(1e-3, 1e6), st.integers(1, 100_000).map(float), st.sampled_from([0.1, 1 / 3, 1e9, 1e12]))
BURSTS = st.integers(1, 50)


class CountedBucket:
    """The same bucket as it is usually described, in exact numbers."""

    def __init__(self, interval: int, burst: int) -> None:
        self.rate = Fraction(1, interval)
        self.burst = burst
        self.tokens = Fraction(burst)
        self.now = 0

    def at(self, now: int) -> Fraction:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.now) * self.rate)
        self.now = now
        return self.tokens

    def take(self, now: int) -> bool:
        if self.at(now) < 1:
            return False
        self.tokens -= 1
        return True


@given(RATES, BURSTS, st.lists(st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 2 * SECOND)), max_size=200))
def test_it_admits_what_a_bucket_of_tokens_does(rate: float, burst: int, pauses: list[int]) -> None:
    subject = TokenBucket(rate, burst)
    counted = CountedBucket(subject.interval, burst)
    now = 12345
    full_at = 0
    for pause in pauses:
        # Some come just as a token does.
        now += pause or subject.until_next(full_at, now)
        assert subject.left(full_at, now) == counted.at(now) // 1
        missing = 1 - counted.at(now) % 1 if counted.at(now) < burst else 0
        assert subject.until_next(full_at, now) == missing / counted.rate
        after = subject.taken(full_at, now)
        assert bool(after) == counted.take(now)
        if after:
            assert after > now
            full_at = after


@given(RATES)
@example(1000.0)
def test_the_rate_is_never_exceeded_and_nearly_reached(rate: float) -> None:
    interval = TokenBucket(rate, 1).interval
    assert interval * Fraction(rate) * (1 + Fraction(1, 2**52)) >= SECOND
    assert (interval - 1) * Fraction(rate) < SECOND * (1 + Fraction(1, 2**52))


@pytest.mark.parametrize(("rate", "interval"), [(10.0, 10**8), (0.1, 10**10), (3.0, 333_333_334), (1e9, 1), (1e300, 1)])
def test_intervals(rate: float, interval: int) -> None:
    subject = TokenBucket(rate, 2)
    assert (subject.interval, subject.capacity) == (interval, 2 * interval)
    assert repr(subject) == f"<TokenBucket 2 tokens, one in {interval} ns>"


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_what_is_no_bucket(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="a rate above 0"):
        TokenBucket(rate, burst)


def test_a_bucket_has_to_fill_in_36_years() -> None:
    longest = LONGEST_FILLING // SECOND
    assert TokenBucket(1.0, longest).capacity <= LONGEST_FILLING < 2**62
    for rate, burst in ((1.0, longest + 1), (5e-324, 1), (1e-10, 1)):
        with pytest.raises(ValueError, match="decades to fill"):
            TokenBucket(rate, burst)


def test_seconds_for_clients_are_whole_and_never_zero() -> None:
    assert [whole_seconds(each) for each in (0, 1, SECOND, SECOND + 1, 5 * SECOND)] == [1, 1, 1, 2, 5]
