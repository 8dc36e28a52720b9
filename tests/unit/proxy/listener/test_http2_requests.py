"""Requests over HTTP/2: how a connection comes to speak it, what handlers get, what clients are answered (RFC 9113)."""

from __future__ import annotations

import base64

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.support.downstream_client import GET, DownstreamClient, immediately, local, response_head, settings
from tests.support.multiplexing_client import Answer, MultiplexingClient
from vrata.proxy.contracts import Failure, FailureClass
from vrata.proxy.listener.http2_connection import MAX_UNTAKEN, Http2Connection
from vrata.proxy.listener.http2_stream import INTERIM_UNTAKEN
from vrata.wire.http2.errors import INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM
from vrata.wire.http2.session import HIGH, PREFACE

UPGRADE = (
    b"GET /first HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: %s\r\nHTTP2-Settings: %s\r\n\r\n"
)
WINDOW = b"\x00\x04\x00\x00\x10\x00"
"""The setting of a window of 4096 bytes."""


def encoded(payload: bytes) -> bytes:
    return base64.urlsafe_b64encode(payload).rstrip(b"=")


# -- how a connection comes to speak it (RFC 9113 §3) ----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 24, 1000])
def test_prior_knowledge_is_recognised_however_it_comes(size: int) -> None:
    client = MultiplexingClient(answer=immediately)
    client.h2.initiate_connection()
    data = client.h2.data_to_send()
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
    client.take_in()
    number = client.request(path="/x")
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.ended) == (200, b"/x", True)
    assert answer.lines() == {"content-length: 2"}
    assert client.owner.in_flight == 0


def test_a_preface_where_it_is_not_wanted_is_refused_as_an_unknown_version() -> None:
    client = DownstreamClient()
    client.send(PREFACE)
    sent = client.transport.take()
    assert sent.startswith(b"HTTP/1.1 505 ")
    assert b"HTTP version not supported" in sent


@pytest.mark.parametrize("start", [b"P", b"PR", b"PRI * HTTP/1.1\r\n"])
def test_what_only_begins_like_a_preface_is_http_1(start: bytes) -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    request = (start if len(start) > 3 else b"PRINT / HTTP/1.1\r\n") + b"Host: a\r\n\r\n"
    client.send(start)
    client.send(request[len(start) :])
    expected = b"HTTP/1.1 400" if start.startswith(b"PRI *") else b"HTTP/1.1 200"
    assert client.transport.take().startswith(expected)


def test_a_preface_is_none_behind_a_request() -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    client.send(GET % b"x" + PREFACE)
    assert b"HTTP/1.1 505 " in client.transport.take()


# -- the upgrade (RFC 7540 §3.2) -------------------------------------------------------------------------------------


def test_a_request_can_ask_for_http_2_and_is_the_first_stream() -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    client.send(UPGRADE % (b"h2c", encoded(WINDOW)))
    head, _, rest = client.transport.take().partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c"
    (found,) = client.owner.connections
    assert isinstance(found, Http2Connection)
    peer = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
    peer.initiate_upgrade_connection()
    client.send(peer.data_to_send())
    told = {type(event).__name__ for event in peer.receive_data(rest + client.transport.take())}
    assert {"ResponseReceived", "DataReceived", "StreamEnded"} <= told
    assert client.targets == [b"/first"]
    assert client.owner.in_flight == 0


def test_the_settings_of_an_upgrade_are_acted_on() -> None:
    client = DownstreamClient(settings(http2=True))
    client.send(UPGRADE % (b"h2c", encoded(WINDOW)))
    client.transport.take()
    client.last.request.start_response(response_head(), b"x" * 10000, False)
    client.loop.settle()
    assert client.transport.take().count(b"x") == 4096


