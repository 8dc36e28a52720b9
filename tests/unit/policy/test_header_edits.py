"""What a list of additions and removals comes to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.request_message import accepted, message
from vrata.model.middleware.headers import HeaderEdit
from vrata.policy.header_edits import HeaderEdits, compile_edits
from vrata.policy.template import Placeholders, field_value
from vrata.wire.http1.editing import SAME_LENGTH, edited_request

PLACEHOLDERS = Placeholders[str]({"value": lambda value: value}, {})


def edits(
    *add: tuple[str, str] | tuple[str, str, bool], remove: tuple[str, ...] = (), without: str = ""
) -> HeaderEdits[str] | None:
    parsed = [HeaderEdit.model_validate(_document(*each)) for each in add]
    return compile_edits(parsed, remove, PLACEHOLDERS, lambda name: name != without)


def _document(key: str, value: str, append: bool | None = None) -> dict[str, Any]:
    return {"key": key, "value": value} if append is None else {"key": key, "value": value, "append": append}


def outcome(found: HeaderEdits[str] | None, value: str = "") -> tuple[set[bytes], bytes]:
    assert found is not None
    return set(found.removed), found.lines(value)


def test_a_value_is_put_beside_others_unless_it_replaces_them() -> None:
    assert outcome(edits(("X-A", "1"))) == (set(), b"X-A: 1\r\n")
    assert outcome(edits(("X-A", "1", True))) == (set(), b"X-A: 1\r\n")
    assert outcome(edits(("X-A", "1", False))) == ({b"x-a"}, b"X-A: 1\r\n")


def test_edits_of_one_field_follow_each_other() -> None:
    assert outcome(edits(("X-A", "1"), ("x-a", "2", False), ("X-A", "3"))) == ({b"x-a"}, b"x-a: 2\r\nX-A: 3\r\n")


def test_a_value_of_which_there_is_one_at_most_replaces_it() -> None:
    assert outcome(edits(("X-Request-Id", "1"), ("x-request-id", "2"))) == ({b"x-request-id"}, b"x-request-id: 2\r\n")


def test_removals_come_after_additions() -> None:
    assert outcome(edits(("X-A", "1"), ("X-B", "2"), remove=("x-A",))) == ({b"x-a"}, b"X-B: 2\r\n")


def test_values_are_filled_in_and_cannot_begin_another_line() -> None:
    found = edits(("X-A", "<${value}>"), ("X-B", "2"))
    assert outcome(found, "a\r\nX-Evil: 1") == (set(), b"X-A: <aX-Evil: 1>\r\nX-B: 2\r\n")


@pytest.mark.parametrize("append", [True, False])
def test_what_cannot_be_edited_is_left_out(append: bool) -> None:
    assert edits(("Host", "a", append), remove=("host",), without="host") is None
    assert outcome(edits(("Host", "a", append), ("X-A", "1"), without="host")) == (set(), b"X-A: 1\r\n")


def test_nothing_to_do() -> None:
    assert edits() is None


@given(st.text())
def test_whatever_is_filled_in_is_one_value_of_a_field(value: str) -> None:
    edited = edited_request(accepted(message()), (), outcome(edits(("X-A", "${value}")), value)[1], SAME_LENGTH)
    assert edited.values(b"x-a") == [field_value(value)]
    assert len(edited.lines) == len(accepted(message()).lines) + 2  # the identifier of the request, and this one
