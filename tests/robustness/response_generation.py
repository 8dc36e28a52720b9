"""Strategies for what a backend says: responses that are nearly right, and pieces of the corpus combined."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.robustness.faults import LONGEST_PIECE, faulty, split_heads
from tests.robustness.responses import FAMILIES

_DATA = [case.data for cases in FAMILIES.values() for case in cases if 0 < len(case.data) <= LONGEST_PIECE]
_FIRST_LINES, _FIELD_LINES, _REMAINDERS = split_heads(_DATA)

METHODS = st.sampled_from([b"GET", b"GET", b"GET", b"HEAD"])


@st.composite
def _proper(draw: st.DrawFn) -> bytes:
    content = draw(st.binary(max_size=20))
    status = draw(
        st.sampled_from(
            [b"200 OK", b"200 ", b"204 No Content", b"304 X", b"404 Not Found", b"500 X", b"103 X", b"100 X"]
        )
    )
    lines = draw(
        st.lists(
            st.sampled_from([b"X: 1", b"Set-Cookie: a=b", b"Connection: close", b"Connection: x", b"Server: s"]),
            max_size=3,
        )
    )
    body = b""
    match draw(st.sampled_from(["none", "length", "wrong length", "chunked"])):
        case "length":
            lines.append(b"Content-Length: %d" % len(content))
            body = content
        case "wrong length":
            lines.append(b"Content-Length: %d" % max(0, len(content) + draw(st.integers(-3, 3))))
            body = content
        case "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            chunk = b"%x\r\n%b\r\n" % (len(content), content) if content else b""
            body = chunk + b"0\r\n" + draw(st.sampled_from([b"", b"", b"X: 1\r\n"])) + b"\r\n"
    line = draw(st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 "])) + status
    return b"".join(text + b"\r\n" for text in [line, *draw(st.permutations(lines)), b""]) + body


@st.composite
def _combined(draw: st.DrawFn) -> bytes:
    """A status line, field lines and a remainder that come from different cases of the corpus."""
    line = draw(st.one_of(st.just(b"HTTP/1.1 200 OK"), st.sampled_from(_FIRST_LINES)))
    lines = draw(st.lists(st.sampled_from(_FIELD_LINES), max_size=3))
    return b"".join(text + b"\r\n" for text in [line, *lines, b""]) + draw(st.sampled_from(_REMAINDERS))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """What a backend sends for one request, before it closes the connection."""
    one = st.one_of(_proper(), _proper(), _combined(), st.sampled_from(_DATA))
    return draw(faulty(b"".join(draw(st.lists(one, min_size=1, max_size=2))), _FIELD_LINES))
