"""Pauses between tries that double, up to a longest one."""

from __future__ import annotations

_DOUBLINGS = 60
"""More than any longest pause leaves room for; a larger power would overflow a float some day."""


def doubled(first: float, longest: float, number: int) -> float:
    """Return the pause before try *number* (0 is the one after the first failure): *first* · 2^number, capped."""
    return min(longest, first * 2.0 ** min(number, _DOUBLINGS))
