"""What is kept of endpoints that have gone, in case they come back: the DNS may name another part of them each time."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

KEPT_FOR: Final = 600.0
"""Seconds."""
KEPT_AT_MOST: Final = 1000
"""Endpoints of one destination; those that went first are forgotten first."""

StateT = TypeVar("StateT")


class Kept(Generic[StateT]):
    """The state of the endpoints of one destination that have gone. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[StateT, float]] = {}

    def __repr__(self) -> str:
        return f"<Kept {len(self._states)}>"

    def keep(self, identifier: str, state: StateT, now: float, until: float = 0.0) -> None:
        """*identifier* has gone: keep its *state* for :data:`KEPT_FOR`, or *until* then where that is later."""
        self._states.pop(identifier, None)
        self._states[identifier] = state, max(until, now + KEPT_FOR)
        while len(self._states) > KEPT_AT_MOST:
            del self._states[next(iter(self._states))]

    def take(self, identifier: str, now: float) -> StateT | None:
        """*identifier* is back: its state, if that was kept."""
        state, until = self._states.pop(identifier, (None, now))
        return state if now < until else None
