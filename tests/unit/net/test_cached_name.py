"""What is decided about a name, on a clock of the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.net.cached_name import (
    FIRST_RETRY,
    MAX_NEGATIVE_TTL,
    MAX_RETRY,
    MAX_STALE,
    MAX_STALE_RETRY,
    MAX_TTL,
    MIN_TTL,
    Advice,
    Answer,
    Answers,
    CachedName,
    Failed,
    Family,
    Found,
    Missing,
)

V6, V4 = Family.V6, Family.V4
NO_V6 = Missing("no AAAA records", 1e6, name_exists=True)
GONE = {V6: Missing("gone", 300), V4: Missing("gone", 300)}
DOWN = {V6: Failed("down"), V4: Failed("down")}


def found(*addresses: str, ttl: float = 60) -> Answers:
    return {V6: NO_V6, V4: Found(addresses, ttl)}


def learned(*steps: tuple[float, Answers], chance: float = 0.5) -> CachedName:
    name = CachedName()
    for now, answers in steps:
        name.learn(answers, now, chance)
    return name


def test_of_a_new_name_nothing_is_known() -> None:
    name = CachedName()
    assert name.advice(0) is Advice.ASK
    assert name.addresses(0) == {}
    assert not name.is_known_missing(0)


def test_addresses_hold_for_their_time_to_live() -> None:
    name = learned((100, found("192.0.2.1", ttl=60)))
    assert name.advice(159.9) is Advice.USE
    assert name.addresses(159.9) == {V4: ("192.0.2.1",)}
    assert not name.is_stale(159.9)
    assert name.advice(160) is Advice.ASK_BRIEFLY
    assert name.is_stale(160)


@pytest.mark.parametrize(("ttl", "lasts"), [(0, MIN_TTL), (1, 1), (3600, 3600), (86400, MAX_TTL)])
def test_times_to_live_are_kept_within_bounds(ttl: float, lasts: float) -> None:
    assert learned((0, found("192.0.2.1", ttl=ttl))).valid_until == lasts


def test_the_shorter_time_of_both_families_counts() -> None:
    name = learned((0, {V6: Found(("2001:db8::1",), 20), V4: Found(("192.0.2.1",), 60)}))
    assert name.valid_until == 20


def test_that_there_is_only_one_family_is_remembered_as_long_as_its_addresses() -> None:
    assert learned((0, found("192.0.2.1", ttl=200))).valid_until == 200
    no_v6 = Missing("no AAAA records", 30, name_exists=True)
    assert learned((0, {V6: no_v6, V4: Found(("192.0.2.1",), 200)})).valid_until == 30


@pytest.mark.parametrize(("chance", "at"), [(0.0, 80), (1.0, 95)])
def test_a_name_in_use_is_refreshed_before_its_time_is_up(chance: float, at: float) -> None:
    assert learned((0, found("192.0.2.1", ttl=100)), chance=chance).refresh_at == pytest.approx(at)


@pytest.mark.parametrize(("ttl", "lasts"), [(0, MIN_TTL), (3, 3), (3600, MAX_NEGATIVE_TTL)])
def test_that_a_name_does_not_exist_is_remembered_for_a_short_time(ttl: float, lasts: float) -> None:
    name = learned((0, {V6: Missing("gone", 3600), V4: Missing("gone", ttl)}))
    assert name.valid_until == lasts
    assert name.advice(lasts - 0.1) is Advice.REFUSE
    assert name.advice(lasts) is Advice.ASK
    assert name.reason == "gone"


def test_a_failure_leaves_addresses_in_use_up_to_the_bound() -> None:
    name = learned((0, found("192.0.2.1", ttl=60)), (60, DOWN))
    assert name.advice(60) is Advice.USE
    assert name.advice(60 + FIRST_RETRY) is Advice.USE_AND_ASK
    assert name.reason == "down"
    end = 60 + MAX_STALE
    assert name.addresses(end - 0.1) == {V4: ("192.0.2.1",)}
    assert name.addresses(end) == {}
    name.learn(DOWN, end, 0.5)
    assert name.advice(end) is Advice.REFUSE
    assert not name.is_known_missing(end)


def test_that_a_name_is_gone_ends_its_addresses_at_once() -> None:
    name = learned((0, found("192.0.2.1", ttl=60)), (50, GONE))
    assert name.addresses(50) == {}
    assert name.advice(50) is Advice.REFUSE
    assert name.is_known_missing(50)


def test_that_a_name_was_gone_is_still_known_after_a_failure() -> None:
    name = learned((0, GONE), (10, DOWN))
    assert name.is_known_missing(10)
    assert not name.is_known_missing(MAX_NEGATIVE_TTL + MAX_STALE)


def test_a_family_that_fails_keeps_its_addresses_and_the_other_one_changes() -> None:
    both: Answers = {V6: Found(("2001:db8::1",), 60), V4: Found(("192.0.2.1",), 60)}
    name = learned((0, both), (50, {V6: Failed("down"), V4: Found(("192.0.2.2",), 60)}))
    assert name.addresses(50) == {V6: ("2001:db8::1",), V4: ("192.0.2.2",)}
    assert name.failures == 1
    name.learn(found("192.0.2.3"), 52, 0.5)
    assert name.addresses(52) == {V4: ("192.0.2.3",)}
    assert (name.failures, name.reason) == (0, "")


def test_a_family_that_fails_takes_nothing_from_the_time_to_live_of_the_other() -> None:
    half: Answers = {V6: Failed("down"), V4: Found(("192.0.2.1",), 5)}
    name = learned(*[(5.0 * turn, half) for turn in range(8)], chance=0.0)
    # By now the pause would be 15 s.
    assert name.valid_until == 35 + 5
    assert name.refresh_at == 35 + 4
    assert not name.is_stale(39.9)
    # The pause counts where it is shorter.
    assert learned((0, half), chance=1.0).valid_until == FIRST_RETRY


def test_a_name_is_not_missing_while_one_family_was_never_answered() -> None:
    half: Answers = {V6: Failed("down"), V4: Missing("no A records", 5, name_exists=True)}
    name = learned((0, half))
    assert not name.is_known_missing(0)
    assert not name.is_known_missing(4)
    name.learn(GONE, 5, 0.5)
    assert name.is_known_missing(5)


def test_addresses_are_stale_from_when_the_first_expire() -> None:
    both: Answers = {V6: Found(("2001:db8::1",), 20), V4: Found(("192.0.2.1",), 60)}
    assert learned((100, both)).stale_at() == 120
    assert learned((100, GONE)).stale_at() == float("inf")


def test_pauses_after_failures_grow_to_a_bound() -> None:
    def pauses(name: CachedName, now: float) -> list[float]:
        result = []
        for _ in range(8):
            name.learn(DOWN, now, 1.0)
            result.append(name.valid_until - now)
            now = name.valid_until
        return result

    assert pauses(CachedName(), 0) == [1, 2, 4, 5, 5, 5, 5, MAX_RETRY]
    assert pauses(learned((0, found("192.0.2.1"))), 60) == [1, 2, 4, 8, 16, 30, 30, MAX_STALE_RETRY]


def test_the_first_failure_after_the_bound_is_no_later_than_the_bound() -> None:
    name = learned((0, found("192.0.2.1", ttl=60)), *[(3600 + each, DOWN) for each in range(10)])
    assert name.valid_until <= 60 + MAX_STALE


ANSWERS = st.one_of(
    st.builds(
        Found,
        st.lists(st.integers(1, 9).map("192.0.2.{}".format), min_size=1, max_size=3, unique=True).map(tuple),
        st.floats(0, 1e5),
    ),
    st.builds(Missing, st.just("gone"), st.floats(0, 1e5), st.booleans()),
    st.just(Failed("down")),
)


@given(
    st.lists(st.tuples(st.floats(0, 5000), ANSWERS, ANSWERS, st.floats(0, 1)), min_size=1, max_size=20),
    st.floats(0, 2 * MAX_STALE),
)
def test_whatever_happens(steps: list[tuple[float, Answer, Answer, float]], later: float) -> None:
    name = CachedName()
    now = 0.0
    last: dict[Family, tuple[float, Answer]] = {}
    for pause, v6, v4, chance in steps:
        now += pause
        name.learn({V6: v6, V4: v4}, now, chance)
        last.update(
            {family: (now, answer) for family, answer in ((V6, v6), (V4, v4)) if not isinstance(answer, Failed)}
        )
        # Nobody is asked again at once, and everybody within an hour.
        assert now + FIRST_RETRY / 2 <= name.valid_until <= now + MAX_TTL or name.valid_until == name.forget_at()
        assert now <= name.refresh_at <= name.valid_until
    now += later
    addresses = name.addresses(now)
    for family in (V6, V4):
        at, answer = last.get(family, (0.0, Failed("never")))
        holds = isinstance(answer, Found) and now < at + min(MAX_TTL, max(MIN_TTL, answer.ttl)) + MAX_STALE
        # What may be used is the last thing that anybody said, and not for longer than the bound.
        assert addresses.get(family) == (answer.addresses if isinstance(answer, Found) and holds else None)
    if name.advice(now) in (Advice.USE, Advice.USE_AND_ASK, Advice.ASK_BRIEFLY):
        assert addresses
    else:
        assert not addresses
    if now >= name.forget_at():
        assert name.advice(now) is Advice.ASK
