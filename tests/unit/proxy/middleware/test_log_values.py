"""The time and the identifiers in lines of access logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from vrata.proxy.middleware.log_values import Clock, UuidSource, rfc3339_now

_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.lists(st.integers(0, 4_000_000_000_000_000_000), max_size=5))
def test_times_are_those_of_rfc3339_in_milliseconds(times: list[int]) -> None:
    clock = Clock()
    for time in times:
        for nanoseconds in (time, time + 1_000_000):
            told = datetime.fromisoformat(clock.text(nanoseconds))
            assert told == _1970 + timedelta(milliseconds=nanoseconds // 1_000_000)


def test_a_time_as_it_is_written() -> None:
    assert Clock().text(1_700_000_000_007_999_999) == "2023-11-14T22:13:20.007Z"


def test_the_time_of_now() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= datetime.fromisoformat(rfc3339_now()) <= datetime.now(UTC)


def test_identifiers_are_random_uuids() -> None:
    source = UuidSource()
    made = [source.next() for _ in range(1000)]
    assert len(set(made)) == 1000
    for text in made:
        uuid = UUID(text)
        assert (str(uuid), uuid.version, uuid.variant) == (text, 4, RFC_4122)
    # The bits that are chance are that: of each position nearly all digits have come.
    assert all(len({text[at] for text in made}) == 16 for at in range(36) if at not in (8, 13, 14, 18, 19, 23))
    assert {text[19] for text in made} == set("89ab")


def test_a_process_of_its_own_draws_anew() -> None:
    source = UuidSource()
    first = source.next()
    digits = source._digits
    source.forget()
    assert source.next() != first
    assert source._digits != digits
