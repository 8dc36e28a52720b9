"""The TLS transport by itself, as server and as client: what it hands over when, with both of its neighbours in the
test's hands."""

from __future__ import annotations

import contextlib
import gc
import ssl
import weakref
from collections.abc import Callable
from functools import cache

import pytest

from tests.support.certificates import Authority
from tests.support.manual_loop import ManualLoop
from tests.support.memory_transport import MemoryTransport
from vrata.net.server_tls import server_context
from vrata.net.tls_transport import RECORD, SLICE, SMALL, TlsTransport


@cache
def authority() -> Authority:
    return Authority("authority")


@cache
def context() -> ssl.SSLContext:
    certificate = authority().issue("proxy.test")
    return server_context(certificate.cert_text, certificate.key_text)


class Recorder:
    """The protocol that is carried: writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received: list[bytes] = []
        self.transport: TlsTransport | None = None
        self.pause_after: int | None = None
        """Pieces after which it pauses reading."""
        self.keeps_open = False
        self.when_completed: Callable[[TlsTransport], None] | None = None

    @property
    def content(self) -> bytes:
        return b"".join(self.received)

    def connection_made(self, made: object) -> None:
        assert isinstance(made, TlsTransport)
        self.transport = made
        self.events.append("made")

    def handshake_completed(self, session: ssl.SSLObject) -> None:
        self.events.append("completed")
        if self.when_completed is not None:
            assert self.transport is not None
            self.when_completed(self.transport)

    def handshake_failed(self, reason: str, plain_http: bool) -> bytes:
        self.events.append(f"failed: {reason}")
        return b"in clear" if plain_http else b""

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        if len(self.received) == self.pause_after:
            assert self.transport is not None
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keeps_open

    def input_cut(self, reason: str) -> None:
        assert self.transport is not None
        self.events.append("cut")
        self.transport.abort()

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")


class Sessions:
    """Keeps the last session."""

    def __init__(self) -> None:
        self.kept: ssl.SSLSession | None = None

    def offered(self) -> ssl.SSLSession | None:
        return self.kept

    def learn(self, session: ssl.SSLObject) -> None:
        self.kept = session.session


class Connection:
    """A TLS transport between a recorder and a kernel in memory, with whoever it speaks to at the far end."""

    is_of_client = False
    """Whether the transport has the client's role, where a test says nothing of it; see :func:`role`."""

    def __init__(
        self, *, handshake: bool = True, client: ssl.SSLContext | None = None, sessions: Sessions | None = None
    ) -> None:
        self.loop = ManualLoop()
        self.protocol = Recorder()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_context = client or authority().client_context()
        loop = self.loop.as_event_loop()
        if self.is_of_client:
            sessions = sessions or Sessions()
            self.tls = TlsTransport(loop, client_context, self.protocol, server_name="a", sessions=sessions)
            self.far = context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        else:
            self.tls = TlsTransport(loop, context(), self.protocol)
            self.far = client_context.wrap_bio(self._incoming, self._outgoing, server_hostname="a")
        self.kernel = MemoryTransport(self.loop, self.tls)
        if handshake:
            self._shake_hands()

    def _shake_hands(self) -> None:
        is_done = False
        while not is_done:
            self.take()
            try:
                self.far.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            self.deliver(self.sent())
        self.take()

    def sent(self) -> bytes:
        """What the far end wants to send."""
        return self._outgoing.read()

    def take(self) -> None:
        """Give the far end what was sent to it."""
        self._incoming.write(self.kernel.take())

    def deliver(self, data: bytes) -> None:
        if data:
            self.kernel.receive(data)

    def records(self, data: bytes) -> bytes:
        """What the far end sends for *data*."""
        self.far.write(data)
        return self.sent()

    def goodbye(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self.far.unwrap()
        return self.sent()

    def taken(self) -> bytes:
        """What the far end decrypts of what was sent; ends with ``<goodbye>`` if that was said."""
        self.take()
        content = b""
        try:
            while data := self.far.read(1 << 16):
                content += data
        except ssl.SSLWantReadError:
            return content
        except ssl.SSLZeroReturnError:
            pass
        return content + b"<goodbye>"


@pytest.fixture(params=["server", "client"], autouse=True)
def role(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test is for both roles, unless it is marked with :data:`SERVER` or :data:`CLIENT`."""
    monkeypatch.setattr(Connection, "is_of_client", request.param == "client")
    return str(request.param)


SERVER = pytest.mark.parametrize("role", ["server"], indirect=True)
CLIENT = pytest.mark.parametrize("role", ["client"], indirect=True)


def numbered(size: int) -> bytes:
    return b"".join(b"%07d\n" % number for number in range(0, size, 8))[:size]


def test_the_order_of_events() -> None:
    connection = Connection()
    assert connection.protocol.events == ["made", "completed"]
    connection.deliver(connection.records(b"hello"))
    assert connection.protocol.received == [b"hello"]
    connection.tls.write(b"answer")
    assert connection.taken() == b"answer"
    connection.tls.close()
    assert connection.taken() == b"<goodbye>"
    connection.loop.settle()
    assert connection.protocol.events == ["made", "completed", "lost"]
    assert connection.kernel.closed


@pytest.mark.parametrize("size", [1, SMALL - 1, SMALL, SMALL + 1, RECORD - 1, RECORD, RECORD + 1, 5 * RECORD + 3])
@pytest.mark.parametrize("segment", [1 << 20, SLICE + 1, SLICE, 1000, 7])
def test_content_arrives_whole_however_it_is_cut(size: int, segment: int) -> None:
    connection = Connection()
    content = numbered(size)
    data = connection.records(content)
    for position in range(0, len(data), segment):
        connection.deliver(data[position : position + segment])
    assert connection.protocol.content == content
    connection.tls.write(content)
    assert connection.taken() == content


def test_a_large_record_of_which_little_came_last_is_handed_over_to_its_end() -> None:
    # All of it is in OpenSSL when the last bytes come; the buffer before it says nothing of that.
    connection = Connection()
    content = numbered(RECORD)
    data = connection.records(content)
    connection.deliver(data[:-20])
    assert connection.protocol.content == b""
    connection.deliver(data[-20:])
    assert connection.protocol.content == content
    assert len(connection.protocol.received) < 30  # and not byte by byte


@pytest.mark.parametrize("after", [1, 2, 3])
def test_paused_reading_hands_nothing_over_and_loses_nothing(after: int) -> None:
    connection = Connection()
    content = numbered(10 * RECORD)
    connection.protocol.pause_after = after
    connection.deliver(connection.records(content))
    assert len(connection.protocol.received) == after
    assert not connection.kernel.is_reading()
    connection.loop.settle()
    assert len(connection.protocol.received) == after
    # Paused once more, in the middle of what was held.
    connection.protocol.pause_after = after + 3
    connection.tls.resume_reading()
    connection.loop.settle()
    assert len(connection.protocol.received) == after + 3
    assert not connection.kernel.is_reading()
    connection.protocol.pause_after = None
    connection.tls.resume_reading()
    assert not connection.kernel.is_reading(), "the rest comes first"
    connection.loop.settle()
    assert connection.protocol.content == content
    assert connection.kernel.is_reading()


def test_the_rest_of_a_record_is_not_forgotten_while_reading_is_paused() -> None:
    connection = Connection()
    content = numbered(2 * SMALL)
    data = connection.records(content)
    connection.deliver(data[:-10])
    connection.protocol.pause_after = 1
    connection.deliver(data[-10:])
    assert connection.protocol.content == content[:SMALL]
    connection.tls.resume_reading()
    connection.loop.settle()
    assert connection.protocol.content == content
    assert connection.kernel.is_reading()


def test_what_is_held_may_begin_where_a_record_does() -> None:
    connection = Connection()
    first, second, third = numbered(RECORD), numbered(SLICE - RECORD - 44), b"third"
    data = connection.records(first) + connection.records(second)
    assert len(data) == SLICE
    connection.protocol.pause_after = 2
    connection.deliver(data + connection.records(third))
    assert connection.protocol.received == [first, second]
    connection.tls.resume_reading()
    connection.loop.settle()
    assert connection.protocol.received == [first, second, third]
    assert connection.kernel.is_reading()


@SERVER
@pytest.mark.parametrize("then", ["pause", "close"])
def test_content_that_comes_with_the_end_of_the_handshake_waits_for_the_protocol(then: str) -> None:
    connection = Connection(handshake=False)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.far.do_handshake()
    connection.deliver(connection.sent())
    connection.take()
    connection.far.do_handshake()
    connection.protocol.when_completed = TlsTransport.pause_reading if then == "pause" else TlsTransport.close
    connection.deliver(connection.sent() + connection.records(b"early"))
    assert connection.protocol.content == b""
    connection.tls.resume_reading()
    connection.loop.settle()
    assert connection.protocol.content == (b"early" if then == "pause" else b"")
    assert connection.protocol.events == ["made", "completed", *(["lost"] if then == "close" else [])]


def test_pausing_and_resuming_at_once_changes_nothing() -> None:
    connection = Connection()
    connection.tls.pause_reading()
    connection.tls.resume_reading()
    connection.tls.resume_reading()
    assert connection.kernel.is_reading()
    connection.deliver(connection.records(b"hello"))
    assert connection.protocol.content == b"hello"


def test_a_connection_that_is_lost_while_paused_hands_nothing_more_over() -> None:
    connection = Connection()
    connection.protocol.pause_after = 1
    connection.deliver(connection.records(numbered(3 * RECORD)))
    connection.tls.resume_reading()
    connection.tls.abort()
    connection.loop.settle()
    assert len(connection.protocol.received) == 1
    assert connection.protocol.events[-1] == "lost"
    connection.tls.resume_reading()
    connection.tls.write(b"late")
    connection.tls.close()
    connection.loop.settle()
    assert connection.kernel.take() == b""


def test_write_eof_says_goodbye_and_ends_our_side_alone() -> None:
    connection = Connection()
    connection.tls.write(b"answer")
    connection.tls.write_eof()
    assert connection.kernel.ended
    assert not connection.kernel.is_lost()
    assert connection.taken() == b"answer<goodbye>"
    connection.tls.write(b"more")
    assert connection.kernel.take() == b""
    connection.deliver(b"whatever it is")
    assert connection.protocol.content == b""
    connection.kernel.receive_eof()
    assert connection.kernel.closed


def test_a_goodbye_leaves_our_side_open_if_the_protocol_wants_to() -> None:
    connection = Connection()
    connection.protocol.keeps_open = True
    connection.deliver(connection.records(b"request") + connection.goodbye())
    assert connection.protocol.events == ["made", "completed", "eof"]
    connection.deliver(b"more than the end")
    assert connection.protocol.content == b"request"
    connection.kernel.receive_eof()
    assert not connection.kernel.is_lost()
    connection.tls.write(b"answer")
    connection.tls.close()
    connection.loop.settle()
    assert connection.taken() == b"answer<goodbye>"
    assert connection.kernel.closed


def test_an_end_without_a_goodbye_is_not_the_end_of_the_content() -> None:
    connection = Connection()
    connection.deliver(connection.records(b"request"))
    connection.kernel.receive_eof()
    assert connection.protocol.events == ["made", "completed", "cut", "lost"]
    assert connection.kernel.aborted
    assert connection.kernel.take() == b""


@pytest.mark.parametrize("damage", ["a byte", "a record again", "the type", "clear text"])
def test_content_that_cannot_be_trusted_is_not_handed_over(damage: str) -> None:
    connection = Connection()
    good = connection.records(b"good")
    connection.deliver(good)
    record = bytearray(connection.records(b"bad"))
    if damage == "a byte":
        record[-1] ^= 1
    elif damage == "the type":
        record[0] = 21
    elif damage == "a record again":
        record[:] = good
    else:
        record[:] = b"GET / HTTP/1.1\r\n\r\n"
    connection.deliver(bytes(record))
    assert connection.protocol.content == b"good"
    assert connection.protocol.events == ["made", "completed", "cut", "lost"]


def test_a_handshake_that_fails_leaves_time_to_read_why() -> None:
    connection = Connection(handshake=False)
    connection.kernel.take()
    connection.deliver(b"\x16\x03\x01\x00\x05hello")
    assert connection.protocol.events[1].startswith("failed: ")
    assert connection.kernel.sent[:1] == b"\x15"
    assert connection.kernel.ended
    assert not connection.kernel.is_lost()
    connection.deliver(b"more of it")
    connection.tls.write(b"no session, no content")
    connection.kernel.take()
    connection.kernel.receive_eof()
    assert connection.kernel.closed
    assert connection.kernel.take() == b""


@SERVER
def test_plain_http_is_answered_in_clear() -> None:
    connection = Connection(handshake=False)
    connection.deliver(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.protocol.events == ["made", "failed: http request"]
    assert connection.kernel.take() == b"in clear"


def test_an_end_within_the_handshake_ends_the_connection() -> None:
    connection = Connection(handshake=False)
    connection.deliver(b"\x16\x03")
    connection.kernel.receive_eof()
    assert connection.protocol.events == ["made", "lost"]


def test_the_kernel_s_buffer_is_ours() -> None:
    connection = Connection()
    connection.kernel.stop_reading()
    connection.tls.write(bytes(RECORD * 8))
    assert connection.tls.get_write_buffer_size() > RECORD * 8
    assert connection.protocol.events[-1] == "pause"
    connection.kernel.read_again()
    assert connection.protocol.events[-1] == "resume"
    assert connection.tls.get_extra_info("peername") == connection.kernel.get_extra_info("peername")
    assert isinstance(connection.tls.get_extra_info("ssl_object"), ssl.SSLObject)


@CLIENT
def test_a_client_begins_and_keeps_what_the_server_gives_it_for_the_next_time() -> None:
    client, sessions = authority().client_context(), Sessions()
    first = Connection(client=client, sessions=sessions, handshake=False)
    assert first.protocol.events == ["made"]
    assert first.kernel.sent[:1] == b"\x16"
    first = Connection(client=client, sessions=sessions)
    assert sessions.offered() is None
    first.deliver(first.records(b"content"))
    assert first.protocol.content == b"content"
    learnt = sessions.offered()
    assert learnt is not None
    second = Connection(client=client, sessions=sessions)
    assert second.far.session_reused
    second.deliver(second.records(b"more"))
    second.deliver(second.records(b"content"))
    assert second.protocol.received == [b"more", b"content"]
    assert sessions.offered() is not learnt


@CLIENT
def test_a_session_of_another_context_is_refused_at_once() -> None:
    sessions = Sessions()
    connection = Connection(sessions=sessions)
    connection.deliver(connection.records(b"content"))
    with pytest.raises(ValueError, match="Session refers to a different SSLContext"):
        Connection(sessions=sessions)


@CLIENT
def test_the_protocol_that_saw_the_handshake_may_hand_over_to_another() -> None:
    connection = Connection(handshake=False)
    other = Recorder()
    connection.protocol.when_completed = lambda tls: tls.carry(other)
    while not connection.protocol.events[1:]:
        connection.take()
        with contextlib.suppress(ssl.SSLWantReadError):
            connection.far.do_handshake()
        connection.deliver(connection.sent())
    connection.take()
    connection.far.do_handshake()
    connection.deliver(connection.records(b"content"))
    connection.tls.close()
    connection.loop.settle()
    assert connection.protocol.events == ["made", "completed"]
    assert (other.content, other.events) == (b"content", ["lost"])


@CLIENT
def test_who_is_found_to_be_another_than_meant_is_told_nothing_more() -> None:
    connection = Connection(handshake=False)
    connection.protocol.when_completed = TlsTransport.abort
    connection.take()
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.far.do_handshake()
    connection.deliver(connection.sent())
    connection.loop.settle()
    assert connection.protocol.events == ["made", "completed", "lost"]
    assert connection.kernel.take() == b""
    assert connection.kernel.aborted


@CLIENT
def test_a_server_that_is_not_trusted_is_told_why() -> None:
    connection = Connection(handshake=False, client=Authority("another").client_context())
    connection.take()
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.far.do_handshake()
    connection.deliver(connection.sent())
    assert connection.protocol.events == ["made", "failed: unable to get local issuer certificate"]
    connection.take()
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        connection.far.do_handshake()
    connection.tls.close()
    connection.loop.settle()
    assert connection.kernel.closed


@CLIENT
def test_a_transport_that_is_gone_leaves_nothing_to_the_garbage_collector() -> None:
    connection = Connection()
    session = weakref.ref(connection.tls.get_extra_info("ssl_object"))
    connection.tls.abort()
    connection.loop.settle()
    connection.kernel._protocol = Recorder()  # as the kernel's transports do
    gc.collect()
    gc.disable()
    try:
        connection.kernel = connection.tls = connection.protocol.transport = None  # type: ignore[assignment]
        assert session() is None
    finally:
        gc.enable()
