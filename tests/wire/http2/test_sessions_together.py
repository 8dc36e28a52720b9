"""A client and a server of each engine, with nothing between them but their bytes."""

from __future__ import annotations

import pytest

from tests.support.session_engines import PAIRS, Engine, exchange, output
from vrata.wire.http2 import errors, events
from vrata.wire.http2.contract import HIGH, Session, SessionLimits, StreamsExhausted

pytestmark = pytest.mark.parametrize(("client_engine", "server_engine"), PAIRS)

GET = b"GET /a HTTP/1.1\r\nhost: a.test\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def met(
    client_engine: Engine,
    server_engine: Engine,
    client_limits: SessionLimits | None = None,
    server_limits: SessionLimits | None = None,
) -> tuple[Session, Session]:
    client, server = client_engine.client(client_limits), server_engine.server(server_limits)
    at_client, at_server = exchange(client, server)
    assert at_client == at_server == [(events.SETTINGS, 0, b"", 0)]
    return client, server


def test_a_request_and_its_response(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(POST, False)
    assert client.send(stream, b"abc", False) is False
    client.send(stream, b"de", True)
    assert exchange(client, server)[1] == [
        (events.HEAD, 1, b"POST /a HTTP/1.1\r\nhost: a.test\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n", 0),
        (events.CONTENT, 1, b"abcde", 1),
    ]
    server.respond(stream, OK, False)
    server.send(stream, b"fg", False)
    server.send(stream, b"h", True)
    assert exchange(client, server)[0] == [
        (events.HEAD, 1, b"HTTP/1.1 200 OK\r\nx-b: 2\r\ntransfer-encoding: chunked\r\n\r\n", 0),
        (events.CONTENT, 1, b"fgh", 1),
    ]
    assert client.streams == server.streams == 0


def test_heads_alone(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    for stream in (1, 3, 5):
        assert client.request(GET, True) == stream
    assert [each[:2] for each in exchange(client, server)[1]] == [(events.HEAD, each) for each in (1, 3, 5)]
    for stream in (5, 1, 3):
        server.respond(stream, b"HTTP/1.1 204 No Content\r\n\r\n", True)
    assert sorted(each[1:] for each in exchange(client, server)[0]) == [
        (each, b"HTTP/1.1 204 No Content\r\n\r\n", 1) for each in (1, 3, 5)
    ]
    assert client.streams == server.streams == 0


def test_content_in_both_directions_at_once(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(POST, False)
    exchange(client, server)
    server.respond(stream, OK, False)
    for number in range(5):
        client.send(stream, b"c%d" % number, False)
        server.send(stream, b"s%d" % number, False)
        at_client, at_server = exchange(client, server)
        assert at_client[-1] == (events.CONTENT, 1, b"s%d" % number, 0)
        assert at_server[-1] == (events.CONTENT, 1, b"c%d" % number, 0)


def test_interim_responses_and_trailers(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(POST, False)
    client.send(stream, b"a", False)
    client.send(stream, b"", True, b"X-Sum: 1\r\n")
    assert exchange(client, server)[1][1:] == [(events.CONTENT, 1, b"a", 0), (events.TRAILERS, 1, b"x-sum: 1\r\n", 0)]
    server.inform(stream, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    server.respond(stream, OK, False)
    server.send(stream, b"b", True, b"grpc-status: 0\r\ngrpc-message: \r\n")
    assert exchange(client, server)[0] == [
        (events.INFORMATIONAL, 1, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0),
        (events.HEAD, 1, b"HTTP/1.1 200 OK\r\nx-b: 2\r\ntransfer-encoding: chunked\r\n\r\n", 0),
        (events.CONTENT, 1, b"b", 0),
        (events.TRAILERS, 1, b"grpc-status: 0\r\ngrpc-message: \r\n", 0),
    ]
    assert client.streams == server.streams == 0


def test_trailers_after_everything_was_sent(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(GET, True)
    exchange(client, server)
    server.respond(stream, OK, False)
    server.send(stream, b"b", False)
    exchange(client, server)
    server.send(stream, b"", True, b"x: 1\r\n")
    at_client, _ = exchange(client, server)
    assert at_client[-1] == (events.TRAILERS, 1, b"x: 1\r\n", 0)
    assert client.streams == server.streams == 0


def test_windows_stop_who_sends_until_it_is_consumed(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(stream_window=100000, connection_window=250000)
    client, server = met(client_engine, server_engine, server_limits=limits)
    content = bytes(range(256)) * 2000
    stream = client.request(POST, False)
    assert client.send(stream, content, True) is True
    got = b""
    rounds = 0
    while client.streams and (not got or rounds):
        at_server = exchange(client, server)[1]
        part = b"".join(each[2] for each in at_server if each[0] == events.CONTENT)
        assert len(part) <= 100000
        got += part
        rounds += 1
        if len(got) == len(content):
            break
        assert client.unsent(stream) == len(content) - len(got)
        assert client.drained() == [] or client.unsent(stream) <= HIGH
        server.consumed(stream, len(part))
    assert got == content
    assert rounds > 5


def test_who_sends_is_told_when_to_go_on(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine, server_limits=SessionLimits(stream_window=65535))
    stream = client.request(POST, False)
    assert client.send(stream, bytes(HIGH), False) is False
    assert client.send(stream, bytes(HIGH), False) is True
    exchange(client, server)
    assert client.unsent(stream) == 2 * HIGH - 65535
    assert client.drained() == []
    server.consumed(stream, 65535)
    exchange(client, server)
    assert client.drained() == [stream]
    assert client.drained() == []
    assert client.unsent(stream) == 2


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_reader_that_does_not_read(client_engine: Engine, server_engine: Engine, is_shared: bool) -> None:
    """It holds the others up when the connection is its own, and not when it is shared."""
    limits = SessionLimits(stream_window=65535, connection_window=65535, is_shared=is_shared)
    client, server = met(client_engine, server_engine, client_limits=limits)
    slow, quick = client.request(GET, True), client.request(GET, True)
    exchange(client, server)
    server.respond(slow, OK, False)
    server.send(slow, bytes(65535), True)
    exchange(client, server)
    server.respond(quick, OK, False)
    server.send(quick, b"a", True)
    at_client, _ = exchange(client, server)
    assert ((events.CONTENT, quick, b"a", 1) in at_client) is is_shared
    client.consumed(slow, 65535)  # also after the stream has ended
    at_client, _ = exchange(client, server)
    assert ((events.CONTENT, quick, b"a", 1) in at_client) is not is_shared
    assert client.streams == server.streams == 0


@pytest.mark.parametrize("by_reset_of_client", [False, True])
def test_the_window_is_renewed_for_what_nobody_will_read(
    client_engine: Engine, server_engine: Engine, by_reset_of_client: bool
) -> None:
    limits = SessionLimits(stream_window=65535, connection_window=65535)
    client, server = met(client_engine, server_engine, client_limits=limits)
    for _ in range(5):
        stream = client.request(GET, True)
        exchange(client, server)
        server.respond(stream, OK, False)
        server.send(stream, bytes(65535), True)
        at_client, _ = exchange(client, server)
        assert sum(len(each[2]) for each in at_client if each[0] == events.CONTENT) == 65535
        client.reset(stream, errors.CANCEL)
        if not by_reset_of_client:
            continue
        stream = client.request(GET, True)
        exchange(client, server)
        server.respond(stream, OK, False)
        server.send(stream, bytes(65535), False)
        exchange(client, server)
        client.reset(stream, errors.CANCEL)
        assert exchange(client, server)[1] == [(events.RESET, stream, b"", errors.CANCEL)]


def test_a_bulk_response_leaves_room_for_a_small_one(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(stream_window=2**30, connection_window=2**30)
    client, server = met(client_engine, server_engine, client_limits=limits)
    bulk = client.request(GET, True)
    exchange(client, server)
    server.respond(bulk, OK, False)
    server.send(bulk, bytes(4 * 2**20), True)
    client.receive(server.outgoing())
    small = client.request(GET, True)
    server.receive(client.outgoing())
    server.respond(small, OK, False)
    server.send(small, b"a", True)
    happened = client.receive(server.outgoing()) + client.receive(server.outgoing())
    assert (events.CONTENT, small, b"a", 1) in happened


def test_many_streams_advance_side_by_side(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(stream_window=2**20, connection_window=2**30)
    client, server = met(client_engine, server_engine, client_limits=limits)
    streams = [client.request(GET, True) for _ in range(8)]
    exchange(client, server)
    for stream in streams:
        server.respond(stream, OK, False)
        server.send(stream, bytes(2**19), True)
    for _ in range(16):
        client.receive(server.outgoing())
    left = [server.unsent(stream) for stream in streams]
    assert max(left) - min(left) <= 2 * 16384 + 1000


def test_tunnels(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    assert client.peer_tunnels
    stream = client.request(
        b"GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: b\r\n\r\n",
        False,
    )
    ((_, _, text, ended),) = exchange(client, server)[1]
    assert text == (
        b"GET /chat HTTP/1.1\r\nhost: a.test\r\nsec-websocket-protocol: b\r\nconnection: upgrade\r\n"
        b"upgrade: websocket\r\nsec-websocket-key: (one)\r\n\r\n"
    )
    assert ended == 0
    client.send(stream, b"early", False)
    server.respond(
        stream,
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: for-the-key-above\r\nsec-websocket-protocol: b\r\n\r\n",
        False,
    )
    server.send(stream, b"x", False)
    at_client, at_server = exchange(client, server)
    assert at_server == [(events.CONTENT, 1, b"early", 0)]
    assert at_client == [
        (
            events.HEAD,
            1,
            b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol: b\r\nconnection: upgrade\r\n"
            b"upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            0,
        ),
        (events.CONTENT, 1, b"x", 0),
    ]
    client.send(stream, b"", True)
    assert exchange(client, server)[1] == [(events.CONTENT, 1, b"", 1)]
    server.send(stream, b"y", True)
    assert exchange(client, server)[0] == [(events.CONTENT, 1, b"y", 1)]
    assert client.streams == server.streams == 0


def test_resets(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    first, second = client.request(POST, False), client.request(POST, False)
    exchange(client, server)
    client.send(first, bytes(1000), False)
    client.reset(first, errors.CANCEL)
    server.reset(second, errors.REFUSED_STREAM)
    at_client, at_server = exchange(client, server)
    assert at_client == [(events.RESET, second, b"", errors.REFUSED_STREAM)]
    assert [each for each in at_server if each[0] != events.CONTENT] == [(events.RESET, first, b"", errors.CANCEL)]
    assert client.streams == server.streams == 0


def test_a_request_that_is_taken_back_before_it_was_sent(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(GET, True)
    client.reset(stream, errors.CANCEL)
    _, at_server = exchange(client, server)
    assert [each[0] for each in at_server] in ([], [events.HEAD, events.RESET])
    assert client.streams == server.streams == 0
    assert [each[0] for each in exchange(client, server)[1]] == []
    client.request(GET, True)
    assert [each[0] for each in exchange(client, server)[1]] == [events.HEAD]


def test_calls_about_streams_that_are_over_do_nothing(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    for session in (client, server):
        for stream in (0, 1, 2, 99):
            assert session.send(stream, b"a", True) is False
            assert session.unsent(stream) == 0
            assert session.unfinished(stream) is False
            session.respond(stream, OK, False)
            session.inform(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n")
            session.consumed(stream, 5)
            session.leave_input(stream)
            session.reset(stream, errors.CANCEL)
        assert output(session) == []


def test_content_that_is_of_no_interest(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    for told_before in (True, False):
        stream = client.request(POST, False)
        exchange(client, server)
        if told_before:
            server.leave_input(stream)
        server.respond(stream, OK, False)
        server.send(stream, b"no", True)
        at_client, _ = exchange(client, server)
        if not told_before:
            assert at_client[-1] == (events.CONTENT, stream, b"no", 1)
            assert server.streams == 1
            server.leave_input(stream)
            at_client += exchange(client, server)[0]
        assert at_client[-2:] == [(events.CONTENT, stream, b"no", 1), (events.RESET, stream, b"", errors.NO_ERROR)]
        assert client.streams == server.streams == 0


def test_the_peer_limits_streams(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine, server_limits=SessionLimits(concurrent_streams=2))
    assert client.peer_streams == 2
    first = client.request(GET, True)
    client.request(GET, True)
    with pytest.raises(StreamsExhausted):
        client.request(GET, True)
    exchange(client, server)
    server.respond(first, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True)
    exchange(client, server)
    assert client.request(GET, True) == 5
    assert [each[:2] for each in exchange(client, server)[1]] == [(events.HEAD, 5)]


def test_streams_before_the_settings_have_come(client_engine: Engine, server_engine: Engine) -> None:
    client, server = client_engine.client(), server_engine.server()
    assert client.peer_streams == 100
    assert not client.peer_tunnels
    stream = client.request(GET, True)
    assert [each[0] for each in exchange(client, server)[1]] == [events.SETTINGS, events.HEAD]
    server.respond(stream, OK, True)
    assert exchange(client, server)[0][0][:2] == (events.HEAD, stream)


def test_a_goodbye_of_the_server(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    first = client.request(GET, True)
    exchange(client, server)
    server.announce_shutdown()
    on_its_way = client.request(GET, True)
    at_client, at_server = exchange(client, server)
    assert at_client == [(events.GOAWAY, 2**31 - 1, b"", errors.NO_ERROR)]
    assert [each[:2] for each in at_server] == [(events.HEAD, on_its_way)]
    with pytest.raises(StreamsExhausted):
        client.request(GET, True)
    server.go_away(errors.NO_ERROR, b"enough")
    assert exchange(client, server)[0] == [(events.GOAWAY, on_its_way, b"enough", errors.NO_ERROR)]
    before = (server.is_over, client.is_over)
    for stream in (first, on_its_way):
        server.respond(stream, OK, False)
        server.send(stream, b"a", True)
    assert [each[:2] for each in exchange(client, server)[0] if each[0] == events.CONTENT] == [
        (events.CONTENT, first),
        (events.CONTENT, on_its_way),
    ]
    assert (before, server.is_over, client.is_over) == ((False, False), True, True)


def test_streams_that_a_goodbye_leaves_out(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    taken = client.request(GET, True)
    exchange(client, server)
    left_out = client.request(POST, False)
    server.go_away(errors.NO_ERROR)
    at_client, at_server = exchange(client, server)
    assert (events.GOAWAY, taken, b"", errors.NO_ERROR) in at_client
    assert events.HEAD not in [each[0] for each in at_server]
    assert client.streams == server.streams == 1
    client.send(left_out, b"a", True)
    server.respond(taken, OK, True)
    assert [each[:2] for each in exchange(client, server)[0]][-1] == (events.HEAD, taken)
    assert server.is_over


def test_a_goodbye_of_the_client(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    stream = client.request(GET, True)
    exchange(client, server)
    client.go_away(errors.NO_ERROR)
    with pytest.raises(StreamsExhausted):
        client.request(GET, True)
    assert [each[0] for each in exchange(client, server)[1]] == [events.GOAWAY]
    server.respond(stream, OK, True)
    assert exchange(client, server)[0][0][:2] == (events.HEAD, stream)
    assert client.is_over


def test_pings(client_engine: Engine, server_engine: Engine) -> None:
    client, server = met(client_engine, server_engine)
    client.ping(b"12345678")
    server.ping(b"abcdefgh")
    at_client, at_server = exchange(client, server)
    assert at_client == [(events.PONG, 0, b"12345678", 0)]
    assert at_server == [(events.PONG, 0, b"abcdefgh", 0)]


def test_output_comes_in_pieces(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(stream_window=2**24, connection_window=2**24)
    client, server = met(client_engine, server_engine, client_limits=limits)
    stream = client.request(GET, True)
    exchange(client, server)
    server.respond(stream, OK, False)
    server.send(stream, bytes(10**6), True)
    sizes = []
    while data := server.outgoing():
        sizes.append(len(data))
    assert sum(sizes) > 10**6
    assert max(sizes) <= 65536 + 16384 + 9
    assert len(sizes) < 20


def test_many_fields(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(header_list=2**20)
    client, server = met(client_engine, server_engine, limits, limits)
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"v" * (number % 90)) for number in range(600))
    client.request(b"GET / HTTP/1.1\r\nhost: a.test\r\n" + lines + b"\r\n", True)
    ((_, stream, text, _),) = exchange(client, server)[1]
    assert text == b"GET / HTTP/1.1\r\nhost: a.test\r\n" + lines + b"\r\n"
    server.respond(stream, b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\n\r\n", True)
    ((_, _, text, _),) = exchange(client, server)[0]
    assert text == b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\n\r\n"


def test_large_heads(client_engine: Engine, server_engine: Engine) -> None:
    limits = SessionLimits(header_list=2**20)
    client, server = met(client_engine, server_engine, limits, limits)
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"\xe4" * 8000) for number in range(12))
    request = b"GET / HTTP/1.1\r\nhost: a.test\r\n" + lines + b"\r\n"
    client.request(request, True)
    assert exchange(client, server)[1] == [(events.HEAD, 1, request, 1)]
    response = b"HTTP/1.1 200 OK\r\n" + lines + b"content-length: 0\r\n\r\n"
    server.respond(1, response, True)
    assert exchange(client, server)[0] == [(events.HEAD, 1, response, 1)]
