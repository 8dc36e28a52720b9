"""One connection to an endpoint, on a transport in memory: what is read as which response, and when it may be used
again.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.manual_loop import ManualLoop
from tests.support.memory_transport import HIGH_WATER, MemoryTransport
from vrata.net.deadlines import NEVER, DeadlineSweeper
from vrata.proxy.upstream.http1_connection import Http1Connection
from vrata.wire.http1.head import ResponseHead


class RecordingPool:
    """Implements ``ConnectionPool``."""

    def __init__(self, loop: ManualLoop) -> None:
        self.sweeper = DeadlineSweeper(loop.as_event_loop())
        self.lost_connections: list[Http1Connection] = []

    def give_back(self, connection: Http1Connection, idle_timeout: float) -> None:
        raise AssertionError("a reader that only records gives nothing back")

    def lost(self, connection: Http1Connection) -> None:
        self.lost_connections.append(connection)


class RecordingReader:
    """Implements ``ResponseReader``; every call becomes one entry of ``events``."""

    upgrade = False

    def __init__(self, method: bytes = b"GET") -> None:
        self.method = method
        self.events: list[tuple[object, ...]] = []

    def on_head(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        self.events.append(("head", head.status, content, end, *([trailers] if trailers else [])))

    def on_informational(self, head: ResponseHead) -> None:
        self.events.append(("informational", head.status))

    def on_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        self.events.append(("content", content, end, *([trailers] if trailers else [])))

    def on_tunnel_end(self) -> None:
        self.events.append(("tunnel end",))

    def on_broken(self, detail: str, unheard: bool) -> None:
        self.events.append(("broken",))

    def on_refused(self, detail: str) -> None:
        self.events.append(("refused",))

    def on_unprocessed(self, detail: str) -> None:
        self.events.append(("unprocessed",))

    def on_full(self) -> None:
        self.events.append(("full",))

    def on_ready(self) -> None:
        self.events.append(("ready",))

    @property
    def content(self) -> bytes:
        found = b""
        for name, *facts in self.events:
            if name == "content":
                assert isinstance(facts[0], bytes)
                found += facts[0]
            if name == "head":
                assert isinstance(facts[1], bytes)
                found += facts[1]
        return found


class Upstream:
    """A connection with its peer, its pool and its reader."""

    def __init__(self, method: bytes = b"GET") -> None:
        self.loop = ManualLoop()
        self.pool = RecordingPool(self.loop)
        self.connection = Http1Connection(self.pool)
        self.transport = MemoryTransport(self.loop, self.connection)
        self.reader = RecordingReader(method)
        self.connection.begin(self.reader)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nT: 1\r\n\r\n", b"abc"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    ],
)
def test_a_response_that_ends_by_itself_leaves_a_reusable_connection(data: bytes, content: bytes) -> None:
    for cut in range(1, len(data)):
        upstream = Upstream()
        upstream.transport.receive(data[:cut])
        upstream.transport.receive(data[cut:])
        reader = upstream.reader
        assert reader.content == content
        assert [event[0] for event in reader.events][:1] == ["head"]
        assert sum(True in event[2:] for event in reader.events) == 1
        assert True in reader.events[-1][2:]
        assert upstream.connection.reusable
        assert upstream.connection.served == 1
        assert not upstream.transport.is_closing()


def test_trailers_come_with_the_end() -> None:
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: 1\r\nDate: x\r\nu:\r\n\r\n"
    for cut in range(1, len(data)):
        upstream = Upstream()
        upstream.transport.receive(data[:cut])
        upstream.transport.receive(data[cut:])
        ends = [event for event in upstream.reader.events if True in event[2:]]
        assert [event[-1] for event in ends] == [b"T: 1\r\nu:\r\n"]


def test_head_and_content_that_arrive_together_are_told_together() -> None:
    upstream = Upstream()
    upstream.transport.receive(OK + b"Content-Length: 5\r\n\r\nabc")
    upstream.transport.receive(b"de")
    assert upstream.reader.events == [("head", 200, b"abc", False), ("content", b"de", True)]


@pytest.mark.parametrize(
    ("method", "line"),
    [(b"HEAD", b"HTTP/1.1 200 OK"), (b"GET", b"HTTP/1.1 204 x"), (b"GET", b"HTTP/1.1 304 x")],
)
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_responses_without_a_body(method: bytes, line: bytes, framing: bytes) -> None:  # RFC 9112 §6.3 rule 1
    upstream = Upstream(method)
    upstream.transport.receive(line + b"\r\n" + framing + b"\r\n")
    assert upstream.reader.events == [("head", int(line[9:12]), b"", True)]
    assert upstream.connection.reusable


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0", "more than the length", "more than the chunks"],
)
def test_a_connection_that_cannot_be_trusted_with_another_request(data: bytes) -> None:  # RFC 9112 §9.2, §9.3
    upstream = Upstream()
    upstream.transport.receive(data)
    assert upstream.reader.content == b"abc"
    assert upstream.reader.events[-1][-1] is True
    assert not upstream.connection.reusable


def test_a_body_behind_a_response_that_has_none_forbids_reuse() -> None:
    upstream = Upstream(b"HEAD")
    upstream.transport.receive(OK + b"Content-Length: 3\r\n\r\nabc")
    assert upstream.reader.events == [("head", 200, b"", True)]
    assert not upstream.connection.reusable


def test_a_body_until_close() -> None:  # RFC 9112 §6.3 rule 8
    upstream = Upstream()
    upstream.transport.receive(OK + b"\r\na")
    upstream.transport.receive(b"bc")
    upstream.transport.receive_eof()
    assert upstream.reader.content == b"abc"
    assert upstream.reader.events[-1] == ("content", b"", True)
    assert not upstream.connection.reusable
    assert upstream.connection.closed
    assert upstream.pool.lost_connections == [upstream.connection]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        OK,
        OK + b"Content-Length: 3\r\n\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
    ids=repr,
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_truncated_response_is_broken(data: bytes, how: str) -> None:  # RFC 9112 §8
    upstream = Upstream()
    if data:
        upstream.transport.receive(data)
    if how == "close":
        upstream.transport.receive_eof()
    else:
        upstream.transport.reset()
    assert upstream.reader.events[-1] == ("broken",)
    assert upstream.reader.events.count(("broken",)) == 1


def test_a_reset_does_not_end_a_body_until_close() -> None:
    upstream = Upstream()
    upstream.transport.receive(OK + b"\r\nabc")
    upstream.transport.reset()
    assert upstream.reader.events == [("head", 200, b"abc", False), ("broken",)]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"\r\n\r\n",
        OK + b"X : 1\r\n\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nbroken",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        OK + b"X: " + b"x" * 70000,
    ],
    ids=lambda data: repr(data[:60]),
)
def test_nonsense_ends_the_connection(data: bytes) -> None:
    upstream = Upstream()
    upstream.transport.receive(data)
    assert upstream.reader.events[-1] == ("broken",)
    assert upstream.reader.events.count(("broken",)) == 1
    assert upstream.transport.aborted


def test_chunks_that_break_later() -> None:
    upstream = Upstream()
    upstream.transport.receive(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    upstream.transport.receive(b"broken")
    assert upstream.reader.events == [("head", 200, b"a", False), ("broken",)]
    assert upstream.transport.aborted


@pytest.mark.parametrize("together", [True, False])
def test_informational_responses_come_before_the_final_one(together: bool) -> None:  # RFC 9110 §15.2
    heads = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 x\r\nLink: y\r\n\r\n", OK + b"Content-Length: 1\r\n\r\na"]
    upstream = Upstream()
    for data in [b"".join(heads)] if together else heads:
        upstream.transport.receive(data)
    assert upstream.reader.events == [("informational", 100), ("informational", 103), ("head", 200, b"a", True)]
    assert upstream.connection.reusable


def test_bytes_on_an_idle_connection_close_it() -> None:  # RFC 9112 §9.2
    upstream = Upstream()
    upstream.transport.receive(OK + b"Content-Length: 0\r\n\r\n")
    upstream.connection.reader = None
    upstream.transport.receive(OK + b"Content-Length: 0\r\n\r\n")
    assert upstream.transport.aborted
    assert upstream.connection.closed
    assert len(upstream.reader.events) == 1


def test_an_idle_connection_expires() -> None:
    upstream = Upstream()
    upstream.connection.reader = None
    upstream.connection.expire()
    upstream.loop.settle()
    assert upstream.transport.aborted
    assert upstream.connection.deadline == NEVER
    assert upstream.reader.events == []


def test_closing_tells_no_reader() -> None:
    upstream = Upstream()
    upstream.transport.receive(OK + b"\r\nabc")
    upstream.connection.close()
    upstream.loop.settle()
    assert upstream.reader.events == [("head", 200, b"abc", False)]
    assert upstream.pool.lost_connections == [upstream.connection]
    upstream.connection.close()
    upstream.connection.pause_reading()
    upstream.connection.resume_reading()


def test_backpressure_both_ways() -> None:
    upstream = Upstream()
    upstream.transport.stop_reading()
    upstream.connection.write(b"x" * HIGH_WATER)
    assert upstream.reader.events == []
    upstream.connection.write(b"x")
    upstream.transport.read_again()
    assert upstream.reader.events == [("full",), ("ready",)]
    reading = []
    for step in (upstream.connection.pause_reading, upstream.connection.resume_reading):
        step()
        reading.append(upstream.transport.is_reading())
    assert reading == [False, True]


def test_one_response_after_the_other() -> None:
    upstream = Upstream()
    for served in (1, 2, 3):
        reader = RecordingReader()
        upstream.connection.begin(reader)
        upstream.transport.receive(OK + b"Content-Length: 1\r\n\r\na")
        assert reader.events == [("head", 200, b"a", True)]
        assert upstream.connection.served == served


def test_the_repr_says_what_the_connection_does() -> None:
    upstream = Upstream()
    assert repr(upstream.connection) == "<Http1Connection busy, 0 served>"
    upstream.transport.receive(OK + b"Content-Length: 0\r\n\r\n")
    upstream.connection.reader = None
    assert repr(upstream.connection) == "<Http1Connection idle, 1 served>"
    upstream.transport.receive_eof()
    assert repr(upstream.connection) == "<Http1Connection closed, 1 served>"


# -- what the connection has to get right yet ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["unasked bytes", "end of input", "expiry"])
def test_a_connection_that_is_about_to_end_is_closed_at_once(how: str) -> None:
    upstream = Upstream()
    upstream.connection.reader = None
    if how == "unasked bytes":
        upstream.connection.data_received(b"x")
    elif how == "end of input":
        upstream.connection.eof_received()
    else:
        upstream.connection.expire()
    assert upstream.connection.closed


def test_the_end_of_a_body_until_close_does_not_wait_for_the_request_to_be_read() -> None:
    upstream = Upstream()
    upstream.transport.stop_reading()
    upstream.connection.write(b"x" * 1000)
    upstream.transport.receive(OK + b"\r\nabc")
    upstream.transport.receive_eof()
    assert upstream.reader.events[-1] == ("content", b"", True)


def test_an_upstream_that_is_left_has_time_for_the_rest_while_it_takes_some() -> None:
    async def scenario() -> None:
        upstream = Upstream()
        upstream.transport.stop_reading()
        upstream.connection.write(b"x" * 3000)
        upstream.connection.leave()
        for _ in range(2):
            upstream.transport.read_some(1000)
            before = upstream.connection.deadline
            upstream.connection.expire()
            assert before <= upstream.connection.deadline < NEVER
        assert not upstream.transport.is_lost()
        upstream.connection.expire()
        assert upstream.transport.aborted

    asyncio.run(scenario())
