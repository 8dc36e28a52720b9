"""One client's connection: requests in, answers out, refusals (RFC 9112 §9)."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import (
    GET,
    GET_1_0,
    POST,
    DownstreamClient,
    head_and_body,
    immediately,
    lines_of,
    local,
    response_head,
    settings,
)
from tests.support.memory_transport import HIGH_WATER
from vrata.net.deadlines import INTERVAL
from vrata.proxy.contracts import Failure, FailureClass
from vrata.proxy.listener.connection import MAX_PIPELINED
from vrata.proxy.listener.time_limits import LINGER

# -- pipelining (RFC 9112 §9.3.2) ------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_one_at_a_time_and_in_order() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + POST % 3 + b"abc" + GET % b"3")
    assert client.targets == [b"/1"]
    client.answer(b"one")
    assert client.targets == [b"/1", b"/"]
    assert (client.last.content, client.last.end) == (b"abc", True)
    client.answer(b"two")
    client.answer(b"three")
    sent = client.transport.take()
    assert [sent.find(text) >= 0 for text in (b"one", b"two", b"three")] == [True] * 3
    assert sent.find(b"one") < sent.find(b"two") < sent.find(b"three")
    assert client.owner.in_flight == 0
    assert client.connection.is_idle


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pipelined_requests_may_be_cut_anywhere(size: int) -> None:
    client = DownstreamClient(answer=immediately)
    data = b"".join(GET % b"%d" % number for number in range(20))
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    assert client.targets == [b"/%d" % number for number in range(20)]
    assert client.transport.sent.count(b"HTTP/1.1 200 OK\r\n") == 20


def test_pipelined_requests_that_arrive_while_one_is_answered() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.send((GET % b"2")[:10])
    client.send((GET % b"2")[10:])
    assert client.targets == [b"/1"]
    client.answer()
    assert client.targets == [b"/1", b"/2"]


def test_a_flood_of_pipelined_requests_is_not_read() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    flood = (GET % b"x") * (MAX_PIPELINED // len(GET % b"x") + 10)
    client.send(flood)
    assert not client.transport.is_reading()
    while client.owner.in_flight:
        client.answer()
    assert client.transport.is_reading()
    assert client.transport.take().count(b"HTTP/1.1 200 OK") == 1 + flood.count(b"GET ")


# -- persistence (RFC 9112 §9.3) -------------------------------------------------------------------------------------


def test_a_connection_serves_one_request_after_the_other() -> None:
    client = DownstreamClient()
    for number in range(3):
        client.send(GET % b"%d" % number)
        client.answer()
        assert lines_of(client.transport.take()) == [b"HTTP/1.1 200 OK", b"content-length: 3"]
    assert not client.transport.is_closing()


def test_connection_close_is_obeyed_and_said() -> None:
    client = DownstreamClient()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    client.answer()
    assert b"connection: close" in lines_of(client.transport.take())
    assert client.transport.closed


@pytest.mark.parametrize("local_answer", [True, False])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_http_1_0(local_answer: bool, keep_alive: bool) -> None:
    client = DownstreamClient()
    client.send(GET_1_0 % (b"Connection: keep-alive\r\n" if keep_alive else b""))
    if local_answer:
        client.answer(b"abc")
    else:
        client.respond(response_head(b"Content-Length: 3"), b"abc", end=True)
    lines, body = head_and_body(client.transport.take())
    assert body == b"abc"
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert (b"connection: keep-alive" if keep_alive else b"connection: close") in lines
    assert client.transport.closed is not keep_alive


def test_http_1_0_gets_no_chunks_and_the_close_ends_a_body_of_unknown_length() -> None:
    client = DownstreamClient()
    client.send(GET_1_0 % b"Connection: keep-alive\r\n")
    client.respond(response_head(b"Transfer-Encoding: chunked"), b"a")
    client.content(b"b")
    client.content(b"c", end=True)
    assert head_and_body(client.transport.take()) == ([b"HTTP/1.1 200 OK", b"connection: close"], b"abc")
    assert client.transport.closed


def test_the_close_of_an_upstream_is_not_the_close_of_the_client() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.respond(response_head(b"Connection: close", b"Content-Length: 1"), b"a", end=True)
    assert b"connection: close" not in client.transport.take()
    assert client.connection.is_idle


# -- framing of responses (RFC 9112 §6) ------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [[], [b"Transfer-Encoding: chunked"]])
def test_a_body_of_unknown_length_is_framed_in_chunks(lines: list[bytes]) -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.respond(response_head(*lines), b"abc")
    client.content(b"")
    client.content(b"0123456789abcdef")
    client.content(b"", end=True)
    lines, body = head_and_body(client.transport.take())
    assert lines == [b"HTTP/1.1 200 OK", b"transfer-encoding: chunked"]
    assert body == b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    assert client.connection.is_idle


def test_a_body_of_known_length_goes_on_as_it_is() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.respond(response_head(b"Content-Length: 6"), b"abc")
    client.content(b"def", end=True)
    assert head_and_body(client.transport.take()) == ([b"HTTP/1.1 200 OK", b"content-length: 6"], b"abcdef")


@pytest.mark.parametrize(
    ("method", "status", "lines", "framing"),
    [
        (b"HEAD", 200, [b"Content-Length: 3"], [b"content-length: 3"]),
        (b"HEAD", 200, [b"Transfer-Encoding: chunked"], []),
        (b"HEAD", 200, [], []),
        (b"GET", 204, [], []),
        (b"GET", 204, [b"Content-Length: 3"], []),
        (b"GET", 304, [b"Content-Length: 3"], [b"content-length: 3"]),
        (b"GET", 304, [], []),
    ],
)
def test_responses_without_a_body(method: bytes, status: int, lines: list[bytes], framing: list[bytes]) -> None:
    client = DownstreamClient()
    client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.respond(response_head(*lines, status=status), end=True)
    found, body = head_and_body(client.transport.take())
    assert (found[1:], body) == (framing, b"")
    assert client.connection.is_idle


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_own_responses_without_a_body(method: bytes, status: int) -> None:
    client = DownstreamClient()
    client.send(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.answer(b"abc", status)
    found, body = head_and_body(client.transport.take())
    assert (found[1:], body) == ([b"content-length: 3"] if status == 200 else [], b"")


def test_own_server_name_replaces_that_of_the_upstream() -> None:
    client = DownstreamClient(settings(server=b"vrata"))
    client.send(GET % b"1")
    client.respond(response_head(b"Server: up", b"Content-Length: 0"), end=True)
    client.send(GET % b"2")
    client.answer()
    sent = client.transport.take()
    assert sent.count(b"server: vrata\r\n") == 2
    assert b"up\r\n" not in sent


def test_informational_responses_go_on_but_not_to_http_1_0() -> None:  # RFC 9110 §15.2
    hints = response_head(b"Link: x", status=103)
    client = DownstreamClient()
    client.send(GET % b"1")
    client.last.request.inform(hints)
    assert lines_of(client.transport.take()) == [b"HTTP/1.1 103 Early Hints", b"Link: x"]
    client.respond(response_head(b"Content-Length: 3"), b"a")
    client.transport.take()
    client.last.request.inform(hints)
    assert client.transport.take() == b""
    old = DownstreamClient()
    old.send(GET_1_0 % b"")
    old.last.request.inform(hints)
    assert old.transport.take() == b""


# -- request bodies --------------------------------------------------------------------------------------------------


def test_a_body_is_handed_on_as_it_arrives() -> None:
    client = DownstreamClient()
    client.send(POST % 6 + b"ab")
    assert (client.last.content, client.last.end) == (b"ab", False)
    client.send(b"cd")
    assert (client.last.content, client.last.end) == (b"abcd", False)
    client.send(b"ef" + GET % b"next")
    assert (client.last.content, client.last.end) == (b"abcdef", True)
    client.answer()
    assert client.targets == [b"/", b"/next"]


def test_a_chunked_body_is_handed_on_without_its_framing() -> None:
    client = DownstreamClient()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (client.last.content, client.last.end) == (b"", False)
    for octet in b"3\r\nabc\r\n1;x\r\nd\r\n0\r\nT: 1\r\n\r\n":
        client.send(bytes((octet,)))
    assert (client.last.content, client.last.end) == (b"abcd", True)


def test_backpressure_of_a_body() -> None:
    client = DownstreamClient()
    client.send(POST % 10 + b"ab")
    client.last.request.pause_body()
    client.last.request.pause_body()
    assert not client.transport.is_reading()
    client.last.request.resume_body()
    assert client.transport.is_reading()
    client.send(b"cdefghij")
    assert client.last.end


def test_backpressure_of_a_response() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.transport.stop_reading()
    client.respond(response_head(), b"x" * 1000)
    seen = [client.last.paused]
    client.content(b"x" * HIGH_WATER)
    seen.append(client.last.paused)
    client.transport.read_again()
    assert [*seen, client.last.paused] == [False, True, False]


def test_a_body_paused_when_the_response_ends_does_not_stop_the_next_request() -> None:
    client = DownstreamClient()
    client.send(POST % 3 + b"abc")
    client.last.request.pause_body()
    client.answer()
    assert client.transport.is_reading()
    client.send(GET % b"next")
    assert client.targets == [b"/", b"/next"]


def test_an_answer_before_the_end_of_the_body_closes_after_a_while() -> None:  # RFC 9112 §9.6
    client = DownstreamClient()
    client.send(POST % 10 + b"ab")
    client.answer()
    assert b"connection: close" in lines_of(client.transport.take())
    assert client.transport.ended
    assert not client.transport.is_lost()
    client.send(b"cdefghij" + GET % b"next")
    assert len(client.handled) == 1
    client.loop.advance(LINGER + INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
    ],
)
def test_a_refusal_is_answered_once_and_nothing_behind_it_is_read(data: bytes, status: int) -> None:
    client = DownstreamClient()
    client.send(data)
    lines, body = head_and_body(client.transport.take())
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in lines
    assert body.startswith(b'{"error":"bad_request","status":%d,"message":"' % status)
    assert b"content-length: %d" % len(body) in lines
    assert client.transport.ended
    client.send(GET % b"smuggled")
    client.loop.advance(LINGER + INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""
    assert client.handled == []
    assert client.owner.in_flight == 0


@pytest.mark.parametrize(
    "pieces", [[b"\r\n", b"\r\n"], [b"\r", b"\n", b"\r", b"\n"], [b"\r\n\r", b"\n"], [b"\r", b"\n\r\n"]]
)
def test_a_second_empty_line_is_refused_in_whatever_pieces_it_comes(pieces: list[bytes]) -> None:
    client = DownstreamClient()
    for piece in pieces:
        assert client.transport.take() == b""
        client.send(piece)
    assert client.transport.take().startswith(b"HTTP/1.1 400 ")
    assert client.handled == []


@pytest.mark.parametrize("pieces", [[b"\r\n", GET % b"1"], [b"\r", b"\n" + GET % b"1"], [b"\r\n" + GET % b"1"]])
def test_an_empty_line_before_a_request_is_ignored_in_whatever_pieces_it_comes(pieces: list[bytes]) -> None:
    client = DownstreamClient()
    for piece in pieces:
        client.send(piece)
    assert len(client.handled) == 1
    client.answer(b"good")
    assert client.transport.take().startswith(b"HTTP/1.1 200 ")


def test_a_refused_head_behind_a_good_request_is_answered_in_its_turn() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + b"nonsense\r\n\r\n")
    assert client.transport.take() == b""
    client.answer(b"good")
    sent = client.transport.take()
    assert sent.find(b"good") < sent.find(b"HTTP/1.1 400 ")
    assert len(client.handled) == 1


def test_a_broken_body_ends_the_request() -> None:
    client = DownstreamClient()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    client.send(b"broken")
    assert client.last.client_gone == 1
    assert client.transport.take().startswith(b"HTTP/1.1 400 ")
    client.respond(response_head(b"Content-Length: 4"), b"late", end=True)
    assert client.transport.take() == b""
    client.loop.advance(LINGER + INTERVAL)
    assert client.transport.closed
    assert client.owner.in_flight == 0


def test_a_body_that_is_broken_in_its_first_bytes_is_never_handled() -> None:
    client = DownstreamClient()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbroken")
    assert client.handled == []
    assert client.transport.take().startswith(b"HTTP/1.1 400 ")


def test_a_body_that_breaks_under_a_response_cuts_it() -> None:
    client = DownstreamClient()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.respond(response_head(), b"abc")
    client.send(b"broken")
    assert client.transport.aborted
    assert client.last.client_gone == 1
    assert b"0\r\n\r\n" not in client.transport.take()
    assert client.owner.in_flight == 0


@pytest.mark.parametrize(
    ("value_size", "max_fields_size", "status"),
    [(1000, 1006, 200), (1000, 1005, 431), (66000, 0, 431), (1000, 0, 200)],
)
def test_431(value_size: int, max_fields_size: int, status: int) -> None:  # names and values of Host and X
    client = DownstreamClient(settings(max_fields_size=max_fields_size), immediately)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * value_size + b"\r\n\r\n")
    lines, body = head_and_body(client.transport.take())
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert (body == b"request_headers_too_large") is (status == 431)


def test_431_for_a_head_without_end_and_for_too_many_lines() -> None:
    for data in (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 66000, b"GET / HTTP/1.1\r\n" + b"X:\r\n" * 101 + b"\r\n"):
        client = DownstreamClient()
        client.send(data)
        assert head_and_body(client.transport.take())[1] == b"request_headers_too_large"


def test_settings_are_those_of_the_moment_when_the_request_began() -> None:
    client = DownstreamClient(settings(server=b"old"))
    client.send(b"GET / HTTP/1.1\r\n")
    client.owner.settings = settings(server=b"new")
    client.send(b"Host: a\r\n\r\n")
    client.answer()
    assert b"server: old" in lines_of(client.transport.take())
    client.send(GET % b"2")
    client.answer()
    assert b"server: new" in lines_of(client.transport.take())


def test_one_empty_line_before_a_request_is_ignored() -> None:  # RFC 9112 §2.2
    client = DownstreamClient(answer=immediately)
    client.send(b"\r\n" + GET % b"1")
    client.send(b"\r")
    client.send(b"\n" + GET % b"2")
    assert client.targets == [b"/1", b"/2"]


def test_a_failure_is_answered_or_cuts_the_response() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.last.request.fail(Failure(FailureClass.NO_ENDPOINT))
    assert head_and_body(client.transport.take())[1] == b"no_endpoint"
    client.send(GET % b"2")
    client.respond(response_head(), b"abc")
    client.last.request.fail(Failure(FailureClass.CONNECTION_RESET))
    client.loop.settle()
    assert client.transport.aborted
    assert not client.transport.take().endswith(b"0\r\n\r\n")
    assert client.owner.in_flight == 0


def test_nothing_behind_connection_close_is_a_request() -> None:  # RFC 9112 §9.6
    client = DownstreamClient(answer=immediately)
    client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % b"2")
    assert client.targets == [b"/1"]


def test_a_client_that_does_not_read_its_answers_gets_no_more_of_them() -> None:
    client = DownstreamClient(answer=lambda request: request.respond(local(b"x" * 10000)))
    client.transport.stop_reading()
    client.send((GET % b"1") * 100)
    assert client.transport.get_write_buffer_size() < HIGH_WATER + 20000
    client.transport.read_again()
    for _ in range(20):
        client.transport.read_again()
    assert len(client.handled) == 100
