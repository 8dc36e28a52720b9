"""ROUND_ROBIN: each candidate in turn."""

from __future__ import annotations


class Rotation:
    """A position that moves on with every pick and survives a change in the number of candidates."""

    __slots__ = ("_position",)

    def __init__(self) -> None:
        self._position = -1

    def next(self, count: int) -> int:
        """The next index below *count* (at least 1)."""
        position = self._position + 1
        if position >= count:
            position = 0
        self._position = position
        return position
