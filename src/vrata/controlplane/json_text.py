"""JSON as the API reads and writes it: strict in, compact out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isinf
from typing import Any, NoReturn


class InvalidJsonError(ValueError):
    """The bytes are not one JSON value; the text says why, without repeating what was sent."""


def parse(text: bytes) -> Any:
    """Decode exactly one JSON value (RFC 8259).

    Stricter than ``json.loads``: no duplicate keys, no ``NaN`` or ``Infinity``, no number beyond a double's range, no
    lone surrogates (they cannot be written back as UTF-8), nothing after the value. Raises :class:`InvalidJsonError`.
    """
    if not text.strip():
        raise InvalidJsonError("the body is empty")
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        if b"\\u" in text:
            encode(value)
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"not valid UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise InvalidJsonError("a string contains half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        what = "data after the JSON value" if error.msg == "Extra data" else error.msg
        raise InvalidJsonError(f"{what} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise InvalidJsonError("nested too deeply") from None
    except InvalidJsonError:
        raise
    except ValueError:
        # int() refuses thousands of digits: quadratic time otherwise (CVE-2020-10735).
        raise InvalidJsonError("a number has too many digits") from None
    return value


def load(text: bytes) -> Any:
    """Decode what :func:`encode` made; faster than :func:`parse`, and not for what others sent."""
    return json.loads(text)


def encode(value: Any) -> bytes:
    """The compact form of *value*, in UTF-8 and without a newline."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def join(values: Iterable[bytes]) -> bytes:
    """The array of values that are encoded already."""
    return b"[" + b",".join(values) + b"]"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidJsonError(f"duplicate key {json.dumps(key)}")
            seen.add(key)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJsonError(f"{name} is not JSON")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise InvalidJsonError("a number is out of range")
    return number
