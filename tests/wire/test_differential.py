"""Vrata against h11, an independent reader: what Vrata accepts, h11 reads as the same message."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.h11_comparison import assert_same_request, assert_same_response, vrata_request
from tests.support.mutation import SNIPPETS, mutants

EXAMPLES = settings(max_examples=120)
MUTATIONS = settings(max_examples=200)

# -- messages --------------------------------------------------------------------------------------------------------

TOKEN = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map(str.encode)
VALUE = st.text("".join(map(chr, [9, *range(32, 127), *range(128, 256)])), max_size=20).map(
    lambda text: text.encode("latin-1").strip(b" \t")
)
SPACE = st.sampled_from([b"", b" ", b"\t", b" \t "])
TARGET = st.sampled_from(
    [b"/", b"/a/b?c=d", b"//", b"/%2e%2e/?", b"http://b.test/c?d", b"http://b", b"HTTPS://B:1?q", b"/a:b@c"]
)
MEANINGFUL = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})


@st.composite
def fields(draw: st.DrawFn) -> list[bytes]:
    names = TOKEN.filter(lambda name: name.lower() not in MEANINGFUL)
    pairs = draw(st.lists(st.tuples(names, SPACE, VALUE, SPACE), max_size=5))
    lines = [name + b":" + before + value + after for name, before, value, after in pairs]
    if draw(st.booleans()):
        lines.append(draw(st.sampled_from([b"Connection: close", b"connection:keep-alive", b"Connection: x-a, X-B"])))
    return lines


@st.composite
def framed(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The framing fields of a body, and the body in that framing."""
    content = draw(st.binary(max_size=30))
    match draw(st.sampled_from(["none", "length", "chunked"])):
        case "none":
            return [], b""
        case "length":
            zeros = draw(st.sampled_from([b"", b"0", b"000"]))
            return [b"Content-Length:" + draw(SPACE) + zeros + b"%d" % len(content) + draw(SPACE)], content
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(content) - 1)), max_size=3)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    extension = st.sampled_from([b"", b"", b";a", b";a=b", b'; a="b c"', b";"])
    chunks = [b"%x" % len(piece) + draw(extension) + b"\r\n" + piece + b"\r\n" for piece in pieces if piece]
    trailers = draw(st.sampled_from([b"", b"X: 1\r\n", b"Length: 9\r\nY:\r\n"]))
    coding = draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED "]))
    return [coding], b"".join(chunks) + b"0" + draw(extension) + b"\r\n" + trailers + b"\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"X-Y"]))
    framing, body = draw(framed())
    minor = 1 if any(b"ncoding" in line for line in framing) else draw(st.integers(0, 1))
    host = draw(st.sampled_from([b"Host: a", b"host:[::1]:80", b"HOST: a.test:8080"]))
    lines = draw(st.permutations([host, *draw(fields()), *framing]))
    rest = draw(st.sampled_from([b"", b"GET /next HTTP/1.1\r\n"]))
    line = method + b" " + draw(TARGET) + b" HTTP/1.%d" % minor
    return b"".join(text + b"\r\n" for text in [line, *lines, b""]) + body + rest


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from([200, 404, 204, 304, 500, 599]))
    framing, body = draw(framed())
    if status in (204, 304):
        framing, body = [], b""
    minor = 1 if any(b"ncoding" in line for line in framing) else draw(st.integers(0, 1))
    line = b"HTTP/1.%d %d" % (minor, status) + draw(st.sampled_from([b"", b" ", b" OK", b" Not \xe4 Found"]))
    lines = draw(st.permutations([*draw(fields()), *framing]))
    return b"".join(text + b"\r\n" for text in [line, *lines, b""]) + body


INSERTED = st.one_of(st.binary(min_size=1, max_size=2), st.sampled_from(SNIPPETS))


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with a few places changed, mostly where lines begin and end."""
    data = draw(messages)
    for _ in range(draw(st.integers(1, 3))):
        marks = [found.start() for found in re.finditer(rb"[\r\n:, ;]", data)]
        at = draw(st.one_of(st.sampled_from(marks or [0]), st.integers(0, len(data))))
        match draw(st.sampled_from(["insert", "delete", "replace", "repeat"])):
            case "insert":
                data = data[:at] + draw(INSERTED) + data[at:]
            case "delete":
                data = data[:at] + data[at + draw(st.integers(1, 3)) :]
            case "replace":
                new = draw(INSERTED)
                data = data[:at] + new + data[at + len(new) :]
            case _:
                data = data[:at] + data[at : at + draw(st.integers(1, 40))] + data[at:]
    return data


# -- the properties --------------------------------------------------------------------------------------------------


@EXAMPLES
@given(requests())
def test_valid_requests_are_read_alike(data: bytes) -> None:
    assert assert_same_request(data), "a valid request is refused"


@EXAMPLES
@given(responses(), st.sampled_from([b"GET", b"HEAD"]))
def test_valid_responses_are_read_alike(data: bytes, method: bytes) -> None:
    assert assert_same_response(data, method), "a valid response is refused"


@MUTATIONS
@given(mutated(requests()))
def test_what_only_one_of_two_readers_would_see_is_refused_in_requests(data: bytes) -> None:
    assert_same_request(data)


@MUTATIONS
@given(mutated(responses()), st.sampled_from([b"GET", b"HEAD"]))
def test_what_only_one_of_two_readers_would_see_is_refused_in_responses(data: bytes, method: bytes) -> None:
    assert_same_response(data, method)


@pytest.mark.parametrize(
    "data",
    [
        b"PUT /a?b HTTP/1.1\r\nHost: a\r\nX:1\r\nContent-Length: 5\r\n\r\nabcdeGET",
        b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: 1\r\n\r\nGET",
    ],
)
def test_every_small_change_of_a_request(data: bytes) -> None:
    assert assert_same_request(data)
    accepted = [assert_same_request(mutant) for mutant in mutants(data)]
    assert 0 < sum(accepted) < len(accepted) // 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nX:1\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_every_small_change_of_a_response(data: bytes) -> None:
    assert assert_same_response(data, b"GET")
    accepted = [assert_same_response(mutant, b"GET") for mutant in mutants(data)]
    assert 0 < sum(accepted) < len(accepted)


def test_the_one_place_where_we_accept_more() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reading = vrata_request(head + b"1 ;a\r\nb\r\n0\r\n\r\n")
    assert reading is not None
    assert (reading.content, reading.complete) == (b"b", True)
