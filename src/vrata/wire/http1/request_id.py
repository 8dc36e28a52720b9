"""Request identifiers: the value of X-Request-Id, by which the logs of all hops can be matched."""

from __future__ import annotations

import os
import re

DIGITS = 32
"""Hexadecimal digits of an identifier made here: 128 bits of chance, so that no two are ever equal."""
_POOL = 4096
"""Bytes of chance fetched at once: one system call serves 256 requests."""

# Long enough for every usual form, and nothing that could break a line of a log. RFC 9110 §5.5 would allow more.
_SANE = re.compile(rb"[\x21-\x7e]{1,128}")


def is_sane(value: bytes) -> bool:
    """True when a client's *value* is kept: 1 to 128 characters of visible ASCII."""
    return _SANE.fullmatch(value) is not None


def random_digits() -> bytes:
    """Hexadecimal digits for many identifiers."""
    return os.urandom(_POOL).hex().encode("ascii")


class RequestIdSource:
    """Makes identifiers. For one thread: each worker has one, since chance that is shared would be repeated."""

    __slots__ = ("_digits", "_left")

    def __init__(self) -> None:
        self._digits = b""
        self._left = 0

    def next(self) -> bytes:
        """A new identifier."""
        if not self._left:
            self._digits = random_digits()
            self._left = len(self._digits)
        self._left -= DIGITS
        return self._digits[self._left : self._left + DIGITS]

    def forget(self) -> None:
        """Drop what was fetched: after a fork it is the parent's, too."""
        self._left = 0
