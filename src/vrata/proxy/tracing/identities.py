"""Identities of traces and spans that begin here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TRACE_DIGITS: Final = 32
"""Hexadecimal digits of a trace's identity (W3C Trace Context §3.2.2.3)."""
SPAN_DIGITS: Final = 16
"""Of a span's (§3.2.2.4)."""

_DRAWN: Final = 1536
"""Bytes of chance that are drawn at once: for 64 traces with a span each."""


class Identities:
    """Draws identities in hexadecimal digits. Each is drawn once."""

    __slots__ = ("_digits", "_left", "_random_bits")

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        """*random_bits* returns a number of so many bits; no two workers may get the same ones."""
        self._random_bits = random_bits
        self._digits = ""
        self._left = 0

    def __repr__(self) -> str:
        return f"<Identities, {self._left} digits left>"

    def trace(self) -> str:
        """A new one for a trace."""
        return self._next(TRACE_DIGITS)

    def span(self) -> str:
        """A new one for a span."""
        return self._next(SPAN_DIGITS)

    def _next(self, size: int) -> str:
        if self._left < size:
            self._digits = self._random_bits(8 * _DRAWN).to_bytes(_DRAWN, "big").hex()
            self._left = 2 * _DRAWN
        end = self._left
        self._left = end - size
        found = self._digits[end - size : end]
        # Zero, which stands for no identity, is as likely as any other number.
        return found if found.strip("0") else found[1:] + "1"
