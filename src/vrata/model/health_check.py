"""Active health check settings of a destination."""

from typing import Literal, Self

from pydantic import model_validator

from vrata.model.duration import Interval, PositiveDuration
from vrata.model.errors import Problem, broken
from vrata.model.number import U32
from vrata.model.part import Part
from vrata.model.text import ProbePath, ServiceName


class HealthCheck(Part):
    """Probes of every endpoint; the presence of the object turns them on."""

    type: Literal["http", "tcp", "grpc"] = "http"
    """`http` sends a GET; `tcp` only connects, with the TLS handshake where the destination has TLS; `grpc` calls the
    method `Check` of `grpc.health.v1.Health`, for which the destination has to have `http2`."""
    path: ProbePath = ""
    """Path of the GET, with a query or without; a status from 200 to 399 is a success. Needed for `http`."""
    service: ServiceName = ""
    """The service that `grpc` asks about; absent = the whole server."""
    interval: Interval = Interval("10s")
    """Time between two probes of an endpoint, at least 100 ms."""
    timeout: PositiveDuration = PositiveDuration("5s")
    """Limit of one probe."""
    unhealthy_threshold: U32 = 3
    """Failures in a row that make an endpoint unhealthy."""
    healthy_threshold: U32 = 2
    """Successes in a row that make it healthy again."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type == "http" and not self.path:
            raise broken(Problem("path", "is required"))
        if self.type != "http" and self.path:
            raise broken(Problem("path", f'has no meaning when type is "{self.type}"'))
        if self.type != "grpc" and self.service:
            raise broken(Problem("service", f'has no meaning when type is "{self.type}"'))
        return self