@pytest.mark.parametrize(
    "request_bytes",
    [
        UPGRADE % (b"h2", encoded(WINDOW)),
        (UPGRADE % (b"h2c", encoded(WINDOW))).replace(b", HTTP2-Settings", b""),
        (UPGRADE % (b"h2c", encoded(WINDOW))).replace(b"HTTP2-Settings: ", b"HTTP2-Settings: \r\nHTTP2-Settings: "),
        (UPGRADE % (b"h2c", encoded(WINDOW))).replace(b"HTTP2-Settings: ", b"X: "),
        (UPGRADE % (b"h2c", encoded(WINDOW))).replace(b"HTTP/1.1", b"HTTP/1.0"),
        (UPGRADE % (b"h2c", encoded(WINDOW))).replace(b"Host: a", b"Host: a\r\nContent-Length: 1") + b"a",
        (UPGRADE % (b"h2c", encoded(WINDOW))) + GET % b"next",
    ],
    ids=["protocol", "not nominated", "two settings", "no settings", "HTTP/1.0", "body", "pipelined"],
)
def test_what_is_no_request_for_http_2_is_answered_in_http_1(request_bytes: bytes) -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    client.send(request_bytes)
    assert client.transport.take().startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "value", [b"AA", b"AAQAABA", b"AAQAABA=", b"AAQAAB+A", b"AAQAAB", encoded(b"\x00\x04\xff\xff\xff\xff")]
)
def test_malformed_settings_of_an_upgrade_are_refused(value: bytes) -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    client.send(UPGRADE % (b"h2c", value))
    sent = client.transport.take()
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert b"malformed HTTP2-Settings" in sent


def test_no_settings_are_settings() -> None:
    client = DownstreamClient(settings(http2=True), answer=immediately)
    client.send(UPGRADE % (b"websocket, h2c", b""))
    assert client.transport.take().startswith(b"HTTP/1.1 101 ")


def test_an_upgrade_is_ignored_where_http_2_is_not_wanted() -> None:
    client = DownstreamClient(answer=immediately)
    client.send(UPGRADE % (b"h2c", encoded(WINDOW)))
    assert client.transport.take().startswith(b"HTTP/1.1 200 OK\r\n")


# -- requests --------------------------------------------------------------------------------------------------------


def test_content_comes_to_the_handler_as_over_http_1() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", "/up", end=False)
    assert (client.last.content, client.last.end) == (b"", False)
    assert client.last.request.head.chunked
    client.content_of(number, b"abc")
    client.content_of(number, b"def", end=True)
    assert (client.last.content, client.last.end) == (b"abcdef", True)
    client.answer(b"done")
    assert client.answers[number].content == b"done"


def test_content_that_comes_with_its_head_is_handled_with_it() -> None:
    client = MultiplexingClient.started()
    number = client.h2.get_next_available_stream_id()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/"), ("content-length", "3")]
    client.h2.send_headers(number, head)
    client.h2.send_data(number, b"abc", end_stream=True)
    client.flush()
    assert (client.last.content, client.last.end) == (b"abc", True)


def test_trailers_of_a_request() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", end=False)
    client.h2.send_data(number, b"abc")
    client.h2.send_headers(number, [("x-checksum", "1")], end_stream=True)
    client.flush()
    assert (client.last.content, client.last.end) == (b"abc", True)
    assert client.last.request.trailers == b"x-checksum: 1\r\n"


def test_an_empty_frame_may_end_what_has_no_content() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", fields=[("content-length", "0")], end=False)
    assert client.last.end
    client.content_of(number, b"", end=True)
    client.answer(b"ok")
    assert (client.answers[number].ended, client.answers[number].reset) == (True, None)
    assert "0 streams" not in repr(client.served_by)
    assert "idle" in repr(client.served_by)


def test_an_answer_before_the_request_is_whole_leaves_the_rest() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", end=False)
    client.answer(b"no", 413)
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.reset) == (413, b"no", NO_ERROR)
    other = client.request(path="/next")
    client.answer(b"yes")
    assert client.answers[other].content == b"yes"


