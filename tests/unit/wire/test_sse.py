"""The parser of server-sent events, fed in pieces of every size."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.wire.sse import DEFAULT_EVENT, EventStreamParser, ServerSentEvent

CASES = {
    "one event": (b"event: snapshot\ndata: {}\n\n", [("snapshot", b"{}")]),
    "two events": (b"event: a\ndata: 1\n\nevent: b\ndata: 2\n\n", [("a", b"1"), ("b", b"2")]),
    "no type": (b"data: x\n\n", [(DEFAULT_EVENT, b"x")]),
    "type does not outlive its event": (b"event: a\ndata: 1\n\ndata: 2\n\n", [("a", b"1"), (DEFAULT_EVENT, b"2")]),
    "several data lines": (b"data: x\ndata: y\ndata:\n\n", [(DEFAULT_EVENT, b"x\ny\n")]),
    "CRLF": (b"event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", [("a", b"x"), (DEFAULT_EVENT, b"y")]),
    "CR": (b"event: a\rdata: x\r\rdata: y\r\r", [("a", b"x"), (DEFAULT_EVENT, b"y")]),
    "mixed line ends": (b"event: a\r\ndata: x\n\rdata: y\r\n\n", [("a", b"x"), (DEFAULT_EVENT, b"y")]),
    "keep-alive comments": (b": keepalive\n\n:\n\ndata: x\n: y\n\n", [(DEFAULT_EVENT, b"x")]),
    "one space after the colon is no data": (b"data:x\ndata:  y\n\n", [(DEFAULT_EVENT, b"x\n y")]),
    "colons in data": (b'data: {"a":"b: c"}\n\n', [(DEFAULT_EVENT, b'{"a":"b: c"}')]),
    "unknown fields, id and retry": (b"id: 7\nretry: 10\nfoo: bar\nbaz\ndata: x\n\n", [(DEFAULT_EVENT, b"x")]),
    "field without colon": (b"data\n\n", [(DEFAULT_EVENT, b"")]),
    "event without data": (b"event: a\n\ndata: x\n\n", [(DEFAULT_EVENT, b"x")]),
    "byte order mark": (b"\xef\xbb\xbfdata: x\n\n", [(DEFAULT_EVENT, b"x")]),
    "byte order mark only at the start": (b"\n\xef\xbb\xbfdata: x\n\n", []),
    "unfinished event": (b"data: x\n\ndata: y\n", [(DEFAULT_EVENT, b"x")]),
    "other separators stay in the data": (
        "data: a\x0bb\x0cc\x1cd\x85e\u2028f\n\n".encode(),
        [(DEFAULT_EVENT, "a\x0bb\x0cc\x1cd\x85e\u2028f".encode())],
    ),
    "type that is no UTF-8": (b"event: \xff\ndata: x\n\n", [("\ufffd", b"x")]),
}


def events_of(*chunks: bytes) -> list[tuple[str, bytes]]:
    parser = EventStreamParser()
    events: list[ServerSentEvent] = []
    for chunk in chunks:
        events += parser.feed(chunk)
    return [(event.event, event.data) for event in events]


@pytest.mark.parametrize("name", CASES)
def test_a_stream_at_once(name: str) -> None:
    stream, expected = CASES[name]
    assert events_of(stream) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_stream_cut_in_two_at_every_byte(name: str) -> None:
    stream, expected = CASES[name]
    for cut in range(len(stream) + 1):
        assert events_of(stream[:cut], stream[cut:]) == expected, f"cut at {cut}"


@pytest.mark.parametrize("name", CASES)
def test_a_stream_byte_by_byte_with_empty_chunks_between(name: str) -> None:
    stream, expected = CASES[name]
    chunks = [piece for index in range(len(stream)) for piece in (stream[index : index + 1], b"")]
    assert events_of(*chunks) == expected


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_any_bytes_mean_the_same_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert events_of(*pieces) == events_of(stream)


def test_a_line_of_many_megabytes_costs_linear_time() -> None:
    chunk = b"x" * 16_384
    parser = EventStreamParser()
    parser.feed(b"data: ")
    began = time.process_time()
    for _ in range(2000):
        assert parser.feed(chunk) == []
    (event,) = parser.feed(b"\n\n")
    # Quadratic handling of these 32 MiB would take minutes.
    assert time.process_time() - began < 5.0
    assert len(event.data) == 2000 * len(chunk)
