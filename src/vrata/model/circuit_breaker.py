"""Circuit breaker settings of a destination."""

from typing import ClassVar

from vrata.model.duration import PositiveDuration
from vrata.model.number import U32
from vrata.model.part import Part


class CircuitBreaker(Part):
    """Limits of what a destination is burdened with; the presence of the object turns them on."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"failure_threshold"})

    max_connections: U32 = 1024
    """Connections at once."""
    max_pending_requests: U32 = 1024
    """Requests that wait for a connection at once."""
    max_requests: U32 = 1024
    """Requests at once."""
    max_retries: U32 = 3
    """Retries at once."""
    failure_threshold: U32 = 5
    """Failures in a row that open the circuit; a stated 0 = never, only the limits act."""
    open_duration: PositiveDuration = PositiveDuration("30s")
    """How long the circuit stays open before a probe is let through."""
