"""Timestamps and durations: their texts, their ranges, and their parts."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from vrata.expressions.errors import EvaluationError
from vrata.expressions.values import Duration, Timestamp

_SECOND: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1)
_FIRST: Final = int((datetime(1, 1, 1) - _EPOCH).total_seconds()) * _SECOND
_LAST: Final = (int((datetime(9999, 12, 31, 23, 59, 59) - _EPOCH).total_seconds()) + 1) * _SECOND - 1
_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_DURATION: Final = re.compile(r"(\d*)(?:\.(\d*))?(h|ms|m|s|us|µs|μs|ns)", re.ASCII)
_UNITS: Final = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ns": 1,
}
_OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
LONGEST: Final = 64
"""Characters of a time zone or a duration."""


def timestamp(nanoseconds: int) -> Timestamp:
    """Return the timestamp, which must lie in the years 1 to 9999."""
    if not _FIRST <= nanoseconds <= _LAST:
        raise EvaluationError("timestamp out of range: the years are 1 to 9999")
    return Timestamp(nanoseconds)


def duration(nanoseconds: int) -> Duration:
    """Return the duration, which must fit in 64 bits of nanoseconds: about 292 years."""
    if not -(2**63) <= nanoseconds < 2**63:
        raise EvaluationError("duration out of range: at most about 292 years")
    return Duration(nanoseconds)


def parse_timestamp(text: str) -> Timestamp:
    """Read a timestamp as RFC 3339 writes it."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise EvaluationError("not a timestamp as in RFC 3339")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError as error:
        raise EvaluationError(f"timestamp out of range: {error}") from None
    span = moment - _EPOCH
    seconds = span.days * 86_400 + span.seconds
    if sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise EvaluationError("timestamp out of range: offset")
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds -= -offset if sign == "-" else offset
    return timestamp(seconds * _SECOND + int((fraction or "0").ljust(9, "0")))


def parse_duration(text: str) -> Duration:
    """Read a duration: numbers with the units h, m, s, ms, us and ns, such as `1h30m`, `-1.5s`; or `0`."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if len(text) > LONGEST:
        raise EvaluationError("not a duration")
    nanoseconds = at = 0
    while at < len(unsigned) and unsigned != "0":
        match = _DURATION.match(unsigned, at)
        if match is None or not (match[1] or match[2]):
            raise EvaluationError("not a duration")
        whole, fraction, unit = match.groups()
        nanoseconds += int(whole or "0") * _UNITS[unit]
        if fraction:
            nanoseconds += int(fraction) * _UNITS[unit] // 10 ** len(fraction)
        at = match.end()
    if not unsigned:
        raise EvaluationError("not a duration")
    return duration(-nanoseconds if text[0] == "-" else nanoseconds)


def timestamp_text(value: Timestamp) -> str:
    """Write a timestamp as RFC 3339 does, in UTC, with as many digits of a second as it needs."""
    return f"{_local(value, None):%Y-%m-%dT%H:%M:%S}".zfill(19) + _fraction(value % _SECOND) + "Z"


def duration_text(value: Duration) -> str:
    """Write a duration in seconds."""
    seconds, nanoseconds = divmod(abs(value), _SECOND)
    return f"{'-' if value < 0 else ''}{seconds}{_fraction(nanoseconds)}s"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""


def zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database, or by its offset, such as `-02:30`."""
    if match := _OFFSET.fullmatch(name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if offset < timedelta(hours=24):
            return timezone(-offset if match[1] == "-" else offset)
    elif len(name) <= LONGEST and _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            pass
    raise EvaluationError("unknown time zone")


def _local(value: Timestamp, in_zone: tzinfo | None) -> datetime:
    moment = _EPOCH + timedelta(seconds=value // _SECOND)
    if in_zone is None:
        return moment
    try:
        return moment.replace(tzinfo=UTC).astimezone(in_zone)
    except OverflowError:
        raise EvaluationError("timestamp out of range in this time zone") from None


def timestamp_part(name: str, value: Timestamp, in_zone: tzinfo | None = None) -> int:
    """Return what the method *name* tells of a timestamp, in UTC unless a zone is given."""
    if name == "getMilliseconds":
        return value % _SECOND // 10**6
    moment = _local(value, in_zone)
    match name:
        case "getFullYear":
            return moment.year
        case "getMonth":
            return moment.month - 1
        case "getDayOfYear":
            return moment.timetuple().tm_yday - 1
        case "getDayOfMonth":
            return moment.day - 1
        case "getDate":
            return moment.day
        case "getDayOfWeek":
            return moment.isoweekday() % 7
        case "getHours":
            return moment.hour
        case "getMinutes":
            return moment.minute
        case _:
            return moment.second


TIMESTAMP_PARTS: Final = (
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
)
DURATION_PARTS: Final = {"getHours": 3600 * _SECOND, "getMinutes": 60 * _SECOND, "getSeconds": _SECOND}


def duration_part(name: str, value: Duration) -> int:
    """Return a duration in whole hours, minutes or seconds; of the milliseconds, only those beyond whole seconds."""
    if name == "getMilliseconds":
        part = abs(value) % _SECOND // 10**6
    else:
        part = abs(value) // DURATION_PARTS[name]
    return -part if value < 0 else part
