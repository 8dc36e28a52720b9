"""Edited heads: what was asked for is different, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.downstream_client import response_head
from tests.support.request_message import accepted, emitted, message
from vrata.wire.http1.editing import SAME_LENGTH, UNKNOWN_LENGTH, edited_request, edited_response, fitted_response
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead

NAMES = st.sampled_from([b"X-A", b"x-b", b"X_A", b"Cookie", b"TE", b"X-Forwarded-For", b"Connection", b"Expect"])
VALUES = st.sampled_from([b"", b"1", b"x-b", b"trailers", b"a, b", b"100-continue"])
LINES = st.lists(st.tuples(NAMES, VALUES).filter(lambda pair: pair[0] != b"Expect" or pair[1] == b"100-continue"))


def framing(head: RequestHead) -> tuple[object, ...]:
    return (
        *(head.method, head.target, head.minor, head.authority, head.chunked, head.content_length, head.keep_alive),
        *(head.expects_continue, head.upgrade, head.accepts_trailers, head.forwarded_for),
    )


@given(LINES, st.sets(st.sampled_from([b"x-a", b"x-b", b"cookie", b"te", b"connection", b"host", b"expect"])))
@settings(max_examples=100)
def test_an_edited_request_differs_in_what_was_asked_for(pairs: list[tuple[bytes, bytes]], removed: set[bytes]) -> None:
    head = accepted(message(*(b"%s: %s" % pair for pair in pairs), b"Content-Length: 3", line=b"POST /a?b HTTP/1.1"))
    edited = edited_request(head, tuple(removed), b"x-new: 1\r\n", SAME_LENGTH)
    assert framing(edited) == framing(head)
    assert edited.request_id == head.request_id
    asked_for = {name.replace(b"_", b"-") for name in removed} - {b"te", b"connection", b"host", b"expect"}
    gone = [line for line in head.passed if line.partition(b":")[0].lower().replace(b"_", b"-") in asked_for]
    kept = [line for line in emitted(head) if line not in gone]
    found = [line for line in emitted(edited) if line != b"x-new: 1" and not line.startswith(b"x-request-id:")]
    assert found == [line for line in kept if not line.startswith(b"x-request-id:")]
    assert b"x-new: 1" in emitted(edited)


@pytest.mark.parametrize("nominated", [b"x-user", b"X-User, x-request-id", b"close, x-user", b"upgrade, X-USER, te"])
def test_what_connection_nominates_is_out_of_an_edited_request_and_nothing_that_is_added(nominated: bytes) -> None:
    head = accepted(message(b"Connection: " + nominated, b"X-User: admin", b"Upgrade: websocket", b"TE: trailers"))
    edited = edited_request(head, (b"x-user",), b"x-user: reader\r\nx-other: 1\r\n", SAME_LENGTH)
    assert framing(edited) == framing(head)
    assert edited.values(b"x-user") == [b"reader"]
    assert {b"x-user: reader", b"x-other: 1"} <= set(emitted(edited))
    # Also where nobody removes it: what was not to go on does not come back.
    kept = edited_request(head, (), b"x-other: 1\r\n", SAME_LENGTH)
    assert kept.values(b"x-user") == []


def test_what_connection_nominates_is_out_of_an_edited_response() -> None:
    head = response_head(b"Connection: x-user, close, date, server", b"X-User: 1", b"Server: them")
    edited = edited_response(head, (), b"x-user: 2\r\nserver: us\r\n", SAME_LENGTH)
    assert edited.values(b"x-user") == [b"2"]
    assert edited.server == b"us"
    assert not edited.dated


def test_a_name_is_removed_in_its_spellings() -> None:
    head = accepted(message(b"X-User: 1", b"x_user: 2", b"X-Users: 3"))
    assert edited_request(head, (b"x-user",), b"", SAME_LENGTH).passed == [
        b"X-Users: 3",
        b"x-request-id: " + head.request_id,
    ]


@pytest.mark.parametrize(
    ("length", "chunked", "expected"),
    [(SAME_LENGTH, False, 7), (UNKNOWN_LENGTH, True, -1), (0, False, 0), (12, False, 12)],
)
def test_a_message_gets_the_length_of_its_new_content(length: int, chunked: bool, expected: int) -> None:
    request = edited_request(
        accepted(message(b"Content-Length: 7", line=b"POST / HTTP/1.1")), (b"content-length",), b"", length
    )
    assert (request.chunked, request.content_length) == (chunked, expected)
    response = edited_response(response_head(b"Content-Length: 7"), (b"content-length",), b"", length)
    assert (response.chunked, response.content_length) == (chunked, expected)


def test_a_request_keeps_the_identifier_that_was_made_for_it() -> None:
    head = accepted(message())
    made = head.request_id
    assert edited_request(head, (), b"", SAME_LENGTH).request_id == made
    assert edited_request(head, (b"x-request-id",), b"x-request-id: mine\r\n", SAME_LENGTH).request_id == b"mine"


def test_the_authority_of_an_absolute_target_stays() -> None:
    head = accepted(message(line=b"GET http://b.test/c?d HTTP/1.1"))
    edited = edited_request(head, (), b"", SAME_LENGTH)
    assert (edited.target, edited.authority) == (b"/c?d", b"b.test")


@pytest.mark.parametrize(
    "line", [b"x: a\nb: c\r\n", b"x y: 1\r\n", b": 1\r\n", b"x: \0\r\n", b"content-length: 1\r\n", b"host: b\r\n"]
)
def test_lines_that_are_none_are_refused(line: bytes) -> None:
    with pytest.raises(MalformedMessage):
        edited_request(accepted(message(b"Content-Length: 3", line=b"POST / HTTP/1.1")), (), line, SAME_LENGTH)


def test_an_edited_response_differs_in_what_was_asked_for() -> None:
    head = response_head(b"X-A: 1", b"x_a: 2", b"Server: them", b"Content-Length: 3", b"Connection: close", status=404)
    edited = edited_response(head, (b"x-a",), b"x-b: 3\r\n", SAME_LENGTH)
    assert edited.emit(chunked=False, close=False, keep_alive_1_0=False, server=None) == (
        b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-b: 3\r\n"
        b"content-length: 3\r\nserver: them\r\n\r\n"
    )
    nameless = edited_response(head, (b"server", b"date"), b"", SAME_LENGTH)
    assert nameless.server is None
    assert nameless.values(b"date") == []


def test_what_does_not_fit_into_a_response_leaves_its_removals_alone() -> None:
    head = response_head(b"X-Powered-By: old", *[b"X-%d: 1" % number for number in range(97)])
    added = [fitted_response(head, (b"x-powered-by",), b"x-a: 1\r\n" * count).values(b"x-a") for count in (2, 3)]
    assert added == [[b"1"] * 2, []]
    removed = fitted_response(head, (b"x-powered-by",), b"x-a: 1\r\n" * 3)
    assert (removed.values(b"x-powered-by"), removed.values(b"x-96")) == ([], [b"1"])
    assert fitted_response(head, (), b"x-a: 1\r\n" * 3) is head