def test_streams_are_answered_in_any_order() -> None:
    client = MultiplexingClient.started()
    numbers = [client.request(path=f"/{index}") for index in range(5)]
    for index in (3, 0, 4, 1, 2):
        client.handled_at(f"/{index}").request.respond(local(b"%d" % index))
    client.take_in()
    assert [client.answers[number].content for number in numbers] == [b"0", b"1", b"2", b"3", b"4"]
    assert client.owner.in_flight == 0


def test_answers_of_one_turn_are_one_write() -> None:
    client = MultiplexingClient.started()
    for index in range(20):
        client.request(path=f"/{index}")
    before = client.transport.writes
    for each in client.handled:
        each.request.respond(local(b"x" * 100))
    client.take_in()
    assert client.transport.writes == before + 1
    client = MultiplexingClient.started(answer=immediately)
    before = client.transport.writes
    for _ in range(20):
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(
            number, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")], True
        )
    client.flush()
    assert len(client.handled) == 20
    assert client.transport.writes == before + 1


def test_interim_responses_and_expectations() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", fields=[("expect", "100-continue"), ("content-length", "3")], end=False)
    assert client.last.request.head.expects_continue
    client.last.request.inform(response_head(status=100))
    client.last.request.inform(response_head(b"Link: </a>", status=103))
    client.take_in()
    assert client.answers[number].informational == [100, 103]
    client.content_of(number, b"abc", end=True)
    client.answer()
    assert client.answers[number].status == 200


# -- responses -------------------------------------------------------------------------------------------------------


def test_what_is_of_one_hop_in_http_1_stays_there() -> None:
    client = MultiplexingClient.started(settings(http2=True, server=b"vrata"))
    number = client.request()
    head = response_head(b"Transfer-Encoding: chunked", b"Connection: x, close", b"X: 1", b"Y: 2", b"Keep-Alive: 5")
    client.respond(head, b"abc")
    client.content(b"def", end=True)
    answer = client.answers[number]
    assert answer.lines() == {"y: 2", "server: vrata"}
    assert (answer.content, answer.ended, answer.reset) == (b"abcdef", True, None)


def test_trailers_of_a_response() -> None:
    client = MultiplexingClient.started()
    number = client.request()
    client.respond(response_head(b"Transfer-Encoding: chunked"), b"abc")
    client.last.request.send_content(b"", True, b"grpc-status: 0\r\n")
    client.take_in()
    assert client.answers[number].trailers == [("grpc-status", "0")]
    number = client.request()
    client.last.request.start_response(response_head(), b"", True, b"grpc-status: 5\r\n")
    client.take_in()
    assert client.answers[number].trailers == [("grpc-status", "5")]
    assert client.answers[number].ended


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_content(method: str, status: int) -> None:
    client = MultiplexingClient.started()
    number = client.request(method)
    client.respond(response_head(b"Content-Length: 100", status=status), b"", end=True)
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.ended) == (status, b"", True)
    assert ("content-length: 100" in answer.lines()) is (status != 204)
    number = client.request(method)
    client.answer(b"own", status)
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.ended) == (status, b"", True)


