"""Variables of the environment in texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.config.substitution import expand, substitute

ENVIRON = {"NAME": "value", "EMPTY": "", "_x1": "under", "HOSTILE": 'a: "b"\n- ${NAME} $$ {{c}}'}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${NAME}", "value"),
        ("a-${NAME}-${_x1}-z", "a-value-under-z"),
        ("${UNSET}", ""),
        ("${EMPTY}", ""),
        ("${UNSET:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "value"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b c/d}", "a:-b c/d"),
        ("${UNSET:-5$$}", "5$"),
        ("$NAME", "$NAME"),
        ("pa$word", "pa$word"),
        ("$", "$"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("$$$${NAME}", "$${NAME}"),
        ("$$${NAME}", "$value"),
        ("{NAME}", "{NAME}"),
        ("${HOSTILE}", ENVIRON["HOSTILE"]),
        ("{{secret:env:${NAME}}}", "{{secret:env:value}}"),
    ],
)
def test_a_text(text: str, expanded: str) -> None:
    assert expand(text, ENVIRON) == expanded


@pytest.mark.parametrize("text", ["${", "${NAME", "${}", "${1A}", "${A B}", "${NAME-default}", "${A:-${B}}", "${ä}"])
def test_a_text_that_begins_a_substitution_and_is_none(text: str) -> None:
    document, problems = substitute({"a": {"b": ["x", text]}, "c": "${NAME}"}, ENVIRON)
    assert [problem.path for problem in problems] == ["a.b[1]"]
    assert "neither ${NAME} nor ${NAME:-default}" in problems[0].reason
    assert document["c"] == "value"


def test_only_texts_are_touched_and_keys_are_not() -> None:
    document: dict[str, Any] = {"${NAME}": "${NAME}", "n": 5, "b": True, "none": None, "list": ["$$", 1.5]}
    expanded, problems = substitute(document, ENVIRON)
    assert not problems
    assert expanded == {"${NAME}": "value", "n": 5, "b": True, "none": None, "list": ["$", 1.5]}


def test_a_text_that_becomes_empty_is_not_given() -> None:
    assert substitute({"a": "${UNSET}", "b": ""}, {})[0] == {"a": None, "b": ""}


@given(st.text(max_size=20), st.text(max_size=20))
def test_doubled_dollars_protect_any_text_and_values_are_not_scanned_again(text: str, value: str) -> None:
    assert expand(text.replace("$", "$$"), {}) == text
    assert expand("${A}", {"A": value}) == value
