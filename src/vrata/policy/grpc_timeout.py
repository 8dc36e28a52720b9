"""``grpc-timeout``: how long a client of gRPC has its call wait, and the cap of it.

The value is up to eight digits and a unit, one of ``H M S m u n`` for hours, minutes, seconds, milliseconds,
microseconds and nanoseconds (the gRPC protocol over HTTP/2, under "Requests").
"""

from __future__ import annotations

import re
from typing import Final

_NANOSECONDS: Final = {
    b"n": 1,
    b"u": 1_000,
    b"m": 1_000_000,
    b"S": 1_000_000_000,
    b"M": 60_000_000_000,
    b"H": 3_600_000_000_000,
}
_MOST: Final = 99_999_999
"""The greatest number of a value: eight digits."""
_MICROSECONDS_BELOW: Final = 1_000_000
"""Nanoseconds from which on a cap is written in milliseconds or longer units."""

_VALUE: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_LONG_VALUE: Final = re.compile(rb"[0-9]{9,}[HMSmun]")
"""Not a value, but some take it for one."""
_LINE: Final = re.compile(rb"\r\n(?i:grpc-timeout):[\t ]*([0-9]+[HMSmun])[\t ]*(?=\r\n)")


def seconds_of(values: list[bytes]) -> float:
    """Return the seconds that the first of *values*, those of ``grpc-timeout``, allows; infinite where it is none."""
    found = _VALUE.fullmatch(values[0]) if values else None
    return float("inf") if found is None else int(found[1]) * _NANOSECONDS[found[2]] / 1e9


class GrpcTimeoutCap:
    """One route's ``maxGrpcTimeout``, made once."""

    def __init__(self, seconds: float) -> None:
        """*seconds* is more than zero: without a limit there is no cap."""
        self._limit = round(seconds * 1e9)
        self.text = _text(self._limit)
        """The value in the place of a greater one."""
        self.seconds = seconds_of([self.text])
        """The same in seconds."""

    def __repr__(self) -> str:
        return f"<GrpcTimeoutCap {self.text.decode()}>"

    def capped(self, value: bytes) -> bytes:
        """Return *value* if it does not exceed the cap, else the cap. What is no such value is returned as it is.

        One of too many digits is taken to exceed it: implementations differ in what they make of it.
        """
        found = _VALUE.fullmatch(value)
        if found is None:
            return value if _LONG_VALUE.fullmatch(value) is None else self.text
        if int(found[1]) * _NANOSECONDS[found[2]] <= self._limit:
            return value
        return self.text

    def in_head(self, head: bytes) -> bytes:
        """Return *head*, a whole one as it goes to an upstream, with the values of its ``grpc-timeout`` lines capped.

        In such a head CRLF ends a line and stands nowhere else, so a line is found by its beginning.
        """
        return _LINE.sub(self._capped_line, head)

    def _capped_line(self, line: re.Match[bytes]) -> bytes:
        value = line[1]
        capped = self.capped(value)
        return line[0] if capped is value else b"\r\ngrpc-timeout: " + capped


def _text(limit: int) -> bytes:
    """Write *limit* nanoseconds as a value that does not exceed it: below 1000 µs in microseconds, else in
    milliseconds, and in another unit where that would make zero or more than eight digits.
    """
    units = b"un" if limit < _MICROSECONDS_BELOW else b"mSMH"
    for unit in (units[at : at + 1] for at in range(len(units))):
        number = limit // _NANOSECONDS[unit]
        if 0 < number <= _MOST:
            return b"%d%s" % (number, unit)
    raise ValueError(f"no duration for a cap: {limit} ns")
