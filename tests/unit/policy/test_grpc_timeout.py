"""The cap of ``grpc-timeout``: what is replaced, by what text, and where in a head."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.model.duration import parse_duration
from vrata.policy.grpc_timeout import GrpcTimeoutCap, seconds_of

SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def length(value: bytes) -> float:
    """The seconds of a well-formed value."""
    found = re.fullmatch(r"([0-9]{1,8})([HMSmun])", value.decode())
    assert found is not None, value
    return int(found[1]) * SECONDS[found[2]]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("5s", b"5000m"),
        ("1m", b"60000m"),
        ("1ms", b"1m"),
        # below 1000 µs in microseconds
        ("999us", b"999u"),
        ("1us", b"1u"),
        ("1000us", b"1m"),
        # what is left over does not count: the cap is never exceeded
        ("1500us", b"1m"),
        ("1.5us", b"1u"),
        # below a microsecond zero microseconds would be no time at all
        ("999ns", b"999n"),
        ("1ns", b"1n"),
        # no more than eight digits
        ("99999.999s", b"99999999m"),
        ("100000s", b"100000S"),
        ("27h46m40s", b"100000S"),
        ("27777h46m39s", b"99999999S"),
        ("27777h46m40s", b"1666666M"),
        ("2562047h", b"2562047H"),
    ],
)
def test_the_text_of_a_cap(limit: str, text: bytes) -> None:
    assert GrpcTimeoutCap(parse_duration(limit)).text == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # greater than five seconds, in every unit
        (b"6S", b"5000m"),
        (b"1M", b"5000m"),
        (b"1H", b"5000m"),
        (b"5001m", b"5000m"),
        (b"5000001u", b"5000m"),
        (b"99999999H", b"5000m"),
        # not greater
        (b"5S", b"5S"),
        (b"5000m", b"5000m"),
        (b"05000000u", b"05000000u"),
        (b"99999999n", b"99999999n"),
        (b"0S", b"0S"),
        (b"1n", b"1n"),
        # no such value
        (b"", b""),
        (b"S", b"S"),
        (b"99", b"99"),
        (b"99s", b"99s"),
        (b"99h", b"99h"),
        (b"-9S", b"-9S"),
        (b"+99S", b"+99S"),
        (b"9.9S", b"9.9S"),
        (b"99 S", b"99 S"),
        (b"99S ", b"99S "),
        (b"99S, 1S", b"99S, 1S"),
        (b"100000000S", b"5000m"),  # nine digits
        (b"9" * 5000 + b"n", b"5000m"),
        (b"100000000s", b"100000000s"),
        ("٩٩S".encode(), "٩٩S".encode()),  # not the protocol's digits
    ],
)
def test_what_is_greater_is_replaced(value: bytes, expected: bytes) -> None:
    assert GrpcTimeoutCap(5).capped(value) == expected


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"POST /a.B/C HTTP/1.1", b"host: x", *lines, b"x-forwarded-for: ::1", b"", b""))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"grpc-timeout: 1H", b"grpc-timeout: 5000m"),
        (b"Grpc-Timeout:1H", b"grpc-timeout: 5000m"),
        (b"GRPC-TIMEOUT:\t 1H \t", b"grpc-timeout: 5000m"),
        (b"grpc-timeout:  1S ", b"grpc-timeout:  1S "),
        (b"grpc-timeout: 123456789S", b"grpc-timeout: 5000m"),
        (b"grpc-timeout: 1h", b"grpc-timeout: 1h"),
        (b"grpc-timeout: 1H 1H", b"grpc-timeout: 1H 1H"),
        (b"grpc-timeout: ", b"grpc-timeout: "),
        (b"x-grpc-timeout: 1H", b"x-grpc-timeout: 1H"),
        (b"grpc-timeout-x: 1H", b"grpc-timeout-x: 1H"),
        (b"x: grpc-timeout: 1H", b"x: grpc-timeout: 1H"),
    ],
)
def test_one_line_of_a_head_is_replaced(line: bytes, expected: bytes) -> None:
    around = (b"te: trailers", b"content-type: application/grpc")
    assert GrpcTimeoutCap(5).in_head(head(around[0], line, around[1])) == head(around[0], expected, around[1])


def test_each_of_several_lines_is_held_to_the_cap() -> None:
    found = GrpcTimeoutCap(5).in_head(head(b"grpc-timeout: 1H", b"grpc-timeout: 1S", b"grpc-timeout: 2H"))
    assert found == head(b"grpc-timeout: 5000m", b"grpc-timeout: 1S", b"grpc-timeout: 5000m")


def test_a_head_without_one_stays_as_it_is() -> None:
    without = head(b"te: trailers")
    assert GrpcTimeoutCap(5).in_head(without) == without


caps = st.floats(1e-9, 9.2e9)
values = st.builds(
    lambda number, unit: b"%d%s" % (number, unit.encode()), st.integers(0, 99_999_999), st.sampled_from("HMSmun")
)


@given(caps)
def test_every_cap_has_a_text_that_is_valid_and_close_below_it(limit: float) -> None:
    text = GrpcTimeoutCap(limit).text
    unit = SECONDS[text[-1:].decode()]
    assert length(text) > 0
    assert limit - unit - 1e-9 <= length(text) * (1 - 1e-12) <= limit + 1e-9
    # As fine as the rules allow.
    if unit >= 1e-3:
        assert limit >= 1e-3 - 1e-9
        assert unit == 1e-3 or limit / {1.0: 1e-3, 60.0: 1.0, 3600.0: 60.0}[unit] >= 99_999_999


@given(caps, values)
def test_what_comes_out_is_what_came_in_or_the_cap(limit: float, value: bytes) -> None:
    cap = GrpcTimeoutCap(limit)
    found = cap.capped(value)
    assert found in (value, cap.text)
    if found == value:
        assert length(value) <= limit * (1 + 1e-12) + 1e-9
    else:
        assert length(value) > limit - 1e-9
        assert length(found) <= length(value)
    assert cap.capped(found) == found


@given(caps, st.binary(max_size=12))
def test_any_bytes_are_kept_unless_they_are_a_value(limit: float, value: bytes) -> None:
    if not re.fullmatch(rb"[0-9]+[HMSmun]", value):
        assert GrpcTimeoutCap(limit).capped(value) == value


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], float("inf")),
        ([b"1H"], 3600.0),
        ([b"2M"], 120.0),
        ([b"3S", b"1S"], 3.0),
        ([b"1500m"], 1.5),
        ([b"250u"], 0.00025),
        ([b"99999999n"], 0.099999999),
        ([b"0n"], 0.0),
        ([b"soon", b"1S"], float("inf")),
        ([b"123456789S"], float("inf")),
        ([b"1s"], float("inf")),
        ([b""], float("inf")),
    ],
)
def test_how_long_a_client_waits(values: list[bytes], seconds: float) -> None:
    assert seconds_of(values) == pytest.approx(seconds)


@given(values)
def test_what_a_value_allows_is_its_length(value: bytes) -> None:
    assert seconds_of([value]) == pytest.approx(length(value))


@given(caps)
def test_a_cap_in_seconds_is_what_its_text_says(limit: float) -> None:
    cap = GrpcTimeoutCap(limit)
    assert cap.seconds == pytest.approx(length(cap.text))


def test_no_duration_is_no_cap() -> None:
    for seconds in (0.0, -1.0):
        with pytest.raises(ValueError, match="no duration for a cap"):
            GrpcTimeoutCap(seconds)
