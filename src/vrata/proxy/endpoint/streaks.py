"""The failures of one endpoint in a row, over all workers: what outlier detection judges by."""

from __future__ import annotations

from vrata.policy.shared_numbers import SharedWord


class FailureStreaks:
    """Statuses of 500 and more in a row, and gateway errors (502, 503, 504) in a row.

    What the proxy itself says when an attempt fails counts like an answer. The supervisor reads the numbers, and sets
    them to zero when an ejection begins and when it ends.
    """

    __slots__ = ("_errors", "_gateway_errors", "_is_left")

    def __init__(self, errors: SharedWord, gateway_errors: SharedWord) -> None:
        self._errors = errors
        self._gateway_errors = gateway_errors
        self._is_left = False

    def __repr__(self) -> str:
        return "<FailureStreaks left>" if self._is_left else f"<FailureStreaks {self._errors.value}>"

    def record(self, status: int) -> None:
        """An attempt at the endpoint came to *status*."""
        if self._is_left:
            return  # a late answer of an endpoint that is not configured any more: its numbers may be another's
        errors, gateway_errors = self._errors, self._gateway_errors
        if status >= 500:
            errors.add(1)
            if 502 <= status <= 504:
                gateway_errors.add(1)
                return
        elif errors.value:
            errors.put(0)
        if gateway_errors.value:
            gateway_errors.put(0)

    def leave(self) -> None:
        """Count no more."""
        if not self._is_left:
            self._is_left = True
            self._errors.leave()
            self._gateway_errors.leave()
