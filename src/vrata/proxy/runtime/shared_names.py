"""The names of the numbers that workers and supervisor share, so that both ask for the same."""

from __future__ import annotations

from vrata.model.host import host_and_port


def breaker_name(destination_id: str) -> str:
    """The word of a destination's circuit breaker."""
    return f"breaker {destination_id}"


def streak_names(destination_id: str, host: str, port: int) -> tuple[str, str]:
    """The words of an endpoint's failures in a row: those of 500 and more, and gateway errors."""
    endpoint = f"{destination_id} {host_and_port(host, port)}"
    return f"5xx {endpoint}", f"gateway {endpoint}"
