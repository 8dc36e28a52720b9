"""Queries that are edited, beside the standard library's reading of them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.request_message import accepted, message
from vrata.wire.http1.editing import SAME_LENGTH, edited_request
from vrata.wire.http1.query import edited_query

NAMES = st.sampled_from(["a", "b", "a b", "é", "", "&", "=", "%41", "+"])
PARAMETERS = st.lists(st.tuples(NAMES, st.text(max_size=4)), max_size=6)


def parsed(query: bytes) -> list[tuple[str, str]]:
    return parse_qsl(query.decode("ascii"), keep_blank_values=True)


@given(PARAMETERS, PARAMETERS, st.lists(NAMES, max_size=3))
def test_a_query_has_what_was_assigned_and_keeps_the_rest(
    before: list[tuple[str, str]], assigned: list[tuple[str, str]], removed: list[str]
) -> None:
    query = urlencode(before).encode("ascii")
    edited = parsed(edited_query(query, assigned, removed))
    gone = {*removed, *(name for name, _ in assigned)}
    assert [each for each in edited if each[0] not in gone] == [each for each in parsed(query) if each[0] not in gone]
    expected = {name: value for name, value in assigned if name not in removed}
    assert dict(each for each in edited if each[0] in gone) == expected
    assert len([each for each in edited if each[0] in gone]) == len(expected)


@pytest.mark.parametrize(
    ("query", "edited"),
    [(b"", b"a=1"), (b"b", b"b&a=1"), (b"A=0&%61=0&a&b=%7e", b"A=0&b=%7e&a=1"), (b"x&&y=", b"x&&y=&a=1")],
)
def test_what_is_not_named_stays_as_it_was_written(query: bytes, edited: bytes) -> None:
    assert edited_query(query, [("a", "1")], ()) == edited


@pytest.mark.parametrize(
    ("target", "query", "edited"),
    [
        (b"/a%20b?c", b"d=e", b"/a%20b?d=e"),
        (b"/a?c", b"", b"/a"),
        (b"/a", b"d", b"/a?d"),
        (b"/a?c", None, b"/a?c"),
        (b"*", b"d", b"*"),
    ],
)
def test_the_target_of_an_edited_head(target: bytes, query: bytes | None, edited: bytes) -> None:
    head = accepted(message(line=b"OPTIONS %s HTTP/1.1" % target))
    assert edited_request(head, (), b"", SAME_LENGTH, query).target == edited
