"""The forward action: proxying to destinations."""

from typing import ClassVar, Self

from pydantic import model_validator

from vrata.model.balancing import DestinationBalancing
from vrata.model.duration import Duration
from vrata.model.errors import Problem, broken
from vrata.model.number import U32, Percentage
from vrata.model.part import ListOf, Part
from vrata.model.retry import Retry
from vrata.model.rewrite import Rewrite
from vrata.model.text import NonEmpty

_WEIGHTS = "destination weights must sum to 100 when multiple destinations are defined"


class DestinationRef(Part):
    """A destination that a route forwards to, and its share."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"weight"})

    destination_id: NonEmpty
    """ID of the destination."""
    weight: U32 = 0
    """Share of the requests in percent; of no effect for a single destination."""


class ForwardTimeouts(Part):
    """Limits of a route, stronger than those of its destination."""

    request: Duration | None = None
    """The whole request, retries included; absent = the destination's, `0s` = no limit."""


class Mirror(Part):
    """Copies of requests to another destination, whose answers are dropped. Bodies over 1 MiB are not copied."""

    destination_id: NonEmpty
    """ID of the destination that gets the copies; one that does not exist gets none."""
    percentage: Percentage = 100
    """Share of the requests that are copied; 0 is the same as absent, all of them."""


class Forward(Part):
    """Where and how requests are forwarded."""

    destinations: ListOf[DestinationRef] = ()
    """Destinations, at least one; the weights of several sum to 100."""
    destination_balancing: DestinationBalancing = DestinationBalancing()
    """Which destination takes a request."""
    timeouts: ForwardTimeouts = ForwardTimeouts()
    """Limits in time."""
    retry: Retry | None = None
    """Retries; absent = the group's default."""
    rewrite: Rewrite | None = None
    """Changes of path and host."""
    mirror: Mirror | None = None
    """Copies of requests."""
    max_grpc_timeout: Duration | None = None
    """Upper limit of the client's `grpc-timeout`: a greater value is replaced; absent or `0s` = none."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.destinations:
            raise broken(Problem("destinations", "must have at least one entry"))
        if len(self.destinations) > 1 and sum(ref.weight for ref in self.destinations) != 100:
            raise broken(Problem("", _WEIGHTS))
        return self
