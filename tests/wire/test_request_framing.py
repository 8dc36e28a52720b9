"""Where a request ends: Content-Length, Transfer-Encoding, and the ways to make two readers disagree (RFC 9112 §6)."""

from __future__ import annotations

import pytest

from tests.support.request_message import accepted, message, refused
from tests.support.transcript import RequestReader, Transcript

# -- Content-Length (RFC 9112 §6.2, §6.3) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "length"), [(b"0", 0), (b"5", 5), (b"007", 7), (b" 5\t", 5), (b"0" * 18, 0), (b"9" * 18, 10**18 - 1)]
)
def test_a_content_length(value: bytes, length: int) -> None:
    head = accepted(message(b"Content-Length:" + value))
    assert (head.content_length, head.chunked, head.has_body) == (length, False, length > 0)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length:"],
        [b"Content-Length: "],
        [b"Content-Length: +5"],
        [b"Content-Length: -5"],
        [b"Content-Length: -0"],
        [b"Content-Length: 5 5"],
        [b"Content-Length: 5;"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length: 5,"],
        [b"Content-Length: ,5"],
        [b"Content-Length: 5, 6"],
        [b"Content-Length: 0x5"],
        [b"Content-Length: 5h"],
        [b"Content-Length: five"],
        [b"Content-Length: 5.0"],
        [b"Content-Length: 5e0"],
        [b"Content-Length: 1_0"],
        [b'Content-Length: "5"'],
        [b"Content-Length: \xb2"],
        [b"Content-Length: \xd9\xa5"],
        [b"Content-Length: " + b"9" * 19],
        [b"Content-Length: " + b"0" * 19],
        [b"Content-Length: " + b"9" * 5000],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 0"],
        [b"Content-Length: 0", b"Content-Length: 0"],
    ],
    ids=lambda lines: repr(b" ".join(lines))[:60],
)
def test_a_content_length_that_is_no_number_or_not_the_only_one(lines: list[bytes]) -> None:
    assert refused(message(*lines, body=b"12345")) == (400, "malformed Content-Length")


# -- Transfer-Encoding (RFC 9112 §6.1, §7) ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED", b"TE: x\r\nTRANSFER-ENCODING:\tChunked "]
)
def test_chunked(line: bytes) -> None:
    head = accepted(message(line, body=b"0\r\n\r\n"))
    assert (head.chunked, head.content_length, head.has_body) == (True, -1, True)


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        (b"Transfer-Encoding:", 400),
        (b"Transfer-Encoding: ,", 400),
        (b"Transfer-Encoding: identity", 400),
        (b"Transfer-Encoding: gzip", 400),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: deflate,chunked", 501),
        (b"Transfer-Encoding: identity, chunked", 501),
        (b"Transfer-Encoding: ,chunked", 501),
        (b"Transfer-Encoding: chunked,", 400),
        (b"Transfer-Encoding: chunked, identity", 400),
        (b"Transfer-Encoding: chunked, gzip", 400),
        (b"Transfer-Encoding: chunked, chunked", 400),
        (b"Transfer-Encoding: Chunked, chunked", 400),
        (b"Transfer-Encoding: chunked chunked", 400),
        (b"Transfer-Encoding: chunked;", 400),
        (b"Transfer-Encoding: chunked;q=1", 400),
        (b"Transfer-Encoding: chunked; foo=bar", 400),
        (b'Transfer-Encoding: "chunked"', 400),
        (b"Transfer-Encoding: 'chunked'", 400),
        (b"Transfer-Encoding: xchunked", 400),
        (b"Transfer-Encoding: chunkedx", 400),
        (b"Transfer-Encoding: chunke", 400),
        (b"Transfer-Encoding: chun\xe7ked", 400),
        (b"Transfer-Encoding: chunked\xa0", 400),
        (b"Transfer-Encoding: \xa0chunked", 400),
        (b"Transfer-Encoding: x: chunked", 400),
        (b"Transfer-Encoding:: chunked", 400),
        (b"Transfer-Encoding: \x00chunked", 400),
        (b"Transfer-Encoding: chunked\x00", 400),
        (b"Transfer-Encoding: \x0bchunked", 400),
        (b"Transfer-Encoding: \x0cchunked", 400),
        (b"Transfer-Encoding: chunked\x08", 400),
        (b"Transfer-Encoding: chunked\x7f", 400),
        (b"Transfer-Encoding: ch\runked", 400),
        (b"Transfer-Encoding: chunked\r", 400),
        (b"Transfer-Encoding:\rchunked", 400),
        (b"Transfer-Encoding\r: chunked", 400),
        (b"Transfer-Encoding:\n chunked", 400),
        (b"Transfer-Encoding:\r\n chunked", 400),
        (b"Transfer-Encoding:\r\n\tchunked", 400),
        (b"Transfer-Encoding: x\r\n chunked", 400),
        (b"Transfer-Encoding : chunked", 400),
        (b"Transfer-Encoding\t: chunked", 400),
        (b"Transfer-Encoding\x0b: chunked", 400),
        (b" Transfer-Encoding: chunked", 400),
        (b"X: y\nTransfer-Encoding: chunked", 400),
        (b"X: y\rTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 400),
        (b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\ntransfer-encoding:", 400),
    ],
    ids=repr,
)
def test_spellings_that_some_reader_takes_for_chunked_and_another_does_not(spelling: bytes, status: int) -> None:
    # With a Content-Length beside it, the two readers would see two different messages.
    assert refused(message(spelling, body=b"0\r\n\r\n"))[0] == status
    assert refused(message(b"Content-Length: 5", spelling, body=b"0\r\n\r\n"))[0] == status


