"""Response heads in bytes: status lines, framing, persistence, and the head that goes to the client."""

from __future__ import annotations

import re

import pytest

from tests.support.transcript import ResponseReader, Transcript
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import MAX_FIELDS, MAX_HEAD, ResponseHead, parse_response_head

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"


def message(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    """A response of *line* and *fields*."""
    return b"".join(text + b"\r\n" for text in (line, *fields)) + b"\r\n" + body


def accepted(data: bytes, method: bytes = b"GET") -> ResponseHead:
    """The head of *data*, the same one however the bytes are cut."""
    Transcript(data).read(lambda: ResponseReader(method))
    head = parse_response_head(data)
    assert head is not None, "the head is unfinished"
    return head


def refused(data: bytes) -> str:
    return Transcript(data).refusal(ResponseReader).reason


def emitted(
    head: ResponseHead,
    *,
    chunked: bool = False,
    close: bool = False,
    keep_alive_1_0: bool = False,
    server: bytes | None = None,
) -> list[bytes]:
    """The lines of the head for the client."""
    text = head.emit(chunked=chunked, close=close, keep_alive_1_0=keep_alive_1_0, server=server)
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\r\n\r\n") == 1
    return text[:-4].split(b"\r\n")


# -- the status line (RFC 9112 §4) -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "minor"),
    [
        (b"HTTP/1.1 200 OK", 200, 1),
        (b"HTTP/1.0 200 OK", 200, 0),
        (b"HTTP/1.1 200 ", 200, 1),
        (b"HTTP/1.1 200", 200, 1),  # without the space that the grammar wants; common, and there is one way to read it
        (b"HTTP/1.1 404 Not \t Found", 404, 1),
        (b"HTTP/1.1 404  two spaces", 404, 1),
        (b"HTTP/1.1 299 gr\xfc\xdf dich", 299, 1),
        (b"HTTP/1.1 599 x", 599, 1),
        (b"HTTP/1.1 999 x", 999, 1),
    ],
    ids=repr,
)
def test_a_status_line(line: bytes, status: int, minor: int) -> None:
    head = accepted(message(line=line))
    assert (head.status, head.minor) == (status, minor)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 099 x",
        b"HTTP/1.1 000 x",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\x0bK",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200 OK\nX: 1",
        b"http/1.1 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/0.9 200 OK",
        b"HTTP/1 200 OK",
        b"ICY 200 OK",
        b"220 mail.test ESMTP",
        b"SSH-2.0-x",
        b"\x15\x03\x01\x00\x02\x02",
        b"<html>",
    ],
    ids=repr,
)
def test_a_malformed_status_line(line: bytes) -> None:
    assert refused(message(line=line)) == "malformed response head"


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"\x15\x03\x01", b"HTTP/1.1 200 OK\nX: 1", b"<html>\n", b"\r\n"])
def test_garbage_is_not_waited_for(data: bytes) -> None:
    assert refused(data) == "malformed response head"


# -- field lines (RFC 9112 §5) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"X : 1",
        b"X\t: 1",
        b" X: 1",
        b"X Y: 1",
        b": 1",
        b"X",
        b"X: 1\r\n folded",
        b"X: 1\r\n\tfolded",
        b"X: 1\nY: 2",
        b"X: 1\rY: 2",
        b"X: 1\r",
        b"X: a\x00b",
        b"X: a\x1bb",
        b"X: a\x7fb",
        b"X\xe4: 1",
    ],
    ids=repr,
)
def test_a_malformed_field_line(line: bytes) -> None:
    assert refused(message(line)) == "malformed response head"


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 OK\n\n", b"HTTP/1.1 200 OK\r\nX: 1\n\n", b"HTTP/1.1 200 OK\r\nX: 1\n\r\n"], ids=repr
)
def test_lines_that_end_in_lf_alone(data: bytes) -> None:  # RFC 9112 §2.2
    assert refused(data) == "malformed response head"


def test_fields_go_on_as_they_came() -> None:
    lines = [b"Set-Cookie: a=1", b"X:\xe4 ", b"set-cookie:b=2", b"X-Empty:", b"Via: 1.1 x"]
    assert accepted(message(*lines)).passed == lines


def test_the_largest_head() -> None:
    def padded(size: int) -> bytes:
        return message(b"X: " + b"x" * (size - len(message(b"X: "))))

    assert parse_response_head(padded(MAX_HEAD)) is not None
    for data in (padded(MAX_HEAD + 1), padded(MAX_HEAD + 9)[: MAX_HEAD + 1]):
        with pytest.raises(MalformedMessage, match="response headers too large"):
            parse_response_head(data)


def test_the_largest_number_of_fields() -> None:
    assert len(accepted(message(*[b"X:"] * MAX_FIELDS)).passed) == MAX_FIELDS
    assert refused(message(*[b"X:"] * (MAX_FIELDS + 1))) == "too many response header lines"


