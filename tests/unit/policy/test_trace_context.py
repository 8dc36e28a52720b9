"""Trace contexts, with the examples of the Recommendation and of its test suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vrata.policy.trace_context import (
    TraceContext,
    in_head,
    is_chosen,
    is_state,
    parent_line,
    read_parent,
    sampling_limit,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("flags", "sampled"), [("01", True), ("00", False), ("02", False), ("03", True), ("ff", True), ("09", True)]
)
def test_a_valid_one(flags: str, sampled: bool) -> None:
    assert read_parent([f"00-{TRACE}-{SPAN}-{flags}".encode()]) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize("more", ["", "-", "-what-the-future-will-be-like"])
def test_one_of_a_later_version(more: str) -> None:
    assert read_parent([f"cc-{TRACE}-{SPAN}-01{more}".encode()]) == TraceContext(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-.0",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"..-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_a_malformed_one(text: str) -> None:
    assert read_parent([text.encode()]) is None


def test_one_of_several_is_none() -> None:
    value = f"00-{TRACE}-{SPAN}-01".encode()
    assert read_parent([]) is None
    assert read_parent([value, value]) is None


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"foo=1"],
        [b"foo=1 \t , \t bar=2, \t baz=3"],
        [b"foo=1,", b",bar=2", b""],
        [b"foo@system=1,0foo=2"],
        [b"foo= = ".replace(b" = ", b" !")],
        [b"%s=1" % (b"z" * 256)],
        [b"%s@%s=1" % (b"t" * 241, b"v" * 14)],
        [b"foo=%s" % (b"." * 256)],
        [b",".join(b"bar%02d=%02d" % (number, number) for number in range(1, 33))],
    ],
)
def test_valid_states(values: list[bytes]) -> None:
    assert is_state(values)


@pytest.mark.parametrize(
    "values",
    [
        [b"foo"],
        [b"foo=1;bar=2"],
        [b"foo =1"],
        [b"FOO=1"],
        [b"foo.bar=1"],
        [b"foo@=1,bar=2"],
        [b"@foo=1"],
        [b"foo@@bar=1"],
        [b"foo@bar@baz=1"],
        [b"foo="],
        [b"foo=bar=baz"],
        [b"foo=\x01"],
        [b"foo=\xc3\xa9"],
        [b"foo=1,foo=1"],
        [b"foo=1", b"foo=2"],
        [b"%s=1" % (b"z" * 257)],
        [b"%s@v=1" % (b"t" * 242)],
        [b"t@%s=1" % (b"v" * 15)],
        [b"foo=%s" % (b"." * 257)],
        [b",".join(b"bar%02d=%02d" % (number, number) for number in range(1, 34))],
    ],
)
def test_malformed_states(values: list[bytes]) -> None:
    assert not is_state(values)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.booleans())
def test_what_is_written_is_read_again(trace: bytes, span: bytes, sampled: bool) -> None:
    line = parent_line(trace.hex(), span.hex(), is_sampled=sampled)
    name, _, value = line.removesuffix(b"\r\n").partition(b": ")
    assert name == b"traceparent"
    known = any(trace) and any(span)
    assert read_parent([value]) == (TraceContext(trace.hex(), span.hex(), sampled) if known else None)


def test_the_ratio_of_all_traces() -> None:
    traces = [f"{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}" for number in range(1, 20_001)]
    for ratio, least, most in ((0.0, 0, 0), (0.1, 1_900, 2_100), (0.5, 9_800, 10_200), (1.0, 20_000, 20_000)):
        limit = sampling_limit(ratio)
        assert least <= sum(is_chosen(trace, limit) for trace in traces) <= most
    # Whoever records a tenth records what is among the tenth of others, and whoever records more records those too.
    chosen = {trace for trace in traces if is_chosen(trace, sampling_limit(0.1))}
    assert chosen == {trace for trace in chosen if is_chosen(trace, sampling_limit(0.2))}


@given(st.integers(0, (1 << 56) - 1), st.floats(0, 1))
def test_a_trace_is_chosen_by_its_last_56_bits(number: int, ratio: float) -> None:
    assert is_chosen(f"{number:032x}", sampling_limit(ratio)) == (number < ratio * (1 << 56))
    assert is_chosen(f"{'f' * 18}{number:014x}", sampling_limit(ratio)) == (number < ratio * (1 << 56))


HEAD = b"GET / HTTP/1.1\r\nhost: a\r\nTraceParent: x\r\nTRACESTATE:y\r\ntraceparent-like: z\r\ntraceparent: w\r\n\r\n"
LINE = b"traceparent: new\r\n"


def test_lines_of_a_head_are_replaced() -> None:
    assert in_head(HEAD, LINE, keeps_state=True) == (
        b"GET / HTTP/1.1\r\nhost: a\r\nTRACESTATE:y\r\ntraceparent-like: z\r\ntraceparent: new\r\n\r\n"
    )
    assert in_head(HEAD, LINE, keeps_state=False) == (
        b"GET / HTTP/1.1\r\nhost: a\r\ntraceparent-like: z\r\ntraceparent: new\r\n\r\n"
    )
    assert in_head(HEAD, b"", keeps_state=False) == HEAD.replace(b"TRACESTATE:y\r\n", b"")
    bare = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    assert in_head(bare, LINE, keeps_state=False) == bare[:-2] + LINE + b"\r\n"


_parents = st.builds(
    "-".join,
    st.tuples(
        st.sampled_from(["00", "01", "cc", "ff", "0", "0A"]),
        st.sampled_from([TRACE, TRACE.upper(), "0" * 32, TRACE[1:], TRACE + "0", "g" * 32]),
        st.sampled_from([SPAN, SPAN.upper(), "0" * 16, SPAN[1:], SPAN + "0"]),
        st.sampled_from(["00", "01", "ff", "0", "0g", "01-", "01-more", "01.more"]),
    ),
)


@given(_parents)
def test_what_is_read_is_what_the_library_of_opentelemetry_reads(text: str) -> None:
    found = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": text})).get_span_context()
    expected = None
    if found.is_valid:
        expected = TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled)
    assert read_parent([text.encode()]) == expected
