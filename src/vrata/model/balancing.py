"""Balancing settings: level 1 picks a route's destination, level 2 an endpoint of that destination."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from vrata.model.duration import Duration
from vrata.model.errors import Problem, broken
from vrata.model.number import U64, Within, is_prime
from vrata.model.part import ListOf, Part
from vrata.model.text import CookieName, HeaderName

LARGEST_MAGLEV_TABLE = 5_000_011
"""Slots. Every worker holds the table of every such destination; Envoy has the same limit."""

LARGEST_RING = 8_388_608
"""Virtual nodes; a limit for the same reason."""

RingNodes = Annotated[int, Within(0, LARGEST_RING)]

DESTINATION_COOKIE = "_vrata_destination_pin"
ENDPOINT_COOKIE = "_vrata_endpoint_pin"
_COOKIE_TTL = Duration("1h")


def _a_second_or_more(ttl: Duration) -> Duration:
    # RFC 6265 §5.2.2: Max-Age counts whole seconds, and 0 takes the cookie away at once.
    if ttl.seconds < 1:
        raise ValueError(f'must be at least 1s, got "{ttl}"')
    return ttl


CookieTtl = Annotated[Duration, AfterValidator(_a_second_or_more)]
"""How long clients keep a cookie."""


class DestinationCookie(Part):
    """Session cookie that keeps a client at a destination."""

    name: CookieName = DESTINATION_COOKIE
    """Name of the cookie."""
    ttl: CookieTtl = _COOKIE_TTL
    """How long clients keep it, at least a second."""


class EndpointCookie(Part):
    """Session cookie that keeps a client at an endpoint."""

    name: CookieName = ENDPOINT_COOKIE
    """Name of the cookie."""
    ttl: CookieTtl = _COOKIE_TTL
    """How long clients keep it, at least a second."""


class HashCookie(EndpointCookie):
    """A cookie that is hashed, and created where it is missing."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"name"})


class HashHeader(Part):
    """A request header that is hashed."""

    name: HeaderName
    """Name of the header."""


class HashSourceIp(Part):
    """The client's address, hashed."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"enabled"})

    enabled: bool = False
    """Whether the address counts."""


class HashPolicy(Part):
    """One source of the hash key; exactly one of the members is present."""

    header: HashHeader | None = None
    """Hash a request header."""
    cookie: HashCookie | None = None
    """Hash a cookie."""
    source_ip: HashSourceIp | None = Field(default=None, alias="sourceIP")
    """Hash the client's address."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(source is not None for source in (self.header, self.cookie, self.source_ip)) != 1:
            raise broken(Problem(".", "must have exactly one of header, cookie and sourceIP"))
        return self


class RingSize(Part):
    """Number of virtual nodes on a hash ring."""

    min: RingNodes = 1024
    """Virtual nodes in total, shared out by weight; each endpoint has at least one."""
    max: U64 = LARGEST_RING
    """Upper limit of them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max < self.min:
            at = "max" if self.states("max") else "min"
            raise broken(Problem(at, f"max must not be less than min, got min {self.min} and max {self.max}"))
        return self


class RingHash(Part):
    """Settings of RING_HASH."""

    ring_size: RingSize = RingSize()
    """Virtual nodes."""
    hash_policy: ListOf[HashPolicy] = ()
    """Sources of the hash key, the first that yields one wins; empty = the client's address."""


def _check_table_size(size: int) -> int:
    if size > LARGEST_MAGLEV_TABLE or not is_prime(size):
        raise ValueError(f"must be a prime number from 2 to {LARGEST_MAGLEV_TABLE}, got {size}")
    return size


class Maglev(Part):
    """Settings of MAGLEV."""

    table_size: Annotated[U64, AfterValidator(_check_table_size)] = 65_537
    """Slots of the lookup table, a prime number."""
    hash_policy: ListOf[HashPolicy] = ()
    """Sources of the hash key, the first that yields one wins; empty = the client's address."""


class LeastRequest(Part):
    """Settings of LEAST_REQUEST."""

    choice_count: Annotated[int, Within(1, 2**32 - 1)] = 2
    """Endpoints drawn at random, of which the least busy one is taken."""


class EndpointSticky(Part):
    """Settings of the endpoint-level STICKY."""

    cookie: EndpointCookie = EndpointCookie()
    """Session cookie."""


class EndpointBalancing(Part):
    """How one of a destination's endpoints is picked."""

    algorithm: Literal["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV", "STICKY"] = (
        "ROUND_ROBIN"
    )
    """Name of the algorithm."""
    ring_hash: RingHash = RingHash()
    """Settings of RING_HASH."""
    maglev: Maglev = Maglev()
    """Settings of MAGLEV."""
    least_request: LeastRequest = LeastRequest()
    """Settings of LEAST_REQUEST."""
    sticky: EndpointSticky = EndpointSticky()
    """Settings of STICKY."""


class WeightedConsistentHash(Part):
    """Settings of WEIGHTED_CONSISTENT_HASH."""

    cookie: DestinationCookie = DestinationCookie()
    """Session cookie."""


class DestinationSticky(Part):
    """Settings of the destination-level STICKY."""

    cookie: DestinationCookie = DestinationCookie()
    """Session cookie."""


class DestinationBalancing(Part):
    """How one of a route's destinations is picked."""

    algorithm: Literal["WEIGHTED_RANDOM", "WEIGHTED_CONSISTENT_HASH", "STICKY"] = "WEIGHTED_RANDOM"
    """Name of the algorithm."""
    weighted_consistent_hash: WeightedConsistentHash = WeightedConsistentHash()
    """Settings of WEIGHTED_CONSISTENT_HASH."""
    sticky: DestinationSticky = DestinationSticky()
    """Settings of STICKY."""
