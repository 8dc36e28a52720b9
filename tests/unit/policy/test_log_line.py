"""Lines of an access log, as their readers take them apart."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.policy.log_line import LogLine, json_line, pairs_line
from vrata.policy.template import Placeholders

PLACEHOLDERS = Placeholders[str]({"value": lambda value: value}, {})
PAIR = re.compile(r'([^= "]+)=("(?:[^"\\]|\\.)*"|[^" =]+)(?: |$)')


def filled_in(line: LogLine[str], value: str = "") -> str:
    rendered = line.render(value).decode("ascii")
    assert rendered.endswith("\n")
    assert rendered.count("\n") == 1
    return rendered[:-1]


def pairs_of(text: str) -> list[tuple[str, str]]:
    """Take a line apart as any reader of such lines does."""
    pairs = []
    at = 0
    while at < len(text):
        found = PAIR.match(text, at)
        assert found is not None, text[at:]
        key, value = found.groups()
        pairs.append((key, json.loads(value) if value.startswith('"') else value))
        at = found.end()
    return pairs


def test_members_of_json_are_sorted_and_strings() -> None:
    line = json_line({"b": "${value}", "a": "1", "é": "x"}, PLACEHOLDERS)
    assert filled_in(line, "2") == '{"a":"1","b":"2","\\u00e9":"x"}'


def test_pairs_keep_their_order() -> None:
    assert filled_in(pairs_line({"b": "${value}", "a": "1"}, PLACEHOLDERS), "2") == "b=2 a=1"


def test_a_line_without_members() -> None:
    assert filled_in(json_line({}, PLACEHOLDERS)) == "{}"
    assert filled_in(pairs_line({}, PLACEHOLDERS)) == ""


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain/path?x", "plain/path?x"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("a=b", '"a=b"'),
        ("back\\slash", r'"back\\slash"'),
        ("line\nend\r", r'"line\nend\r"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\x7f\x9b", r'"\u007f\u009b"'),
        ("é", r'"\u00e9"'),
        ("\udcff", r'"\ufffd"'),
        ("\u2028", r'"\u2028"'),
    ],
)
def test_values_of_pairs_are_quoted_where_they_have_to(value: str, written: str) -> None:
    assert filled_in(pairs_line({"k": "${value}"}, PLACEHOLDERS), value) == f"k={written}"


def test_what_a_key_cannot_hold_is_replaced() -> None:
    assert filled_in(pairs_line({'a b="c\n': "1"}, PLACEHOLDERS)) == "a_b__c_=1"


@given(st.text(st.characters(codec="utf-8")))
def test_every_value_can_be_read_again(value: str) -> None:
    assert json.loads(filled_in(json_line({"k": "${value}"}, PLACEHOLDERS), value)) == {"k": value}
    assert pairs_of(filled_in(pairs_line({"k": "${value}", "z": "1"}, PLACEHOLDERS), value)) == [
        ("k", value),
        ("z", "1"),
    ]
