"""Functions and operators that take values of certain types: one overload each.

`&&`, `||`, `?:`, `==`, `!=`, the comparisons, `in`, indexing, `has()` and the macros are not here: what they do depends
on more than types. Every implementation gets the frame first, to charge for what it does.
"""

import math
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from typing import Any, Final, NamedTuple

from vrata.expressions import times
from vrata.expressions.errors import EvaluationError
from vrata.expressions.limits import TIMESTAMP_TEXT, UNKNOWN_ZONE, Frame, charge, charge_making, charge_reading
from vrata.expressions.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    map_of,
)
from vrata.expressions.values import TYPE_NAMES, Duration, Timestamp, TypeValue, Uint

_SMALLEST: Final = -(2**63)
_LARGEST: Final = 2**63 - 1
_LARGEST_UINT: Final = 2**64 - 1

Implementation = Callable[..., Any]


class Overload(NamedTuple):
    """A function for one list of operand types."""

    parameters: tuple[Type, ...]
    result: Type
    implementation: Implementation


def _int(value: int) -> int:
    if _SMALLEST <= value <= _LARGEST:
        return value
    raise EvaluationError("int overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= _LARGEST_UINT:
        return Uint(value)
    raise EvaluationError("uint overflow")


def _add_int(frame: Frame, left: int, right: int) -> int:
    return _int(left + right)


def _add_uint(frame: Frame, left: int, right: int) -> int:
    return _uint(int(left) + int(right))


def _add_double(frame: Frame, left: float, right: float) -> float:
    return left + right


def _concatenate(frame: Frame, left: Any, right: Any) -> Any:
    charge_making(frame, len(left) + len(right))
    return left + right


def _concatenate_lists(frame: Frame, left: list[Any], right: list[Any]) -> list[Any]:
    charge(frame, len(left) + len(right))
    return left + right


def _add_times(frame: Frame, left: int, right: int) -> Timestamp:
    return times.timestamp(int(left) + int(right))


def _add_durations(frame: Frame, left: int, right: int) -> Duration:
    return times.duration(int(left) + int(right))


def _subtract_int(frame: Frame, left: int, right: int) -> int:
    return _int(left - right)


def _subtract_uint(frame: Frame, left: int, right: int) -> int:
    return _uint(int(left) - int(right))


def _subtract_double(frame: Frame, left: float, right: float) -> float:
    return left - right


def _subtract_to_duration(frame: Frame, left: int, right: int) -> Duration:
    return times.duration(int(left) - int(right))


def _subtract_to_timestamp(frame: Frame, left: int, right: int) -> Timestamp:
    return times.timestamp(int(left) - int(right))


def _multiply_int(frame: Frame, left: int, right: int) -> int:
    return _int(left * right)


def _multiply_uint(frame: Frame, left: int, right: int) -> int:
    return _uint(int(left) * int(right))


def _multiply_double(frame: Frame, left: float, right: float) -> float:
    return left * right


def _quotient(left: int, right: int) -> int:
    """Divide towards zero, as the language does and Python does not."""
    if right == 0:
        raise EvaluationError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _divide_int(frame: Frame, left: int, right: int) -> int:
    return _int(_quotient(left, right))


def _divide_uint(frame: Frame, left: int, right: int) -> int:
    return _uint(_quotient(int(left), int(right)))


def _divide_double(frame: Frame, left: float, right: float) -> float:
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _remainder_int(frame: Frame, left: int, right: int) -> int:
    return _int(left - _int(_quotient(left, right)) * right)


def _remainder_uint(frame: Frame, left: int, right: int) -> int:
    return _uint(int(left) - _quotient(int(left), int(right)) * int(right))


def _negate_int(frame: Frame, value: int) -> int:
    return _int(-value)


def _negate_double(frame: Frame, value: float) -> float:
    return -value


def _not(frame: Frame, value: bool) -> bool:
    return not value


def _size(frame: Frame, value: Any) -> int:
    return len(value)


def _contains(frame: Frame, text: str, part: str) -> bool:
    charge_reading(frame, len(text))
    return part in text


def _starts_with(frame: Frame, text: str, part: str) -> bool:
    charge_reading(frame, len(part))
    return text.startswith(part)


def _ends_with(frame: Frame, text: str, part: str) -> bool:
    charge_reading(frame, len(part))
    return text.endswith(part)


def _join(frame: Frame, items: list[Any], separator: str = "") -> str:
    charge(frame, len(items))
    size = len(separator) * len(items)
    for item in items:
        if type(item) is not str:
            raise EvaluationError("join() takes a list of strings")
        size += len(item)
    charge_making(frame, size)
    return separator.join(items)


def _same(frame: Frame, value: Any) -> Any:
    return value


def _type_of(frame: Frame, value: Any) -> TypeValue:
    return TypeValue(TYPE_NAMES[type(value)])


def _int_of_double(frame: Frame, value: float) -> int:
    # The bounds themselves are excluded: whether a double near them fits is a matter of rounding.
    if not -9.223372036854775808e18 < value < 9.223372036854775808e18:
        raise EvaluationError("int out of range")
    return int(value)


def _int_of(frame: Frame, value: int) -> int:
    return _int(int(value))


def _int_of_timestamp(frame: Frame, value: int) -> int:
    return int(value) // 10**9


def _int_of_string(frame: Frame, text: str) -> int:
    return _int(_digits(text, "int"))


def _uint_of(frame: Frame, value: int) -> Uint:
    return _uint(int(value))


def _uint_of_double(frame: Frame, value: float) -> Uint:
    if not -1.0 < value < 1.8446744073709551616e19:
        raise EvaluationError("uint out of range")
    return _uint(int(value))


def _uint_of_string(frame: Frame, text: str) -> Uint:
    return _uint(_digits(text, "uint"))


def _digits(text: str, kind: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") and kind == "int" else text
    if len(digits) > 64 or not digits.isascii() or not digits.isdigit():
        raise EvaluationError(f"the text is no {kind}")
    return int(text)


def _double_of(frame: Frame, value: int) -> float:
    return float(value)


def _double_of_string(frame: Frame, text: str) -> float:
    if len(text) > 400 or not text.isascii() or "_" in text or text != text.strip():
        raise EvaluationError("the text is no double")
    try:
        return float(text)
    except ValueError:
        raise EvaluationError("the text is no double") from None


def _bool_of_string(frame: Frame, text: str) -> bool:
    if text in ("true", "True", "TRUE", "t", "1"):
        return True
    if text in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError("the text is no bool")


def _string_of_number(frame: Frame, value: Any) -> str:
    return str(int(value))


def _string_of_bool(frame: Frame, value: bool) -> str:
    return "true" if value else "false"


def _string_of_double(frame: Frame, value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value).removesuffix(".0")


def _string_of_bytes(frame: Frame, value: bytes) -> str:
    charge_making(frame, len(value))
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid UTF-8") from None


def _bytes_of_string(frame: Frame, text: str) -> bytes:
    charge_making(frame, len(text))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EvaluationError("not encodable as UTF-8") from None


def _timestamp_of_int(frame: Frame, value: int) -> Timestamp:
    return times.timestamp(value * 10**9)


def _timestamp_of_string(frame: Frame, text: str) -> Timestamp:
    charge(frame, TIMESTAMP_TEXT)
    return times.parse_timestamp(text)


def _duration_of_string(frame: Frame, text: str) -> Duration:
    charge(frame, 4 * min(len(text), times.LONGEST))
    return times.parse_duration(text)


def _string_of_timestamp(frame: Frame, value: Timestamp) -> str:
    charge(frame, TIMESTAMP_TEXT)
    return times.timestamp_text(value)


def _string_of_duration(frame: Frame, value: Duration) -> str:
    return times.duration_text(value)


def _timestamp_part(name: str, frame: Frame, value: Timestamp) -> int:
    charge(frame, 10)
    return times.timestamp_part(name, value)


def timestamp_part_in(name: str, zone: tzinfo) -> Overload:
    """Return the overload of the method *name* of timestamps for a known time zone."""

    def part(frame: Frame, value: Timestamp) -> int:
        charge(frame, 10)
        return times.timestamp_part(name, value, zone)

    return Overload((TIMESTAMP,), INT, part)


def _timestamp_part_in(name: str, frame: Frame, value: Timestamp, zone: str) -> int:
    charge(frame, UNKNOWN_ZONE)
    return times.timestamp_part(name, value, times.zone(zone))


def _duration_part(name: str, frame: Frame, value: Duration) -> int:
    return times.duration_part(name, value)


def _time_methods() -> dict[str, list[Overload]]:
    methods: dict[str, list[Overload]] = {}
    for name in times.TIMESTAMP_PARTS:
        methods[name] = [
            Overload((TIMESTAMP,), INT, partial(_timestamp_part, name)),
            Overload((TIMESTAMP, STRING), INT, partial(_timestamp_part_in, name)),
        ]
    for name in ("getMilliseconds", *times.DURATION_PARTS):
        methods[name].append(Overload((DURATION,), INT, partial(_duration_part, name)))
    return methods


_LIST: Final = list_of(DYN)
_MAP: Final = map_of(DYN, DYN)
_SIZES: Final = [Overload((kind,), INT, _size) for kind in (STRING, BYTES, _LIST, _MAP)]

OPERATORS: Final[dict[str, list[Overload]]] = {
    "+": [
        Overload((INT, INT), INT, _add_int),
        Overload((UINT, UINT), UINT, _add_uint),
        Overload((DOUBLE, DOUBLE), DOUBLE, _add_double),
        Overload((STRING, STRING), STRING, _concatenate),
        Overload((BYTES, BYTES), BYTES, _concatenate),
        Overload((_LIST, _LIST), _LIST, _concatenate_lists),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, _add_times),
        Overload((DURATION, TIMESTAMP), TIMESTAMP, _add_times),
        Overload((DURATION, DURATION), DURATION, _add_durations),
    ],
    "-": [
        Overload((INT, INT), INT, _subtract_int),
        Overload((UINT, UINT), UINT, _subtract_uint),
        Overload((DOUBLE, DOUBLE), DOUBLE, _subtract_double),
        Overload((TIMESTAMP, TIMESTAMP), DURATION, _subtract_to_duration),
        Overload((DURATION, DURATION), DURATION, _subtract_to_duration),
        Overload((TIMESTAMP, DURATION), TIMESTAMP, _subtract_to_timestamp),
        Overload((INT,), INT, _negate_int),
        Overload((DOUBLE,), DOUBLE, _negate_double),
    ],
    "*": [
        Overload((INT, INT), INT, _multiply_int),
        Overload((UINT, UINT), UINT, _multiply_uint),
        Overload((DOUBLE, DOUBLE), DOUBLE, _multiply_double),
    ],
    "/": [
        Overload((INT, INT), INT, _divide_int),
        Overload((UINT, UINT), UINT, _divide_uint),
        Overload((DOUBLE, DOUBLE), DOUBLE, _divide_double),
    ],
    "%": [Overload((INT, INT), INT, _remainder_int), Overload((UINT, UINT), UINT, _remainder_uint)],
    "!": [Overload((BOOL,), BOOL, _not)],
}

FUNCTIONS: Final[dict[str, list[Overload]]] = {
    "size": _SIZES,
    "dyn": [Overload((DYN,), DYN, _same)],
    "type": [Overload((DYN,), TYPE, _type_of)],
    "int": [
        Overload((INT,), INT, _same),
        Overload((UINT,), INT, _int_of),
        Overload((DOUBLE,), INT, _int_of_double),
        Overload((STRING,), INT, _int_of_string),
        Overload((TIMESTAMP,), INT, _int_of_timestamp),
    ],
    "uint": [
        Overload((UINT,), UINT, _same),
        Overload((INT,), UINT, _uint_of),
        Overload((DOUBLE,), UINT, _uint_of_double),
        Overload((STRING,), UINT, _uint_of_string),
    ],
    "double": [
        Overload((DOUBLE,), DOUBLE, _same),
        Overload((INT,), DOUBLE, _double_of),
        Overload((UINT,), DOUBLE, _double_of),
        Overload((STRING,), DOUBLE, _double_of_string),
    ],
    "bool": [Overload((BOOL,), BOOL, _same), Overload((STRING,), BOOL, _bool_of_string)],
    "string": [
        Overload((STRING,), STRING, _same),
        Overload((INT,), STRING, _string_of_number),
        Overload((UINT,), STRING, _string_of_number),
        Overload((DOUBLE,), STRING, _string_of_double),
        Overload((BOOL,), STRING, _string_of_bool),
        Overload((BYTES,), STRING, _string_of_bytes),
        Overload((TIMESTAMP,), STRING, _string_of_timestamp),
        Overload((DURATION,), STRING, _string_of_duration),
    ],
    "bytes": [Overload((BYTES,), BYTES, _same), Overload((STRING,), BYTES, _bytes_of_string)],
    "timestamp": [
        Overload((TIMESTAMP,), TIMESTAMP, _same),
        Overload((STRING,), TIMESTAMP, _timestamp_of_string),
        Overload((INT,), TIMESTAMP, _timestamp_of_int),
    ],
    "duration": [Overload((DURATION,), DURATION, _same), Overload((STRING,), DURATION, _duration_of_string)],
}

METHODS: Final[dict[str, list[Overload]]] = {
    "size": _SIZES,
    "contains": [Overload((STRING, STRING), BOOL, _contains)],
    "startsWith": [Overload((STRING, STRING), BOOL, _starts_with)],
    "endsWith": [Overload((STRING, STRING), BOOL, _ends_with)],
    "join": [
        Overload((list_of(STRING),), STRING, _join),
        Overload((list_of(STRING), STRING), STRING, _join),
    ],
    **_time_methods(),
}
"""Functions that are called on their first operand."""
