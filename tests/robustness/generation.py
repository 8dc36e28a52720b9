"""Strategies for streams of requests that are nearly right: the grammar with faults, and the corpus recombined."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.robustness.case import SMUGGLED
from tests.robustness.corpus import FAMILIES
from tests.robustness.faults import LONGEST_PIECE, faulty, split_heads

_DATA = [case.data for cases in FAMILIES.values() for case in cases if len(case.data) <= LONGEST_PIECE]
_FIRST_LINES, _FIELD_LINES, _REMAINDERS = split_heads(_DATA)

# -- the grammar -----------------------------------------------------------------------------------------------------

_METHOD = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"GPOST"])
_TARGET = st.sampled_from(
    [b"/", b"/a/b?c=d", b"//x", b"/%2e%2e%2fa", b"/a;b", b"/?", b"http://b.test/c?d", b"http://b.test", b"/a%00", b"*"]
)
_VERSION = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0"])
_HOST = st.sampled_from([b"Host: a.test", b"host:b.test:80", b"HOST:\t[::1] ", b"Host: a.test."])
_SPACE = st.sampled_from([b"", b" ", b"\t", b" \t "])
_TOKEN = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map(str.encode)
_VALUE = st.binary(max_size=12).map(lambda data: bytes(c for c in data if c == 9 or 32 <= c != 127))
_EXTRA = st.one_of(
    st.tuples(_TOKEN, _SPACE, _VALUE, _SPACE).map(lambda parts: parts[0] + b":" + b"".join(parts[1:])),
    st.sampled_from(
        [
            *(b"Connection: close", b"connection: keep-alive", b"Connection: x-a, te", b"Connection: content-length"),
            *(b"Expect: 100-continue", b"TE: trailers", b"Trailer: x", b"Upgrade: websocket", b"Upgrade: h2c"),
            *(b"Connection: Upgrade", b"X-Forwarded-For: 1.2.3.4", b"Cookie: a=b", b"Content-Encoding: chunked"),
        ]
    ),
)
_CONTENT = st.one_of(
    st.binary(max_size=20), st.sampled_from([SMUGGLED, b"0\r\n\r\n", b"0\r\n\r\n" + SMUGGLED, b"GPOST / HTTP/1.1\r\n"])
)
_EXTENSION = st.sampled_from([b""] * 6 + [b";a", b";a=b", b';a="b;c"', b";", b" ;a"])


@st.composite
def _chunks(draw: st.DrawFn, content: bytes) -> bytes:
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(content) - 1)), max_size=2)))
    parts = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    size = draw(st.sampled_from([b"%x", b"%X", b"%04x"]))
    body = b"".join(size % len(part) + draw(_EXTENSION) + b"\r\n" + part + b"\r\n" for part in parts if part)
    trailers = draw(st.sampled_from([b""] * 4 + [b"X: 1\r\n", b"X:\r\nY: 2\r\n"]))
    return body + draw(st.sampled_from([b"0", b"00"])) + draw(_EXTENSION) + b"\r\n" + trailers + b"\r\n"


@st.composite
def proper(draw: st.DrawFn) -> bytes:
    """A request by the rules, but for a length that now and then is not that of its body."""
    content = draw(_CONTENT)
    framing, body = [], b""
    match draw(st.sampled_from(["none", "length", "wrong length", "chunked", "chunked"])):
        case "length":
            framing, body = [b"Content-Length:" + draw(_SPACE) + b"%d" % len(content)], content
        case "wrong length":
            framing, body = [b"Content-Length: %d" % max(0, len(content) + draw(st.integers(-3, 3)))], content
        case "chunked":
            framing, body = (
                [draw(st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED"]))],
                draw(_chunks(content)),
            )
    lines = draw(st.permutations([draw(_HOST), *draw(st.lists(_EXTRA, max_size=3)), *framing]))
    line = b" ".join([draw(_METHOD), draw(_TARGET), draw(_VERSION)])
    return b"".join(text + b"\r\n" for text in [line, *lines, b""]) + body


@st.composite
def combined(draw: st.DrawFn) -> bytes:
    """A request line, field lines and a remainder that come from different cases of the corpus."""
    line = draw(st.one_of(*[st.just(b"POST / HTTP/1.1")] * 3, st.sampled_from(_FIRST_LINES)))
    rest = draw(st.sampled_from(_REMAINDERS))
    framing = [b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(rest)]
    lines = [
        *draw(st.sampled_from([[b"Host: a.test"]] * 5 + [[]])),
        *draw(st.sampled_from([[each] for each in framing] + [[]])),
    ]
    for each in draw(st.lists(st.sampled_from(_FIELD_LINES), max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), each)
    return b"".join(text + b"\r\n" for text in [line, *lines, b""]) + rest


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a client sends over one connection."""
    one = st.one_of(proper(), proper(), combined(), st.sampled_from(_DATA))
    return draw(faulty(b"".join(draw(st.lists(one, min_size=1, max_size=3))), _FIELD_LINES))


@st.composite
def divided(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """*data* in pieces."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=6)))
    return [piece for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[start:end])]
