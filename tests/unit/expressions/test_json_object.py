"""JSON objects as values: which texts are one, and what becomes of numbers."""

from __future__ import annotations

from typing import Any

import pytest

from vrata.expressions import json_object


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", {}),
        ('{"a": [1, "ü", null, true, {"b": 1.5}]}', {"a": [1, "ü", None, True, {"b": 1.5}]}),
        (b'{"a": "\xc3\xbc"}', {"a": "ü"}),
        (b'{"a": 9223372036854775807, "b": -9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        (b'{"a": 9223372036854775808, "b": -9223372036854775809}', {"a": 2.0**63, "b": -(2.0**63)}),
        (b'{"a": 1.0, "b": 1e2}', {"a": 1.0, "b": 100.0}),
        (b'{"a": ' + b"1" * 5000 + b"}", {"a": float("inf")}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[]", None),
        (b"1", None),
        (b"", None),
        (b"{", None),
        (b'{"a": NaN}', None),
        (b'{"a": Infinity}', None),
        (b'{"a": "\xff"}', None),
        (b'\xef\xbb\xbf{"a": 1}', None),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
    ],
)
def test_texts(text: bytes | str, expected: dict[str, Any] | None) -> None:
    assert json_object(text) == expected


def test_types_of_numbers() -> None:
    value = json_object(b'{"int": 5, "double": 5.0, "large": 18446744073709551616}')
    assert value is not None
    assert {name: type(number) for name, number in value.items()} == {"int": int, "double": float, "large": float}
