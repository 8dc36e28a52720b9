"""What the data plane asks of a session store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

Answer: TypeAlias = Callable[[bytes | None], None]
"""Gets the value, empty when there is none; None when the store does not say."""


class Call(Protocol):
    """One question that is under way."""

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        ...


class SessionStore(Protocol):
    """Values by keys, each for a time. Nothing here waits, and nothing fails: there is an answer, or none in time."""

    @property
    def is_out(self) -> bool:
        """Whether it would be of no use to ask: no call is answered at present."""
        ...

    def open(self) -> None:
        """It is going to be asked: be ready for that. Of no effect when it is."""
        ...

    def look_up(self, key: bytes, answer: Answer) -> Call:
        """Have *answer* called with the value of *key*, after this has returned, within a tenth of a second."""
        ...

    def claim(self, key: bytes, value: bytes, ttl: int, answer: Answer) -> Call:
        """Store *value* for *ttl* seconds unless there is one, and have *answer* called with the one that holds.

        Whoever claims the same key at the same time gets the same answer. Empty: it could not be stored.
        """
        ...

    def put(self, key: bytes, value: bytes, ttl: int) -> None:
        """Store *value* for *ttl* seconds as soon as that is possible; nobody waits for it."""
        ...
