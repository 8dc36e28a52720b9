"""Outlier detection settings of a destination: ejecting endpoints by what their real responses are."""

from typing import ClassVar

from pydantic import Field

from vrata.model.duration import Interval, PositiveDuration
from vrata.model.number import U32, Percentage
from vrata.model.part import Part


class OutlierDetection(Part):
    """When endpoints are ejected and for how long; the presence of the object turns it on."""

    explicit_zeros: ClassVar[frozenset[str]] = frozenset({"consecutive_5xx", "max_ejection_percent"})

    consecutive_5xx: U32 = Field(default=5, alias="consecutive5xx")
    """Responses of 500 or more in a row that eject an endpoint; a stated 0 = they never do."""
    consecutive_gateway_errors: U32 = 0
    """Responses 502, 503 or 504 in a row that eject an endpoint; 0 = they never do."""
    interval: Interval = Interval("10s")
    """Time between two evaluations, at least 100 ms."""
    base_ejection_time: PositiveDuration = PositiveDuration("30s")
    """Length of the first ejection; multiplied by the number of ejections so far."""
    max_ejection_time: PositiveDuration = PositiveDuration("300s")
    """Longest ejection, however often the endpoint was ejected before; at least `baseEjectionTime` acts."""
    max_ejection_percent: Percentage = 10
    """Share of the endpoints that may be ejected at once; a stated 0 = none."""
