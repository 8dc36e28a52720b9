"""JSON objects as values of the language."""

import json
from typing import Any

_SMALLEST = -(2**63)
_LARGEST = 2**63 - 1


def json_object(text: bytes | str) -> dict[str, Any] | None:
    """Decode *text*; None when it is no JSON object (RFC 8259), in UTF-8.

    Integers of 64 bits become ints, all other numbers doubles.
    """
    try:
        value = _DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _integer(digits: str) -> int | float:
    # Python refuses to read integers of thousands of digits, and they are none of the language's anyway.
    if len(digits) < 19 or (len(digits) <= 20 and _SMALLEST <= int(digits) <= _LARGEST):
        return int(digits)
    return float(digits)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)
