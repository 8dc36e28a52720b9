"""What limits are asked of, whoever keeps the buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from vrata.policy.token_bucket import TokenBucket

Answer: TypeAlias = Callable[[int | None], None]
"""Gets the nanoseconds until the bucket is full again, negative if there was no token; None: nobody can say."""


class LocalLimit(Protocol):
    """The buckets that the workers of this proxy share."""

    def take(self, value: bytes, now: int) -> int:
        """Take a token of the bucket for *value*, at the nanosecond *now* of the system's monotonic clock.

        Returns when it is full again, and that negative if there was no token.
        """
        ...


class LocalLimits(Protocol):
    """Where those are found."""

    def limit(self, name: str, bucket: TokenBucket) -> LocalLimit:
        """The limit called *name*: a bucket like that for each value."""
        ...


class Asked(Protocol):
    """A question that is under way."""

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        ...


class FleetLimit(Protocol):
    """The buckets that all proxies share."""

    @property
    def is_out(self) -> bool:
        """Whether it would be of no use to ask."""
        ...

    def take(self, value: bytes, answer: Answer) -> Asked:
        """Take a token of the bucket for *value*; *answer* is called later, within a tenth of a second."""
        ...


class FleetLimits(Protocol):
    """Where those are found."""

    def limit(self, name: str, bucket: TokenBucket) -> FleetLimit:
        """The limit called *name*: a bucket like that for each value."""
        ...
