"""Durations are read as Go reads them."""

from __future__ import annotations

import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.model.duration import Duration, PositiveDuration, parse_duration

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("5s", 5),
        ("+5s", 5),
        ("-5s", -5),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("1h0.25m3s", 3618),
        ("200ms", 0.2),
        ("12us", 12e-6),
        ("12\u00b5s", 12e-6),
        ("12\u03bcs", 12e-6),
        ("7ns", 7e-9),
        ("0.0000000005s", 0),
        ("1ms1h", 3600.001),
        ("0.3333333333333333333h", 1200),
        ("0100000000000000000000s", None),
        ("2562047h47m16.854775807s", 9223372036.854776),
        ("000000000000000000000000000001s", 1),
    ],
)
def test_a_text_and_its_seconds(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="longer than"):
            parse_duration(text)
    else:
        assert parse_duration(text) == pytest.approx(seconds, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "00",
        "5",
        "1.5",
        "s",
        ".s",
        "1d",
        "1w",
        "1S",
        "1H",
        "1 s",
        " 1s",
        "1s ",
        "1s\n",
        "1s-1s",
        "--1s",
        "1,5s",
        "1e3s",
        "0x1s",
        "1sm",
        "\u0661s",
        "1.2.3s",
        "inf",
        "P1D",
        "30 seconds",
    ],
)
def test_a_text_that_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["2562048h", "9223372036854775808ns", "9" * 400_000 + "s", "1000000h2000000h"])
def test_a_duration_that_64_bits_cannot_hold(text: str) -> None:
    with pytest.raises(ValueError, match="must not be longer than"):
        parse_duration(text)


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.text("0123456789", max_size=12), st.sampled_from(sorted(UNITS))),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", "+", "-"]),
)
def test_groups_add_up(groups: list[tuple[int, str, str]], sign: str) -> None:
    text = sign + "".join(f"{whole}.{fraction}{unit}" for whole, fraction, unit in groups)
    exact = sum(Fraction(f"{whole}.{fraction or 0}") * UNITS[unit] for whole, fraction, unit in groups)
    # Each group is cut to whole nanoseconds.
    assert (
        abs(Fraction(parse_duration(text)) * (-1 if sign == "-" else 1) * 10**9 - exact) <= len(groups) + exact / 10**15
    )


@given(st.text("0123456789.+-nuµmsh ", max_size=12) | st.text(max_size=8))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        duration = Duration(text)
    except ValueError:
        return
    assert duration == text
    assert duration.seconds == parse_duration(text)


def test_a_duration_is_its_text_and_survives_pickling() -> None:
    duration = pickle.loads(pickle.dumps(PositiveDuration("1m30s")))
    assert duration == "1m30s"
    assert duration.seconds == 90
    assert repr(duration) == "PositiveDuration('1m30s')"