def test_a_failure_is_answered_and_one_in_a_response_cuts_the_stream_alone() -> None:
    client = MultiplexingClient.started()
    number = client.request(path="/1")
    client.last.request.fail(Failure(FailureClass.TIMEOUT))
    client.take_in()
    assert (client.answers[number].status, client.answers[number].content) == (504, b"timeout")
    number = client.request(path="/2")
    client.respond(response_head(b"Content-Length: 10"), b"abc")
    client.last.request.fail(Failure(FailureClass.CONNECTION_RESET))
    client.take_in()
    assert (client.answers[number].content, client.answers[number].reset) == (b"abc", INTERNAL_ERROR)
    number = client.request(path="/3")
    client.answer(b"third")
    assert client.answers[number].content == b"third"
    assert client.owner.in_flight == 0


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "fields", "authority", "status"),
    [
        ("GET", [("expect", "nothing")], "a", 417),
        ("GET", [], "a b", PROTOCOL_ERROR),
        ("GET", [], "a/b", PROTOCOL_ERROR),
        ("GET", [("x", "y" * 70000)], "a", 431),
        ("GET", [(f"x{index}", "") for index in range(101)], "a", 431),
        ("POST", [("transfer-encoding", "chunked")], "a", PROTOCOL_ERROR),
    ],
    ids=["expectation", "authority", "host", "size", "lines", "field of the connection"],
)
def test_a_head_that_is_not_acceptable_ends_its_stream_alone(
    method: str, fields: list[tuple[str, str]], authority: str, status: int
) -> None:
    client = MultiplexingClient.started()
    number = client.request(method, fields=fields, authority=authority)
    answer = client.answers[number]
    if status < 100:
        assert answer.reset == status
    else:
        assert answer.status == status
        assert answer.ended
        assert answer.content
    assert not client.handled
    assert client.owner.in_flight == 0
    number = client.request()
    client.answer(b"fine")
    assert client.answers[number].content == b"fine"


def test_the_limit_of_fields_is_the_listeners() -> None:
    client = MultiplexingClient.started(settings(http2=True, max_fields_size=1000))
    number = client.request(fields=[("x", "y" * 1000)])
    answer = client.answers[number]
    assert (answer.status, answer.content) == (431, b"request_headers_too_large")


def test_a_plain_connect_is_not_offered() -> None:
    client = MultiplexingClient.started()
    number = client.h2.get_next_available_stream_id()
    answer = client.answers[number] = Answer()
    client.h2.send_headers(number, [(":method", "CONNECT"), (":authority", "a:1")])
    client.flush()
    assert answer.status == 501


def test_more_streams_than_are_allowed_are_refused() -> None:
    client = MultiplexingClient.started()
    client.believe_in_streams(1000)
    numbers = [client.request() for _ in range(129)]
    assert len(client.handled) == 128
    assert client.answers[numbers[-1]].reset == REFUSED_STREAM
    assert not client.goaways


# -- clients that go away --------------------------------------------------------------------------------------------


def test_a_stream_that_is_cancelled_ends_alone() -> None:
    client = MultiplexingClient.started()
    number = client.request(path="/1")
    client.request(path="/2")
    client.reset_stream(number)
    assert client.handled_at("/1").client_gone == 1
    assert client.handled_at("/2").client_gone == 0
    assert client.owner.in_flight == 1
    client.handled_at("/1").request.respond(local(b"late"))
    client.handled_at("/2").request.respond(local(b"two"))
    client.take_in()
    assert client.answers[3].content == b"two"
    assert client.owner.in_flight == 0


def test_streams_end_with_their_connection() -> None:
    client = MultiplexingClient.started()
    for index in range(3):
        client.request(path=f"/{index}")
    client.transport.reset()
    assert [each.client_gone for each in client.handled] == [1, 1, 1]
    assert client.owner.in_flight == 0
    assert not client.owner.connections


def test_a_client_that_has_closed_its_half_gets_its_answers() -> None:
    client = MultiplexingClient.started()
    number = client.request(path="/whole")
    client.request("POST", "/part", end=False)
    client.transport.receive_eof()
    assert client.handled_at("/part").client_gone == 1
    assert not client.transport.is_closing()
    client.handled_at("/whole").request.respond(local(b"answer"))
    client.loop.settle()
    for event in client.h2.receive_data(client.transport.take()):
        client._take(event)
    assert client.answers[number].content == b"answer"
    assert client.transport.closed


