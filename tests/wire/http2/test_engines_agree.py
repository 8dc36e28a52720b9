"""The engine on nghttp2 against that on hyper-h2: the same bytes mean the same to both, whatever they are.

Where RFC 9113 leaves a choice between an error of the stream and one of the connection (§5.4.1), or a library does,
they may differ: then one of them has ended the connection, and what had been told before is the same.
"""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import session_engines as raw
from tests.support.http2_frames import data as content
from tests.support.http2_frames import frame, goaway, rst_stream, window_update
from tests.support.session_engines import GET, HYPER_H2, NGHTTP2, OK, POST, Engine, Fields, head, joined, observed
from vrata.wire.http2 import events
from vrata.wire.http2.contract import PREFACE, Session, SessionLimits
from vrata.wire.http2.events import Event

pytestmark = pytest.mark.skipif(NGHTTP2 is None, reason="nghttp2 was not at hand")

LIMITS: Final = SessionLimits(concurrent_streams=3, header_list=400, stream_window=70000, connection_window=100000)

STREAMS = st.sampled_from([1, 3, 5, 7])
NAMES = st.sampled_from(
    [
        *(b":method", b":scheme", b":path", b":authority", b":protocol", b":status", b"host", b"cookie", b"te", b"x"),
        *(b"content-length", b"transfer-encoding", b"connection", b"X", b"x y", b"", b"priority", b"grpc-status"),
        *(b"sec-websocket-key", b"sec-websocket-accept", b"upgrade", b"keep-alive", b"x:", b"a_b", b"\xe4"),
    ]
)
VALUES = st.sampled_from(
    [
        *(b"GET", b"POST", b"CONNECT", b"http", b"https", b"/", b"/a", b"*", b"a.test", b"A.test", b"b.test", b"200"),
        *(b"204", b"101", b"103", b"304", b"websocket", b"0", b"3", b"trailers", b"a b", b"", b" a", b"a ", b"a\r\nb"),
        *(b"\0", b"\xe4", b"u=1, i", b"x" * 100, b"http://b.test/", b"\x7f", b"a\tb", b"3, 3", b"+3"),
    ]
)
FIELD = st.tuples(NAMES, VALUES)


@st.composite
def field_lists(draw: st.DrawFn, whole: Fields) -> Fields:
    """*whole* with fields put in, taken out, exchanged or repeated."""
    fields = list(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(fields)))
        change = draw(st.sampled_from(["in", "in", "out", "value", "again"]))
        if change == "in" or at == len(fields):
            fields.insert(at, draw(FIELD))
        elif change == "out":
            del fields[at]
        elif change == "value":
            fields[at] = (fields[at][0], draw(VALUES))
        else:
            fields.insert(draw(st.integers(0, len(fields))), fields[at])
    return fields


BODIES = st.sampled_from([b"", b"a", b"abc", b"x" * 1000])
BOOLEANS = st.booleans()
REQUESTS = st.sampled_from(
    [GET, POST, raw.TUNNEL, (*POST, (b"content-length", b"3")), (*GET, (b"cookie", b"a"), (b"cookie", b"b"))]
).flatmap(lambda fields: field_lists(fields))
RESPONSES = st.sampled_from(
    [OK, (*OK, (b"content-length", b"3")), ((b":status", b"103"),), ((b":status", b"204"),), ((b":status", b"304"),)]
).flatmap(lambda fields: field_lists(fields))
TRAILERS = field_lists(((b"grpc-status", b"0"),))


def heads(fields: st.SearchStrategy[Fields]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda stream, each, end, cut: head(stream, each, end=end, cut=cut),
        STREAMS,
        fields,
        BOOLEANS,
        st.sampled_from([0, 0, 0, 40]),
    )


