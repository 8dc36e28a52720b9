"""What the command lines of the benchmarks have in common."""

from __future__ import annotations


def names(text: str) -> tuple[str, ...]:
    """The names in *text*, which are separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
