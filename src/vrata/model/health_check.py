"""Active health check settings of a destination."""

from vrata.model.duration import PositiveDuration
from vrata.model.number import U32
from vrata.model.part import Part
from vrata.model.text import Path


class HealthCheck(Part):
    """Probes of every endpoint; the presence of the object turns them on."""

    path: Path
    """Path of the probe; a status from 200 to 399 is a success."""
    interval: PositiveDuration = PositiveDuration("10s")
    """Time between two probes of an endpoint."""
    timeout: PositiveDuration = PositiveDuration("5s")
    """Limit of one probe."""
    unhealthy_threshold: U32 = 3
    """Failures in a row that make an endpoint unhealthy."""
    healthy_threshold: U32 = 2
    """Successes in a row that make it healthy again."""
