"""What lines of access logs tell beside the exchange: the time, and identifiers."""

from __future__ import annotations

import os
from time import gmtime, strftime, time_ns
from typing import Final

_DRAWN: Final = 4096
"""Bytes of chance that are drawn at once: one system call serves 256 identifiers."""
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit that says by which rules a UUID is made, whose lower two bits are chance (RFC 9562 §4.1)."""


class Clock:
    """Writes the time; for one thread."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __repr__(self) -> str:
        return f"<Clock in second {self._second}>"

    def text(self, nanoseconds: int) -> str:
        """Return the time that is *nanoseconds* since 1970: RFC 3339, in UTC, with milliseconds."""
        milliseconds = nanoseconds // 1_000_000
        second = milliseconds // 1000
        if second != self._second:
            self._second = second
            self._text = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        return f"{self._text}{milliseconds - second * 1000:03d}Z"


class UuidSource:
    """Makes random UUIDs (RFC 9562 §5.4); for one thread, and not for a process and its children."""

    __slots__ = ("_digits", "_left")

    def __init__(self) -> None:
        self._digits = ""
        self._left = 0

    def __repr__(self) -> str:
        return f"<UuidSource, {self._left} digits left>"

    def next(self) -> str:
        """A new one."""
        if not self._left:
            self._digits = os.urandom(_DRAWN).hex()
            self._left = len(self._digits)
        at = self._left - 32
        self._left = at
        digits = self._digits[at : at + 32]
        variant = _VARIANT[digits[16]]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def forget(self) -> None:
        """Drop what was drawn: after a fork it is the parent's, too."""
        self._left = 0


_clock: Final = Clock()
uuids: Final = UuidSource()
"""That of the process."""
os.register_at_fork(after_in_child=uuids.forget)


def rfc3339_now() -> str:
    """Return the time of now as :meth:`Clock.text` writes it."""
    return _clock.text(time_ns())
