"""JSON objects as values of the language."""

import json
from math import isfinite
from typing import Any, Final

DEEPEST_UNAMBIGUOUS: Final = 32
"""Objects and lists that may be inside each other in what :func:`unambiguous_json_object` reads, itself included."""

_SMALLEST = -(2**63)
_LARGEST = 2**63 - 1


def json_object(text: bytes | str) -> dict[str, Any] | None:
    """Decode *text*; None when it is no JSON object (RFC 8259), in UTF-8.

    Integers of 64 bits become ints, all other numbers doubles.
    """
    return _decoded(_DECODER, text)


def unambiguous_json_object(text: bytes | str) -> dict[str, Any] | None:
    """Decode *text* like :func:`json_object`, but only what every reader takes for the same.

    None also when an object has a member twice (RFC 8259 §4), when a number is beyond the doubles, and when it is
    nested deeper than `DEEPEST_UNAMBIGUOUS`.
    """
    value = _decoded(_STRICT_DECODER, text)
    return value if value is None or _is_shallow(value) else None


def _decoded(decoder: json.JSONDecoder, text: bytes | str) -> dict[str, Any] | None:
    try:
        value = decoder.decode(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_shallow(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(DEEPEST_UNAMBIGUOUS):
        inside = [item for each in level for item in (each.values() if type(each) is dict else each)]
        level = [item for item in inside if type(item) is dict or type(item) is list]
        if not level:
            return True
    return False


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits, and they are none of the language's anyway.
    if len(digits) < 19 or (len(digits) <= 20 and _SMALLEST <= int(digits) <= _LARGEST):
        return int(digits)
    return float(digits)


def _finite_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else _finite(_integer(digits))


def _finite_number(text: str) -> int | float:
    return _finite(float(text))


def _finite(number: int | float) -> int | float:
    if not isfinite(number):
        raise ValueError("the number is beyond the doubles")
    return number


def _without_repetition(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("an object has a member twice")
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)
_STRICT_DECODER = json.JSONDecoder(
    parse_int=_finite_integer,
    parse_float=_finite_number,
    parse_constant=_refuse,
    object_pairs_hook=_without_repetition,
)