def test_a_client_that_says_goodbye_gets_its_answers() -> None:
    client = MultiplexingClient.started()
    number = client.request()
    client.h2.close_connection()
    data = client.h2.data_to_send()
    client.send(data)
    client.last.request.respond(local(b"answer"))
    client.loop.settle()
    assert b"answer" in client.transport.take()
    assert client.transport.ended
    assert number == 1


def test_a_broken_connection_is_told_so_and_closed() -> None:
    client = MultiplexingClient.started()
    client.request(path="/1")
    client.send(b"\x00\x00\x08\x06\x00\x00\x00\x00\x01xxxxxxxx")  # a ping on a stream
    client.take_in()
    assert [each.error_code for each in client.goaways] == [PROTOCOL_ERROR]
    assert client.last.client_gone == 1
    assert client.transport.ended
    client.loop.advance(3)
    assert client.transport.closed


# -- flow control ----------------------------------------------------------------------------------------------------


def test_a_response_that_is_not_taken_is_paused_and_others_go_on() -> None:
    client = MultiplexingClient.started()
    client.takes_content = False
    slow = client.request(path="/slow")
    client.respond(response_head(), b"x" * (65535 + HIGH + 1))
    assert len(client.answers[slow].content) == 65535
    assert client.handled_at("/slow").paused
    client.open_window(65535)
    quick = client.request(path="/quick")
    client.answer(b"quick")
    assert client.answers[quick].content == b"quick"
    client.open_window(HIGH, slow)
    client.open_window(HIGH)
    assert not client.handled_at("/slow").paused


def test_content_that_is_not_wanted_yet_gets_no_window() -> None:
    client = MultiplexingClient.started()
    number = client.request("POST", "/slow", end=False)
    client.last.request.pause_body()
    room = client.h2.local_flow_control_window(number)
    assert room == 262144
    while room:
        size = min(room, 16384)
        client.content_of(number, b"x" * size)
        room -= size
    assert client.h2.local_flow_control_window(number) == 0
    other = client.request("POST", "/quick", end=False)
    client.content_of(other, b"y" * 10000, end=True)
    assert client.handled_at("/quick").end
    client.handled_at("/slow").request.resume_body()
    client.take_in()
    assert client.h2.local_flow_control_window(number) == 262144


def test_the_connections_window_is_given_back_for_streams_that_have_ended() -> None:
    client = MultiplexingClient.started()
    for _ in range(100):
        number = client.request("POST", end=False)
        client.last.request.pause_body()
        client.content_of(number, b"x" * 16384)
        client.content_of(number, b"x" * 16384)
        client.content_of(number, b"x" * 16384)
        client.reset_stream(number)
    assert client.h2.outbound_flow_control_window > 65535


def test_who_takes_no_answers_is_not_read_for_ever() -> None:
    client = MultiplexingClient.started(window=1 << 20)
    client.open_window(1 << 20)
    client.request(path="/large")
    client.transport.stop_reading()
    client.respond(response_head(), b"x" * 300000, end=True)
    client.believe_in_streams(1000)
    begun = 0
    while client.transport.is_reading():
        client.request(path=f"/{begun}")
        client.answer(b"small", 204)
        begun += 1
    assert begun == MAX_UNTAKEN + 1
    client.transport.read_again()
    client.take_in()
    assert client.transport.is_reading()
    assert len(client.answers[1].content) == 300000
    assert {answer.ended for answer in client.answers.values()} == {True}


def test_who_takes_nothing_gets_a_few_interim_responses() -> None:
    client = MultiplexingClient.started(window=1 << 20)
    client.open_window(1 << 20)
    client.request(path="/large")
    number = client.request(path="/hints")
    client.transport.stop_reading()
    client.handled_at("/large").request.start_response(response_head(), b"x" * 200000, True)
    client.loop.settle()
    for _ in range(1000):
        client.handled_at("/hints").request.inform(response_head(b"Link: </a>", status=103))
    client.transport.read_again()
    client.take_in()
    assert client.answers[number].informational == [103] * INTERIM_UNTAKEN