# -- framing (RFC 9112 §6.3) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "body", "content", "rest"),
    [
        pytest.param([b"Content-Length: 3"], b"abcHTTP", b"abc", b"HTTP", id="length, rule 6"),
        pytest.param([b"Content-Length: 0"], b"HTTP", b"", b"HTTP", id="length of nothing"),
        pytest.param([b"Transfer-Encoding: chunked"], b"3\r\nabc\r\n0\r\n\r\nHTTP", b"abc", b"HTTP", id="rule 4"),
        pytest.param([b"Transfer-Encoding: CHUNKED"], b"0\r\n\r\n", b"", b"", id="chunked in capitals"),
    ],
)
def test_a_body_that_ends_by_itself(fields: list[bytes], body: bytes, content: bytes, rest: bytes) -> None:
    assert Transcript(message(*fields, body=body)).read(ResponseReader)[-3:] == (content, True, rest)


@pytest.mark.parametrize("minor", [0, 1])
def test_a_body_that_the_close_ends(minor: int) -> None:  # rule 8
    data = message(line=b"HTTP/1.%d 200 OK" % minor, body=b"abc")
    assert Transcript(data).read(ResponseReader)[-3:] == (b"abc", False, b"")
    reader = ResponseReader()
    reader.feed(data)
    assert reader.body.close()


@pytest.mark.parametrize(
    ("method", "status"),
    [(b"HEAD", 200), (b"HEAD", 404), (b"GET", 204), (b"GET", 304), (b"POST", 204), (b"GET", 100), (b"GET", 103)],
)
@pytest.mark.parametrize("field", [b"X: 1", b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_responses_without_a_body(method: bytes, status: int, field: bytes) -> None:  # rule 1
    data = message(field, line=b"HTTP/1.1 %d x" % status, body=b"HTTP/1.1 200 OK\r\n")
    assert Transcript(data).read(lambda: ResponseReader(method))[-3:] == (b"", True, b"HTTP/1.1 200 OK\r\n")
    assert not accepted(data, method).body_expected(method)


@pytest.mark.parametrize(
    ("method", "status"), [(b"GET", 200), (b"POST", 201), (b"GET", 205), (b"get", 500), (b"head", 200)]
)
def test_responses_with_a_body(method: bytes, status: int) -> None:  # RFC 9110 §9.1: methods are case-sensitive
    assert accepted(message(line=b"HTTP/1.1 %d x" % status)).body_expected(method)


@pytest.mark.parametrize(
    ("fields", "minor"),
    [
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], 1),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], 1),
        ([b"Transfer-Encoding: chunked"], 0),
    ],
)
@pytest.mark.parametrize("status", [200, 204, 304])
def test_conflicting_framing(fields: list[bytes], minor: int, status: int) -> None:  # rule 3, §6.1
    data = message(*fields, line=b"HTTP/1.%d %d x" % (minor, status), body=b"0\r\n\r\n")
    assert refused(data) == "conflicting response framing"


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: +5"],
        [b"Content-Length: -1"],
        [b"Content-Length:"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 1_0"],
        [b"Content-Length: " + b"9" * 19],
    ],
    ids=repr,
)
def test_a_content_length_that_is_no_number_or_not_the_only_one(lines: list[bytes]) -> None:  # rule 5
    assert refused(message(*lines)) == "malformed Content-Length"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked, gzip",
        b"chunked;q=1",
        b"xchunked",
        b"chunked\r\nTransfer-Encoding: chunked",
        b"gzip\r\nTransfer-Encoding: chunked",
    ],
    ids=repr,
)
def test_a_coding_that_is_not_chunked_alone(value: bytes) -> None:
    assert refused(message(b"Transfer-Encoding: " + value)) in (
        "unsupported transfer coding",
        "malformed Transfer-Encoding",
    )


# -- persistence and hop-by-hop fields (RFC 9112 §9.3, RFC 9110 §7.6.1) ----------------------------------------------


@pytest.mark.parametrize(
    ("minor", "lines", "keep_alive"),
    [
        (1, [], True),
        (1, [b"Connection: close"], False),
        (1, [b"Connection: Close, x"], False),
        (1, [b"Connection: keep-alive", b"Connection: close"], False),
        (1, [b"Connection: keep-alive"], True),
        (0, [], False),
        (0, [b"Connection: Keep-Alive"], True),
        (0, [b"Connection: close"], False),
        (0, [b"Keep-Alive: timeout=5"], False),
    ],
)
def test_keep_alive(minor: int, lines: list[bytes], keep_alive: bool) -> None:
    assert accepted(message(*lines, line=b"HTTP/1.%d 200 OK" % minor)).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([b"Keep-Alive: timeout=5", b"X: 1"], [b"X: 1"]),
        ([b"Proxy-Connection: close", b"Proxy-Authenticate: Basic", b"X: 1"], [b"X: 1"]),
        ([b"Trailer: X", b"Upgrade: h2c", b"TE: x", b"X: 1"], [b"X: 1"]),
        ([b"Connection: x-a, X-B", b"X-A: 1", b"x-b: 2", b"X-C: 3"], [b"X-C: 3"]),
        ([b"X-A: 1", b"Connection: x-a"], []),
    ],
)
def test_hop_by_hop_fields_do_not_go_on(lines: list[bytes], passed: list[bytes]) -> None:
    assert accepted(message(*lines)).passed == passed


