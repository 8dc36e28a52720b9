"""Values of expressions as the text of a header."""

from __future__ import annotations

import json
from base64 import b64encode
from math import isfinite
from typing import Any, Final

from vrata.expressions.times import duration_text, timestamp_text
from vrata.expressions.values import Duration, Timestamp, value_of

LONGEST_VALUE: Final = 8192
"""Bytes of a header's value."""

_CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])


def header_text(value: Any) -> bytes | None:
    """Return *value* as what stands in a header, in UTF-8; None when it is nothing that can.

    Texts stand as they are, ``true`` and ``false`` for bools, whole numbers without point and exponent, the items of
    lists with commas between them, and JSON for maps. Nothing can stand for null, for what is empty or longer than
    `LONGEST_VALUE`, and for texts with control characters: those could begin a header of their own (RFC 9110 §5.5).
    """
    if type(value) is list:
        texts = [_text(item) for item in value]
        text = ",".join(each for each in texts if each is not None)
    else:
        text = _text(value) or ""
    try:
        encoded = text.encode().strip(b" \t")
    except UnicodeEncodeError:
        return None
    if not encoded or len(encoded) > LONGEST_VALUE or encoded.translate(None, _CONTROLS) != encoded:
        return None
    return encoded


def _text(value: Any) -> str | None:
    plain = _plain(value)
    if plain is None or isinstance(plain, str):
        return plain
    return json.dumps(plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return *value* as JSON has it. There are no numbers beyond the doubles in it: null stands for them."""
    match value:
        case dict():
            return {_key(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case bytes():
            return b64encode(value).decode()
        case Timestamp():
            return timestamp_text(value)
        case Duration():
            return duration_text(value)
        case float():
            if not isfinite(value):
                return None
            return int(value) if value.is_integer() else value
        case _:
            return value


def _key(key: Any) -> str:
    value = value_of(key)
    return value if isinstance(value, str) else json.dumps(value)
