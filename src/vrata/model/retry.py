"""Retry settings of routes and groups."""

from typing import Annotated, Literal

from vrata.model.duration import Duration, PositiveDuration
from vrata.model.number import U32, Within
from vrata.model.part import ListOf, Part

RetryCondition = Literal[
    "server-error",
    "gateway-error",
    "connection-failure",
    "retriable-codes",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]


class Backoff(Part):
    """Pauses between tries, which double from `base` up to `max`."""

    base: PositiveDuration = PositiveDuration("100ms")
    """The first pause."""
    max: PositiveDuration = PositiveDuration("1s")
    """The longest pause."""


class Retry(Part):
    """When a failed try is followed by another one."""

    attempts: U32
    """Tries after the first one. 0 switches the group's default off."""
    per_attempt_timeout: Duration | None = None
    """Limit of one try, up to the response headers; absent or `0s` = none."""
    on: ListOf[RetryCondition] = ("server-error", "connection-failure")
    """Failures that are worth another try. Methods that are not idempotent are tried again after a status only if this
    is stated, and after a failed connection only if nothing had been sent. The last five are codes of gRPC, and mean a
    response that has nothing else."""
    retriable_codes: ListOf[Annotated[int, Within(100, 599)]] = ()
    """Statuses that count with `retriable-codes`."""
    backoff: Backoff = Backoff()
    """Pauses."""
