"""What a peer may send how often, by the headers of its frames."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.http2_frames import END_HEADERS, END_STREAM, frame, goaway, window_update
from tests.support.http2_frames import data as content
from tests.support.http2_frames import rst_stream as reset
from tests.support.session_engines import CONTINUATION, GET, HEADERS, POST, head, settings
from vrata.wire.http2 import guard
from vrata.wire.http2.contract import PREFACE
from vrata.wire.http2.guard import Allowance, FrameGuard

START = 1000.0


def met() -> FrameGuard:
    peer = FrameGuard()
    assert peer.feed(PREFACE + settings(), START) == ""
    return peer


PING = frame(6, 0, 0, bytes(8))
FLOODS = [
    pytest.param(PING, guard.PINGS_AT_ONCE, guard.PINGS_PER_SECOND, "PING", id="pings"),
    pytest.param(settings(), guard.SETTINGS_AT_ONCE, guard.SETTINGS_PER_SECOND, "SETTINGS", id="settings"),
    pytest.param(reset(1), guard.RESETS_AT_ONCE, guard.RESETS_PER_SECOND, "RST_STREAM", id="resets"),
    pytest.param(content(1, b""), guard.EMPTY_AT_ONCE, guard.EMPTY_PER_SECOND, "without content", id="empty"),
    pytest.param(content(1, b"a"), guard.TINY_AT_ONCE, guard.TINY_PER_SECOND, "next to no content", id="tiny"),
    pytest.param(
        window_update(1, 1),
        guard.WINDOW_UPDATES_AT_ONCE,
        guard.WINDOW_UPDATES_PER_SECOND,
        "WINDOW_UPDATE",
        id="windows",
    ),
    *(
        pytest.param(each, guard.HINTS_AT_ONCE, guard.HINTS_PER_SECOND, "without a meaning", id=name)
        for name, each in (
            ("priority", frame(2, 0, 1, bytes(5))),
            ("priority-update", frame(0x10, 0, 0, bytes(8))),
            ("unknown", frame(0x77, 0, 0, b"")),
            ("goaway", goaway(0)),
            ("push-promise", frame(5, 4, 1, bytes(4))),
        )
    ),
]


@pytest.mark.parametrize(("flood", "at_once", "per_second", "reason"), FLOODS)
def test_floods(flood: bytes, at_once: int, per_second: int, reason: str) -> None:
    peer = met()
    allowed = at_once - (1 if flood == settings() else 0)
    assert peer.feed(flood * allowed, START) == ""
    assert reason in peer.feed(flood, START)
    # Time goes by.
    assert peer.feed(flood * per_second, START + 1) == ""
    assert reason in peer.feed(flood, START + 1)
    # It does not pile up.
    assert peer.feed(flood * at_once, START + 10000) == ""
    assert reason in peer.feed(flood, START + 10000)


@pytest.mark.parametrize(("flood", "at_once", "per_second", "reason"), FLOODS)
def test_what_comes_no_faster_than_is_allowed(flood: bytes, at_once: int, per_second: int, reason: str) -> None:
    peer = met()
    for number in range(200):
        assert peer.feed(flood * (per_second // 10), START + number / 10) == "", reason


def test_content_and_heads_are_no_flood() -> None:
    peer = met()
    assert peer.feed(content(1, bytes(guard.TINY)) * 100_000, START) == ""
    assert peer.feed(content(1, b"", end=True) * 100_000, START) == ""
    data = b"".join(head(stream, GET, end=True) for stream in range(1, 100_001, 2))
    assert peer.feed(data, START) == ""


def test_rapid_resets() -> None:
    """CVE-2023-44487."""
    peer = met()
    data = b"".join(head(stream, GET, end=True) + reset(stream) for stream in range(1, 20_001, 2))
    assert "RST_STREAM" in peer.feed(data, START)


def test_a_client_that_cancels_every_other_request() -> None:
    peer = met()
    for number in range(100):
        first = 1 + 800 * number
        data = b"".join(
            head(stream, GET, end=True) + head(stream + 2, GET, end=True) + reset(stream)
            for stream in range(first, first + 800, 4)
        )
        assert peer.feed(data, START) == ""


def test_a_client_of_grpc_that_cancels_everything() -> None:
    """A hundred calls at once, each with a deadline of a quarter of a second, for a minute."""
    peer = met()
    stream = 1
    for number in range(240):
        data = b""
        for _ in range(100):
            data += head(stream, POST) + content(stream, bytes(50)) + reset(stream)
            stream += 2
        assert peer.feed(data, START + number / 4) == ""


def test_heads_in_many_frames() -> None:
    """CVE-2024-27316: a head that never ends."""
    peer = met()
    begin = frame(HEADERS, END_STREAM, 1, bytes(10))
    assert peer.feed(begin + frame(CONTINUATION, 0, 1, b"") * guard.CONTINUATIONS, START) == ""
    assert "head" in peer.feed(frame(CONTINUATION, 0, 1, b""), START)
    peer = met()
    for stream in range(1, 1000, 2):
        begin = frame(HEADERS, END_STREAM, stream, bytes(10))
        data = begin + frame(CONTINUATION, 0, stream) * (guard.CONTINUATIONS - 1)
        assert peer.feed(data + frame(CONTINUATION, END_HEADERS, stream), START) == ""


def test_heads_in_large_frames() -> None:
    peer = met()
    begin = frame(HEADERS, 0, 1, bytes(16384))
    more = frame(CONTINUATION, 0, 1, bytes(16384))
    assert peer.feed(begin + more * (guard.LARGEST_HEAD // 16384 - 1), START) == ""
    assert "head" in peer.feed(frame(CONTINUATION, 0, 1, b"a"), START)
    assert "head" in met().feed(frame(HEADERS, 0, 1, bytes(guard.LARGEST_HEAD + 1)), START)


def test_many_settings_in_one_frame() -> None:
    entries = tuple((number, 1) for number in range(guard.SETTINGS_ENTRIES))
    assert met().feed(settings(*entries), START) == ""
    assert "settings" in met().feed(settings(*entries, (99, 1)), START)


def test_windows_are_renewed_for_what_was_sent() -> None:
    peer = met()
    update = window_update(1, 4096) + window_update(0, 4096)
    for _ in range(100_000):
        peer.sent(4096)
        assert peer.feed(update, START) == ""


def test_windows_that_are_renewed_byte_by_byte() -> None:
    """CVE-2019-9511: each makes us send a frame of one byte."""
    peer = met()
    reason = ""
    for _ in range(3 * guard.WINDOW_UPDATES_AT_ONCE):
        reason = reason or peer.feed(window_update(1, 1), START)
        peer.sent(10)
    assert "WINDOW_UPDATE" in reason


def test_errors_that_the_peer_provokes() -> None:
    """CVE-2025-8671."""
    peer = met()
    assert {peer.count_error(START) for _ in range(guard.ERRORS_AT_ONCE)} == {""}
    assert "break rules" in peer.count_error(START)
    assert peer.count_error(START + 1) == ""


def test_a_server_begins_without_a_preface() -> None:
    peer = FrameGuard(is_client=True)
    assert peer.feed(PING * guard.PINGS_AT_ONCE, START) == ""
    assert peer.feed(PING, START) != ""


def test_what_honest_servers_send_in_any_number() -> None:
    peer = FrameGuard(is_client=True)
    for usual in (reset(1), content(1, b""), content(1, b"x"), frame(8, 0, 1, b"\0\0\0\1")):
        for _ in range(10):
            assert peer.feed(usual * 10000, START) == ""


def test_an_allowance() -> None:
    allowance = Allowance(2, 8)
    assert [allowance.take(5.0) for _ in range(3)] == [True, True, False]
    assert [allowance.take(5.125) for _ in range(2)] == [True, False]
    allowance.add(1)
    assert [allowance.take(5.125) for _ in range(2)] == [True, False]
    allowance.add(50)
    assert [allowance.take(5.125) for _ in range(3)] == [True, True, False]


PIECES = st.one_of(
    st.binary(max_size=40).map(lambda data: content(1, data)),
    st.sampled_from(
        [PING, settings((3, 5)), reset(1), head(3, GET, end=True), head(5, GET, cut=20), frame(0x99, 0, 0)]
    ),
)


@given(st.lists(PIECES, max_size=30), st.lists(st.integers(0, 1000), max_size=30), st.booleans())
@hypothesis_settings(max_examples=50)
def test_cuts_change_nothing(frames: list[bytes], cuts: list[int], is_client: bool) -> None:
    """What is left of the allowances is the same however the bytes came."""
    data = (b"" if is_client else PREFACE) + b"".join(frames)
    whole, pieces = FrameGuard(is_client), FrameGuard(is_client)
    reason = whole.feed(data, START)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = [pieces.feed(data[at:to], START) for at, to in pairwise(places)]
    assert "".join(found) == reason
    for flood in (
        (settings(), frame(0x99, 0, 0)) if is_client else (settings(), reset(1), content(1, b""), frame(0x99, 0, 0))
    ):
        left = [0, 0]
        for index, each in enumerate((whole, pieces)):
            while not each.feed(flood, START):
                left[index] += 1
        assert left[0] == left[1]