@pytest.mark.parametrize(
    "spelling",
    [
        b"TransferEncoding: chunked",
        b"Transfer-Encodin: chunked",
        b"Transfer-Encodings: chunked",
        b"X-Transfer-Encoding: chunked",
        b"Content-Length-: 9",
    ],
    ids=repr,
)
def test_another_name_is_another_field(spelling: bytes) -> None:
    head = accepted(message(b"Content-Length: 5", spelling, body=b"12345"))
    assert (head.chunked, head.content_length) == (False, 5)
    assert head.passed == [spelling]


@pytest.mark.parametrize(
    "spelling", [b"Transfer_Encoding: chunked", b"Content_Length: 9", b"X_Forwarded-For: a", b"PROXY_CONNECTION: close"]
)
def test_a_name_with_underscores_that_cgi_would_take_for_another_field_is_left_behind(spelling: bytes) -> None:
    head = accepted(message(b"Content-Length: 5", spelling, b"X_Y: 1", body=b"12345"))
    assert (head.chunked, head.content_length, head.keep_alive) == (False, 5, True)
    assert list(head.forwarded_for) == []
    assert head.passed == [b"X_Y: 1"]


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
        [b"transfer-encoding:chunked", b"X: y", b"content-length:0"],
    ],
)
def test_both_framings(lines: list[bytes]) -> None:  # RFC 9112 §6.1, §6.3 rule 3
    assert refused(message(*lines, body=b"0\r\n\r\n")) == (400, "both Transfer-Encoding and Content-Length")


def test_transfer_encoding_in_http_1_0() -> None:  # RFC 9112 §6.1
    request = message(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0", body=b"0\r\n\r\n")
    assert refused(request) == (400, "Transfer-Encoding in an HTTP/1.0 request")


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"POST"])
def test_framing_does_not_depend_on_the_method(method: bytes) -> None:  # RFC 9112 §6
    head = accepted(message(b"Content-Length: 3", line=method + b" / HTTP/1.1", body=b"abcGET"))
    assert head.has_body
    assert not accepted(message(line=method + b" / HTTP/1.1")).has_body


def test_the_body_ends_where_the_head_said_and_the_rest_is_the_next_request() -> None:  # RFC 9112 §6.3
    following = message()
    for request in (
        message(b"Content-Length: 3", body=b"abc"),
        message(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
    ):
        result = Transcript(request + following).read(RequestReader)
        assert result[-3:] == (b"abc", True, following)
