"""How many requests are let through: a token bucket, kept as the one moment at which it is full again.

The bucket holds *burst* tokens, begins full, and gets *rate* tokens in a second; a request takes one, and is refused
where there is none. Instead of the tokens, which would change all the time, one number is remembered, the moment at
which they are all there again: the generic cell rate algorithm, whose theoretical arrival time that is (ITU-T I.371,
annex A). Taking a token moves it one interval into the future; there is one to take while it stays within what a whole
bucket takes to fill. Both forms admit the same requests at the same times.

All times are whole nanoseconds of a clock that never goes back.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Final

SECOND: Final = 1_000_000_000
"""Nanoseconds."""
LONGEST_FILLING: Final = 1 << 60
"""Nanoseconds that a bucket may take to fill: 36 years. The moment then fits in 63 bits."""


class TokenBucket:
    """What is the same for all buckets of one limit. Never changes."""

    __slots__ = ("burst", "capacity", "interval")

    def __init__(self, rate: float, burst: int) -> None:
        """*rate* tokens come in a second, *burst* fit in. Raises :class:`ValueError` for what is no bucket, or takes
        too long to fill.

        The time between two tokens is rounded up to whole nanoseconds: the rate is never exceeded, and for 1000 per
        second at most a millionth lower than it was asked for.
        """
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket needs a rate above 0 and room for a token")
        # As it is written: 0.1 is a tenth, and not the nearest binary fraction.
        self.interval = ceil(SECOND / Fraction(repr(rate)))
        self.burst = burst
        self.capacity = burst * self.interval
        if self.capacity > LONGEST_FILLING:
            raise ValueError("a bucket must not take decades to fill")

    def __repr__(self) -> str:
        return f"<TokenBucket {self.burst} tokens, one in {self.interval} ns>"

    def taken(self, full_at: int, now: int) -> int:
        """When the bucket that is full again at *full_at* is so once a token is taken *now*; 0 if there is none."""
        after = (full_at if full_at > now else now) + self.interval
        return after if after - now <= self.capacity else 0

    def left(self, full_at: int, now: int) -> int:
        """Whole tokens that are in the bucket *now*."""
        missing = full_at - now
        return (self.capacity - missing) // self.interval if missing > 0 else self.burst

    def until_next(self, full_at: int, now: int) -> int:
        """Nanoseconds until there is one token more than now; 0 for a bucket that is full."""
        missing = full_at - now
        return (missing - 1) % self.interval + 1 if missing > 0 else 0


def whole_seconds(nanoseconds: int) -> int:
    """So many seconds, rounded up, as clients are told to wait; at least one."""
    seconds = -(-nanoseconds // SECOND)
    return seconds if seconds > 1 else 1
