"""Rate limit: a token bucket for each client address."""

from math import floor

from vrata.model.host import Network
from vrata.model.number import Integer
from vrata.model.part import ListOf, Part

DEFAULT_RATE = 10.0


class RateLimit(Part):
    """Settings of a `rateLimit` middleware."""

    requests_per_second: float = DEFAULT_RATE
    """Refill of a bucket; 0 and less mean the default."""
    burst: Integer = 0
    """Size of a bucket; 0 and less mean the whole part of the rate, at least 1."""
    trusted_proxies: ListOf[Network] = ()
    """Peers whose X-Forwarded-For is believed."""

    @property
    def rate(self) -> float:
        """Tokens per second that act."""
        return self.requests_per_second if self.requests_per_second > 0 else DEFAULT_RATE

    @property
    def bucket_size(self) -> int:
        """Tokens of a full bucket that act."""
        return self.burst if self.burst > 0 else max(1, floor(self.rate))