def test_connection_cannot_remove_the_framing() -> None:
    head = accepted(message(b"Connection: content-length", b"Content-Length: 3", body=b"abc"))
    assert head.content_length == 3
    head = accepted(message(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"))
    assert head.chunked


def test_a_nominated_server_field_does_not_go_on() -> None:
    assert accepted(message(b"Server: x", b"Connection: server")).server is None


# -- emission for the client -----------------------------------------------------------------------------------------


def test_an_emitted_head() -> None:
    head = accepted(message(DATE, b"Content-Type: a", b"Content-Length: 03", b"Server: up", b"X: b", body=b"abc"))
    assert emitted(head) == [b"HTTP/1.1 200 OK", DATE, b"Content-Type: a", b"X: b", b"content-length: 3", b"server: up"]
    assert emitted(head, server=b"vrata")[-1] == b"server: vrata"
    assert emitted(head, close=True)[-1] == b"connection: close"
    assert emitted(head, keep_alive_1_0=True)[-1] == b"connection: keep-alive"
    assert emitted(head, close=True, keep_alive_1_0=True)[-1] == b"connection: close"


def test_an_emitted_head_has_our_version_and_the_registered_phrase() -> None:  # RFC 9112 §4: the phrase says nothing
    assert emitted(accepted(message(DATE, line=b"HTTP/1.0 404 Nope")))[0] == b"HTTP/1.1 404 Not Found"
    assert emitted(accepted(message(DATE, line=b"HTTP/1.1 799 Own")))[0] == b"HTTP/1.1 799 "


def test_framing_is_emitted_once() -> None:
    chunked = accepted(message(DATE, b"Transfer-Encoding: Chunked", body=b"0\r\n\r\n"))
    assert emitted(chunked, chunked=True)[2:] == [b"transfer-encoding: chunked"]
    assert emitted(chunked)[2:] == []  # for HTTP/1.0 and HEAD
    until_close = accepted(message(DATE))
    assert emitted(until_close, chunked=True)[2:] == [b"transfer-encoding: chunked"]
    empty = accepted(message(DATE, b"Content-Length: 0"))
    assert emitted(empty)[2:] == [b"content-length: 0"]


@pytest.mark.parametrize("status", [100, 103, 199, 204])
@pytest.mark.parametrize("field", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_framing_that_the_status_forbids_does_not_go_on(status: int, field: bytes) -> None:  # RFC 9110 §8.6
    head = accepted(message(DATE, field, line=b"HTTP/1.1 %d x" % status))
    assert emitted(head)[1:] == [DATE]


def test_304_says_the_length_that_200_would_have() -> None:  # RFC 9110 §8.6
    assert b"content-length: 3" in emitted(accepted(message(b"Content-Length: 3", line=b"HTTP/1.1 304 x")))


def test_a_response_without_a_date_gets_one() -> None:  # RFC 9110 §6.6.1
    dates = [line for line in emitted(accepted(message())) if line.lower().startswith(b"date:")]
    assert len(dates) == 1
    assert re.fullmatch(rb"date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", dates[0])
    assert emitted(accepted(message(line=b"HTTP/1.1 103 Early Hints"))) == [b"HTTP/1.1 103 Early Hints"]


@pytest.mark.parametrize(
    ("value", "is_event_stream"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream ; charset=utf-8", True),
        (b"text/event-stream;charset=utf-8", True),
        (b"text/event-streams", False),
        (b"text/plain", False),
        (b"", False),
    ],
)
def test_event_streams(value: bytes, is_event_stream: bool) -> None:
    assert accepted(message(b"X: 1", b"content-type: " + value)).is_event_stream is is_event_stream


@pytest.mark.parametrize(
    ("value", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"Application/GRPC+proto ", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ],
)
def test_responses_of_grpc(value: bytes, is_grpc: bool) -> None:
    assert accepted(message(b"X: 1", b"content-type: " + value)).is_grpc is is_grpc
    assert not accepted(message(b"content-type: " + value, b"connection: content-type")).is_grpc


def test_the_values_of_a_field() -> None:
    head = accepted(message(b"Grpc-Status: 1 ", b"date: x", b"grpc-status:2", b"Y: 3", b"connection: y"))
    assert head.values(b"grpc-status") == [b"1", b"2"]
    assert head.values(b"date") == [b"x"]
    assert head.values(b"y") == head.values(b"connection") == head.values(b"z") == []


def test_informational_heads_are_told_apart() -> None:  # RFC 9110 §15.2
    assert accepted(message(line=b"HTTP/1.1 100 Continue")).is_informational
    assert not accepted(message()).is_informational
    assert not accepted(message()).is_event_stream
    assert repr(accepted(message())) == "<ResponseHead 200>"
