"""Whether a failed attempt is followed by another one, and after what pause.

Safety depends on what is known of the failed attempt. Where nothing of the request was sent, another attempt is as good
as the first. Where something was, the upstream may have acted on it, so a request is sent again if its method is
idempotent (RFC 9110 §9.2.2), or if the upstream has answered with a status for which the configuration states that it
is to be sent again. A connection that broke says nothing, so no configuration makes a POST safe after that. A call of
gRPC is a POST whatever it does, and its codes are sent again after only where the configuration names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vrata.model.retry import Retry
from vrata.policy import grpc_status
from vrata.policy.backoff import doubled

GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
"""What ``gateway-error`` means."""
SERVER_ERRORS: Final = frozenset(range(500, 600))
"""What ``server-error`` means."""

GRPC_CODES: Final[Mapping[str, int]] = {
    "cancelled": grpc_status.CANCELLED,
    "deadline-exceeded": grpc_status.DEADLINE_EXCEEDED,
    "internal": grpc_status.INTERNAL,
    "resource-exhausted": grpc_status.RESOURCE_EXHAUSTED,
    "unavailable": grpc_status.UNAVAILABLE,
}
"""The codes of gRPC that each condition means."""


class RetryPolicy:
    """The retry settings of one route. Never changes."""

    __slots__ = (
        "_after_failure",
        "_base",
        "_longest",
        "_stated",
        "_statuses",
        "attempts",
        "grpc_codes",
        "per_attempt_timeout",
    )

    def __init__(
        self,
        *,
        attempts: int,
        statuses: frozenset[int] = frozenset(),
        grpc_codes: frozenset[int] = frozenset(),
        after_failure: bool = False,
        stated: bool = False,
        per_attempt_timeout: float = float("inf"),
        base: float = 0.1,
        longest: float = 1.0,
    ) -> None:
        """*attempts* are those after the first; *statuses* and *grpc_codes* are failures, and so is no response if
        *after_failure*.

        *stated* tells that the configuration names these conditions itself. Times are seconds: *base* and *longest*
        are those of the pauses.
        """
        self.attempts = attempts
        self.per_attempt_timeout = per_attempt_timeout
        """From the beginning of an attempt to the head of its response; infinite for none."""
        self.grpc_codes = grpc_codes
        """Codes of gRPC that a call may be sent again after, if they are all that its response has."""
        self._statuses = statuses
        self._after_failure = after_failure
        self._stated = stated
        self._base = base
        self._longest = longest

    def __repr__(self) -> str:
        return f"<RetryPolicy {self.attempts} attempts>"

    def after_status(self, status: int, *, idempotent: bool) -> bool:
        """Tell whether a response with *status* is a failure that a request may be sent again after."""
        return status in self._statuses and (idempotent or self._stated)

    def after_failure(self, *, idempotent: bool, nothing_sent: bool) -> bool:
        """Tell whether a request may be sent again that got no response, and of which perhaps *nothing* was *sent*."""
        return self._after_failure and (idempotent or nothing_sent)

    def pause(self, number: int, chance: float) -> float:
        """Return the seconds before retry *number*, counted from 0; *chance* is any number in [0, 1).

        At least half of what the doubling gives, so that retries spread and the upstream still gets its rest.
        """
        return doubled(self._base, self._longest, number) * (0.5 + chance / 2)


NO_RETRIES: Final = RetryPolicy(attempts=0)


def retry_policy(own: Retry | None, default: Retry | None) -> RetryPolicy | None:
    """Return the policy of a route: its *own* settings, else the *default* of its group; None for no retries.

    Own settings with no attempts switch the default off.
    """
    settings = own if own is not None else default
    if settings is None or not settings.attempts:
        return None
    conditions = settings.on
    statuses: frozenset[int] = frozenset()
    if "server-error" in conditions:
        statuses |= SERVER_ERRORS
    if "gateway-error" in conditions:
        statuses |= GATEWAY_ERRORS
    if "retriable-codes" in conditions:
        statuses |= frozenset(settings.retriable_codes)
    limit = settings.per_attempt_timeout
    return RetryPolicy(
        attempts=settings.attempts,
        statuses=statuses,
        grpc_codes=frozenset(GRPC_CODES[condition] for condition in conditions if condition in GRPC_CODES),
        after_failure="connection-failure" in conditions,
        stated=settings.states("on"),
        per_attempt_timeout=limit.seconds if limit is not None and limit.seconds > 0 else float("inf"),
        base=settings.backoff.base.seconds,
        longest=settings.backoff.max.seconds,
    )