COMMON: Final = [
    st.builds(lambda stream, data, end: content(stream, data, end=end), STREAMS, BODIES, BOOLEANS),
    st.builds(lambda stream, data, end: content(stream, data, end=end), STREAMS, BODIES, BOOLEANS),
    st.builds(
        lambda stream, data, size, end: content(stream, data, padding=size, end=end),
        STREAMS,
        BODIES,
        st.sampled_from([0, 1, 255]),
        BOOLEANS,
    ),
    heads(TRAILERS),
    st.builds(rst_stream, STREAMS, st.sampled_from([0, 7, 8])),
    st.builds(window_update, st.sampled_from([0, 1, 3, 5]), st.sampled_from([1, 1000, 2**30])),
    st.builds(raw.settings, st.tuples(st.sampled_from([1, 3, 4, 5, 6, 8, 99]), st.sampled_from([1, 0, 16384, 65536]))),
    st.sampled_from(
        [
            *(frame(6, 0, 0, bytes(8)), frame(6, 1, 0, b"12345678"), frame(0x77, 0, 3, b"abc"), frame(4, 1, 0)),
            *(frame(2, 0, 3, bytes(4) + b"\x01"), goaway(3, 0, b"why"), goaway(0, 2)),
        ]
    ),
    st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 9]), st.binary(max_size=12)),
]
TO_SERVER: Final = st.lists(st.one_of(heads(REQUESTS), heads(REQUESTS), heads(REQUESTS), *COMMON), max_size=12)
TO_CLIENT: Final = st.lists(st.one_of(heads(RESPONSES), heads(RESPONSES), *COMMON), max_size=12)


def happening(session: Session, frames: list[bytes], answer: bool) -> list[Event]:
    """What *frames* mean to *session*, which answers requests, and consumes what comes, between them."""
    happened: list[Event] = []
    for each in frames:
        now = observed(session.receive(each))
        happened += now
        for kind, stream, data, ended in now:
            if kind == events.CONTENT:
                session.consumed(stream, len(data))
            if answer and kind == events.HEAD and (ended or stream == 3):
                session.respond(stream, b"HTTP/1.1 200 OK\r\n\r\n", ended == 1)
        while session.outgoing():
            pass
        if session.is_over:
            break
    return happened


def by_stream(happened: list[Event]) -> dict[int, list[Event]]:
    streams: dict[int, list[Event]] = {}
    for each in happened:
        streams.setdefault(each[1] if each[0] != events.GOAWAY else 0, []).append(each)
    return {stream: joined(told) for stream, told in streams.items()}


def agree(one: list[Event], other: list[Event]) -> None:
    failed = [bool(each) and each[-1][0] == events.FAILED for each in (one, other)]
    if not any(failed):
        assert by_stream(one) == by_stream(other)
        return
    if failed == [True, False]:
        one, other = other, one
    # The one that failed first has told a beginning of what the other has.
    for stream, told in by_stream(other if not all(failed) else one).items():
        whole = by_stream(one if not all(failed) else other).get(stream, [])
        shorter = [each for each in told if each[0] not in (events.FAILED, events.STREAM_ERROR)]
        longer = [each for each in whole if each[0] not in (events.FAILED, events.STREAM_ERROR)]
        size = min(len(shorter), len(longer))
        assert shorter[: max(size - 1, 0)] == longer[: max(size - 1, 0)]


@given(TO_SERVER)
@settings(max_examples=400)
def test_servers(frames: list[bytes]) -> None:
    found = []
    for engine in (HYPER_H2, NGHTTP2):
        assert engine is not None
        found.append(happening(engine.server(LIMITS), [PREFACE + frame(4, 0, 0), frame(4, 1, 0), *frames], True))
    agree(*found)


def asking(engine: Engine) -> Session:
    session = engine.ready_client(LIMITS)
    for method in (b"GET", b"HEAD", b"GET"):
        session.request(b"%s / HTTP/1.1\r\nhost: a.test\r\n\r\n" % method, True)
    session.request(
        b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n",
        False,
    )
    while session.outgoing():
        pass
    return session


@given(TO_CLIENT)
@settings(max_examples=400)
def test_clients(frames: list[bytes]) -> None:
    found = []
    for engine in (HYPER_H2, NGHTTP2):
        assert engine is not None
        found.append(happening(asking(engine), [frame(4, 1, 0), *frames], False))
    agree(*found)
