"""Numbers that the workers of a proxy share, as decisions use them.

Where they lie, and how they are kept, is not theirs to know.
"""

from __future__ import annotations

from typing import Protocol


class SharedNumber(Protocol):
    """A number of which each worker holds a share: what it counts is the sum, and a worker that dies takes its share
    with it.
    """

    @property
    def total(self) -> int:
        """The sum over all workers."""
        ...

    def add(self, amount: int) -> None:
        """Add to this worker's share; a negative *amount* takes away."""
        ...

    def put(self, number: int) -> None:
        """Make *number* this worker's share."""
        ...

    def reserve(self, limit: int) -> bool:
        """Add one if the sum stays within *limit*; false if it would not."""
        ...

    def others(self) -> list[int]:
        """The shares of the other workers that are not zero, in no particular order."""
        ...

    def leave(self) -> None:
        """Count no more."""
        ...


class SharedWord(Protocol):
    """A number that belongs to no worker: all of them read and change the same."""

    @property
    def value(self) -> int:
        """What it is now."""
        ...

    def put(self, value: int) -> None:
        """Make it *value*, whatever it was."""
        ...

    def add(self, amount: int) -> int:
        """Add *amount* and return what it is then; nobody's addition is lost."""
        ...

    def swap(self, expected: int, new: int) -> bool:
        """Make it *new* if it is *expected*; false, and nothing changed, if it is not."""
        ...

    def leave(self) -> None:
        """Use it no more."""
        ...
