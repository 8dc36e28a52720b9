from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tokens import claims
from vrata.expressions import CLAIMS, compile_expression, unambiguous_json_object
from vrata.policy.jwt.header_text import LONGEST_VALUE, header_text


class Claims:
    now = 1_700_000_000

    def __init__(self, content: dict[str, Any]) -> None:
        self.claims = content


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("claims.sub", b"ann"),
        ("claims.yes", b"true"),
        ("!claims.yes", b"false"),
        ("claims.whole", b"42"),
        ("claims.double", b"42"),
        ("claims.negative", b"-7"),
        ("claims.fraction", b"2.5"),
        ("claims.large", b"9007199254740993"),
        ("claims.huge", b"1" + b"0" * 22),
        ("claims.tiny", b"1e-07"),
        ("1.0 / 0.0", None),
        ("claims.none", None),
        ("claims.empty", None),
        ("claims.blank", None),
        ("claims.list", b"a,1,true,2.5"),
        ("claims.holes", b"a,b"),
        ("claims.nothing", None),
        ("claims.pairs", b'{"a":1},[1,2]'),
        ("claims.map", b'{"a":{"b":[1,null,"x"]},"\\u00e9":1}'),
        ("claims.empty_map", b"{}"),
        ("claims.accent", b"caf\xc3\xa9"),
        ("claims.spaced", b"a b"),
        ("claims.tab", b"a\tb"),
        ("claims.crlf", None),
        ("claims.cr", None),
        ("claims.nul", None),
        ("claims.delete", None),
        ("claims.surrogate", None),
        ("claims.bad_list", None),
        ("claims.long", None),
        ("claims.longest", b"x" * LONGEST_VALUE),
        ("now", b"1700000000"),
        ("5u", b"5"),
        ("b'\\xff\\x00'", b"/wA="),
        ("timestamp(now)", b"2023-11-14T22:13:20Z"),
        ("duration('90s')", b"90s"),
        ("type(now)", b"int"),
        ("{1: 'a', true: 'b', 'c': 2.0}", b'{"1":"a","true":"b","c":2}'),
    ],
)
def test_values(expression: str, text: bytes | None) -> None:
    content = {
        "sub": "ann",
        "yes": True,
        "whole": 42,
        "double": 42.0,
        "negative": -7,
        "fraction": 2.5,
        "large": 9007199254740993,
        "huge": 1e22,
        "tiny": 1e-7,
        "none": None,
        "empty": "",
        "blank": "  ",
        "list": ["a", 1, True, 2.5],
        "holes": ["a", None, "b"],
        "nothing": [],
        "pairs": [{"a": 1}, [1, 2]],
        "map": {"a": {"b": [1, None, "x"]}, "é": 1},
        "empty_map": {},
        "accent": "café",
        "spaced": " a b ",
        "tab": "a\tb",
        "crlf": "a\r\nX-Admin: yes",
        "cr": "a\rb",
        "nul": "a\0b",
        "delete": "a\x7fb",
        "surrogate": "\ud800",
        "bad_list": ["a", "b\nc"],
        "long": "x" * (LONGEST_VALUE + 1),
        "longest": "x" * LONGEST_VALUE,
    }
    value = compile_expression(expression, CLAIMS, any_result=True).evaluate(Claims(claims(**content) | {"none": None}))
    assert header_text(value) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_claim_is_nothing_leaves_its_line(value: Any) -> None:
    content = unambiguous_json_object(json.dumps({"a": value}))
    assert content is not None
    text = header_text(content["a"])
    if text is not None:
        assert text == text.strip(b" \t") != b""
        assert not any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in text)
