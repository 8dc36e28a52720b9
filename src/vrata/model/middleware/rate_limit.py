"""Rate limit: a token bucket for each client, or for each value of what tells clients apart."""

from math import floor
from typing import ClassVar, Final, Literal, Self

from pydantic import model_validator

from vrata.model.errors import Problem, broken
from vrata.model.host import Network
from vrata.model.number import Integer, PrefixLength
from vrata.model.part import ListOf, Part
from vrata.model.text import HeaderName, RequestValue

DEFAULT_RATE = 10.0
LONGEST_FILLING: Final = 10 * 366 * 86400
"""Seconds that a bucket may take to fill: ten years."""
_SHORTEST_INTERVAL: Final = 1e-9
"""Seconds between two tokens."""


class RateLimitKey(Part):
    """What each value of has a bucket of its own: exactly one of these."""

    header: HeaderName = ""
    """Name of a header; its first value counts."""
    claim: str = ""
    """Name of a claim of the token that a `jwt` middleware further out has verified."""
    cel: RequestValue = ""
    """CEL expression over `request` whose value is text, a number or a bool."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        stated = [name for name in ("header", "claim", "cel") if getattr(self, name)]
        if not stated:
            raise broken(Problem(".", "needs one of header, claim and cel"))
        if len(stated) > 1:
            raise broken(*(Problem(name, f"must not be given together with {stated[0]}") for name in stated[1:]))
        return self


class RateLimit(Part):
    """Settings of a `rateLimit` middleware."""

    # Means the default, which is not what it says: it is kept so that a snapshot can warn of it.
    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"requests_per_second"})

    requests_per_second: float = DEFAULT_RATE
    """Refill of a bucket; 0 and less mean the default."""
    burst: Integer = 0
    """Size of a bucket; 0 and less mean the whole part of the rate, at least 1."""
    key: RateLimitKey | None = None
    """What tells clients apart; absent, and for a request without a value: the client's address."""
    trusted_proxies: ListOf[Network] = ()
    """Peers whose X-Forwarded-For is believed; empty = those that the listener trusts."""
    ipv6_prefix_length: PrefixLength = 64
    """Bits of a client's IPv6 address that count, since each client has a whole network of them; 128 = the address."""
    store: Literal["local", "redis"] = "local"
    """Who limits together: the workers of one proxy, or all proxies that use the same Redis."""
    on_store_failure: Literal["local", "allow", "deny"] = "local"
    """What happens to requests while Redis does not answer: each proxy limits by itself, they pass, or get a 503."""
    response_headers: bool = False
    """Tell clients by RateLimit and RateLimit-Policy in every response what they have left."""

    @property
    def rate(self) -> float:
        """Tokens per second that act."""
        return self.requests_per_second if self.requests_per_second > 0 else DEFAULT_RATE

    @property
    def bucket_size(self) -> int:
        """Tokens of a full bucket that act."""
        return self.burst if self.burst > 0 else max(1, floor(self.rate))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bucket_size * max(1 / self.rate, _SHORTEST_INTERVAL) > LONGEST_FILLING:
            member = "burst" if self.burst > 0 else "requestsPerSecond"
            raise broken(Problem(member, "must not make a bucket take more than ten years to fill"))
        return self
