"""Durations in the syntax of Go's `time.ParseDuration`: `300ms`, `1m30s`, `1.5h`, `0`."""

import re
from functools import lru_cache
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
# Go keeps a duration in 64 bits, as nanoseconds: about 292 years.
_LONGEST: Final = 2**63 - 1
# A nanosecond is 1/3_600_000_000_000 of an hour: digits beyond these cannot count.
_FRACTION_DIGITS: Final = 15

SHORTEST_INTERVAL: Final = "100ms"

_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_EXPECTED: Final = 'must be a duration such as "300ms", "1m30s" or "1.5h"'


def parse_duration(text: str) -> float:
    """Read a duration and return it in seconds.

    The text is an optional sign and one or more groups of a decimal number and a unit (`ns us µs ms s m h`); a
    bare `0` is a duration too. Days do not exist.

    Raises:
        ValueError: the text is no duration, or lasts longer than 64 bits of nanoseconds can hold.

    """
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0.0
    if not unsigned:
        raise ValueError(_EXPECTED)
    total = 0
    position = 0
    while position < len(unsigned):
        term = _TERM.match(unsigned, position)
        if term is None:
            raise ValueError(_EXPECTED)
        whole, fraction, unit = term.groups()
        if not whole and not fraction:
            raise ValueError(_EXPECTED)
        whole = whole.lstrip("0")
        if len(whole) > 19:
            raise ValueError("must not be longer than 2562047h")
        total += int(whole or "0") * _NANOSECONDS[unit]
        if fraction:
            fraction = fraction[:_FRACTION_DIGITS]
            total += int(fraction) * _NANOSECONDS[unit] // 10 ** len(fraction)
        position = term.end()
    if total > _LONGEST:
        raise ValueError("must not be longer than 2562047h")
    return (-total if text[0] == "-" else total) / 1e9


class Duration(str):
    """A duration as it was written, which is what documents show, and its length in `seconds`."""

    __slots__ = ("seconds",)

    seconds: float

    def __new__(cls, text: str) -> "Duration":
        """Read `text`; raises ValueError as `parse_duration` does."""
        duration = super().__new__(cls, text)
        duration.seconds = parse_duration(text)
        return duration

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[type["Duration"], tuple[str]]:
        return type(self), (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_limit, core_schema.str_schema(strict=True))


class PositiveDuration(Duration):
    """A duration that must not be zero: something that happens again and again, or that makes no sense at once."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_period, core_schema.str_schema(strict=True))


class Interval(Duration):
    """Time between two turns of something that costs work each time: not shorter than :data:`SHORTEST_INTERVAL`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_interval, core_schema.str_schema(strict=True))


@lru_cache(maxsize=1024)
def _limit(text: str) -> Duration:
    try:
        duration = Duration(text)
    except ValueError as error:
        raise ValueError(f'{error}, got "{text[:40]}"') from None
    if duration.seconds < 0:
        raise ValueError(f'must not be negative, got "{text[:40]}"')
    return duration


@lru_cache(maxsize=1024)
def _period(text: str) -> PositiveDuration:
    duration = PositiveDuration(_limit(text))
    if duration.seconds == 0:
        raise ValueError(f'must be longer than zero, got "{text[:40]}"')
    return duration


@lru_cache(maxsize=1024)
def _interval(text: str) -> Interval:
    interval = Interval(_limit(text))
    if interval.seconds < parse_duration(SHORTEST_INTERVAL):
        raise ValueError(f'must be at least {SHORTEST_INTERVAL}, got "{text[:40]}"')
    return interval
