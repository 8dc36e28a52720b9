"""LEAST_REQUEST: of a few endpoints drawn by chance, the one with the fewest requests in flight."""

from __future__ import annotations


def least_request_cost(in_flight: int, weight: int) -> float:
    """What is compared: an endpoint of twice the weight is as busy with twice the requests."""
    return in_flight / weight
