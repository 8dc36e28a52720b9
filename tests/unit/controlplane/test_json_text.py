from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.controlplane import json_text
from vrata.controlplane.json_text import InvalidJsonError

SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(SCALARS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(VALUES)
def test_what_was_encoded_is_parsed_and_loaded_again(value: Any) -> None:
    text = json_text.encode(value)
    assert b"\n" not in text
    assert json_text.parse(text) == value
    assert json_text.load(text) == value


@given(VALUES)
def test_escaped_json_is_parsed_too(value: Any) -> None:
    assert json_text.parse(json.dumps(value, indent=2).encode()) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"{", "Expecting property name enclosed in double quotes at line 1 column 2"),
        (b'{"a":1} x', "data after the JSON value at line 1 column 9"),
        (b"{}{}", "data after the JSON value at line 1 column 3"),
        (b'{"a":1,"b":{"c":1,"c":2}}', 'duplicate key "c"'),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "a number is out of range"),
        (b"[" + b"9" * 5000 + b"]", "a number has too many digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not valid UTF-8 at byte 1"),
        (b'"\\ud800"', "a string contains half of a surrogate pair"),
        (b'{"\\uDfff":1}', "a string contains half of a surrogate pair"),
        (b"'a'", "Expecting value at line 1 column 1"),
        (b"\xef\xbb\xbf{}", "Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1 column 1"),
    ],
)
def test_what_is_not_one_json_value_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidJsonError) as refused:
        json_text.parse(text)
    assert str(refused.value) == reason


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert json_text.parse(b'"\\ud834\\udd1e"') == "𝄞"


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(text: bytes) -> None:
    with contextlib.suppress(InvalidJsonError):
        json_text.parse(text)


def test_encoded_values_are_joined_to_an_array() -> None:
    assert json_text.join([]) == b"[]"
    assert json_text.join([b"1", b"{}"]) == b"[1,{}]"
