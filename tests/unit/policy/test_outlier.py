"""Outlier detection: single rules by example, and whole histories against a plain telling of the same rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrata.policy.outlier import CLEAN, Record, Rules, Streaks, next_return, release, resumed, sweep

RULES = Rules(consecutive_5xx=5, consecutive_gateway_errors=0, base=30.0, longest=300.0, percent=10)
A, B, C = "a:80", "b:80", "c:80"
THREE = {A: CLEAN, B: CLEAN, C: CLEAN}


def failing(*endpoints: str, number: int = 5) -> dict[str, Streaks]:
    return {endpoint: Streaks(number, number) for endpoint in endpoints}


# rules one by one


@pytest.mark.parametrize(
    ("rules", "streaks", "reason"),
    [
        (RULES, Streaks(5, 0), "5 responses of 500 or more in a row"),
        (RULES, Streaks(4, 4), ""),
        (replace(RULES, consecutive_5xx=0), Streaks(1000, 1000), ""),
        (
            replace(RULES, consecutive_5xx=0, consecutive_gateway_errors=2),
            Streaks(9, 2),
            "2 responses of 502, 503 or 504 in a row",
        ),
        (replace(RULES, consecutive_5xx=0, consecutive_gateway_errors=2), Streaks(9, 1), ""),
        (replace(RULES, consecutive_gateway_errors=3), Streaks(5, 2), "5 responses of 500 or more in a row"),
    ],
)
def test_a_streak_that_reaches_its_threshold_ejects(rules: Rules, streaks: Streaks, reason: str) -> None:
    swept = sweep(THREE, {A: streaks}, rules, 100.0)
    assert swept.records[A].reason == reason
    assert swept.ejected == ((A,) if reason else ())
    assert swept.records[A].until == (130.0 if reason else None)


@pytest.mark.parametrize(
    ("endpoints", "percent", "limit"),
    [(0, 100, 0), (1, 100, 0), (2, 1, 1), (2, 100, 1), (3, 10, 1), (3, 0, 0), (3, 100, 2), (20, 10, 2), (29, 10, 2)],
)
def test_the_limit_lets_one_of_two_be_ejected_and_never_all(endpoints: int, percent: int, limit: int) -> None:
    assert replace(RULES, percent=percent).limit(endpoints) == limit


def test_the_worst_is_ejected_and_the_others_are_held_back_with_the_reason() -> None:
    swept = sweep(THREE, {A: Streaks(5), B: Streaks(9), C: Streaks(9)}, RULES, 0.0)
    assert swept.ejected == (B,)
    assert swept.held_back == (C, A)
    assert swept.records[A].held_back == (
        "5 responses of 500 or more in a row, but at most 1 of 3 endpoints may be ejected"
    )
    assert swept.records[B].held_back == ""
    again = sweep(swept.records, failing(A), RULES, 10.0)
    assert (again.records[A].held_back_ever, again.records[C].held_back_ever) == (2, 1)
    assert again.records[C].held_back == ""


def test_only_streaks_that_can_eject_make_an_endpoint_the_worst() -> None:
    rules = replace(RULES, consecutive_5xx=0, consecutive_gateway_errors=2)
    assert sweep(THREE, {A: Streaks(100, 2), B: Streaks(3, 3)}, rules, 0.0).ejected == (B,)


def test_a_single_endpoint_is_never_ejected() -> None:
    swept = sweep({A: CLEAN}, failing(A), RULES, 0.0)
    assert swept.held_back == (A,)
    assert swept.records[A].held_back.endswith("but it is the only endpoint")


@pytest.mark.parametrize(
    ("longest", "lengths"), [(300.0, [30.0, 60.0, 90.0]), (50.0, [30.0, 50.0, 50.0]), (10.0, [30.0, 30.0, 30.0])]
)
def test_each_ejection_is_longer_up_to_the_longest(longest: float, lengths: list[float]) -> None:
    rules = replace(RULES, longest=longest)
    records, now, found = dict(THREE), 0.0, []
    for _ in lengths:
        swept = sweep(records, failing(A), rules, now)
        found.append(swept.records[A].length)
        now += swept.records[A].length
        records = dict(release(swept.records, rules, now).records)
    assert found == lengths


def test_a_quiet_time_as_long_as_the_last_ejection_forgives_one() -> None:
    records: dict[str, Record] = {**THREE, A: Record(ejections=3, length=90.0, quiet_since=100.0)}
    assert sweep(records, {}, RULES, 189.0).records[A].ejections == 3
    once = sweep(records, {}, RULES, 190.0).records
    assert once[A].ejections == 2
    assert sweep(once, {}, RULES, 279.0).records[A].ejections == 2
    assert sweep(once, {}, RULES, 280.0).records[A].ejections == 1
    assert sweep(records, {}, RULES, 1e6).records[A].ejections == 0
    # A sweep that comes late takes nothing from the next one.
    late = sweep(records, {}, RULES, 250.0).records
    assert sweep(late, {}, RULES, 280.0).records[A].ejections == 1
    # Once forgiven, the next ejection is as long again as the last one.
    assert sweep(once, failing(A), RULES, 200.0).records[A].length == 90.0


def test_who_returns_in_a_sweep_is_not_judged_by_what_was_before() -> None:
    ejected = sweep(THREE, failing(A), RULES, 0.0)
    back = sweep(ejected.records, failing(A), RULES, 30.0)
    assert (back.returned, back.ejected) == ((A,), ())
    assert sweep(back.records, failing(A), RULES, 40.0).ejected == (A,)


def test_where_only_ejected_endpoints_are_left_the_first_returns() -> None:
    # Of twenty two may be.
    records: dict[str, Record] = {
        A: Record(until=50.0, ejections=1, length=30.0),
        B: Record(until=40.0, ejections=1, length=30.0),
    }
    assert release(records, RULES, 10.0).returned == (B,)
    assert release({**records, C: CLEAN, **dict.fromkeys("abcdefghijklmnopq", CLEAN)}, RULES, 10.0).returned == ()
    assert release({}, RULES, 10.0).returned == ()


def test_those_beyond_the_limit_return_when_endpoints_have_gone_the_earliest_first() -> None:
    rules = replace(RULES, percent=50)
    names = [f"{number}:80" for number in range(8)]
    records = dict.fromkeys(names, CLEAN)
    for number in (3, 1, 2, 0):
        records[names[number]] = Record(until=100.0 + number, ejections=1, length=30.0)
    assert release(records, rules, 10.0).returned == ()
    # Half of five are two.
    left = {name: records[name] for name in names[:5]}
    assert release(left, rules, 10.0).returned == (names[0], names[1])
    assert release(left, replace(rules, percent=0), 10.0).returned == tuple(names[:4])
    assert sweep(left, {}, rules, 10.0).returned == (names[0], names[1])


def test_an_ejection_goes_on_and_ends_while_an_endpoint_is_away() -> None:
    record = Record(until=50.0, ejections=2, length=30.0, held_back="because")
    assert resumed(record, 49.9) == replace(record, held_back="")
    assert resumed(record, 60.0) == replace(record, until=None, quiet_since=50.0, held_back="")
    assert resumed(replace(record, until=None), 60.0).quiet_since == 0.0


def test_the_next_return_is_the_earliest() -> None:
    assert next_return(THREE) is None
    assert next_return({A: Record(until=5.0), B: Record(until=3.0), C: CLEAN}) == 3.0


# whole histories


@dataclass
class Told:
    """One endpoint, as one would tell of it."""

    until: float | None = None
    ejections: int = 0
    ever: int = 0
    length: float = 0.0
    quiet: float = 0.0
    streak: int = 0
    gateway: int = 0


@dataclass
class Telling:
    """The rules once more, in the plainest words, with time in whole seconds."""

    rules: Rules
    endpoints: dict[str, Told] = field(default_factory=dict)

    def ejected(self) -> set[str]:
        return {name for name, found in self.endpoints.items() if found.until is not None}

    def most(self) -> int:
        number = len(self.endpoints)
        most = number * self.rules.percent // 100
        if number >= 2 and self.rules.percent > 0 and most == 0:
            most = 1
        return most - 1 if most == number and most > 0 else most

    def second_passes(self, now: int) -> set[str]:
        returned = set()
        for name, found in self.endpoints.items():
            if found.until is not None and found.until <= now:
                returned.add(name)
        while len(still := self.ejected() - returned) > self.most():
            first = min(self.endpoints[name].until or 0.0 for name in still)
            returned.add(min(name for name in still if self.endpoints[name].until == first))
        for name in returned:
            self.endpoints[name] = replace(self.endpoints[name], until=None, quiet=now, streak=0, gateway=0)
        return returned

    def sweep(self, now: int) -> tuple[list[str], list[str]]:
        for found in self.endpoints.values():
            while found.until is None and found.ejections and now - found.quiet >= found.length:
                found.ejections -= 1
                found.quiet += found.length
        ejected, held_back = [], []
        while suspects := [
            name
            for name, found in self.endpoints.items()
            if found.until is None and name not in held_back and self._badness(found) > 0
        ]:
            worst = max(self._badness(self.endpoints[name]) for name in suspects)
            name = min(name for name in suspects if self._badness(self.endpoints[name]) == worst)
            if len(self.ejected()) >= self.most():
                held_back.append(name)
                continue
            found = self.endpoints[name]
            found.ejections += 1
            found.ever += 1
            found.length = self.rules.base * found.ejections
            if found.length > self.rules.longest:
                found.length = max(self.rules.longest, self.rules.base)
            found.until = now + found.length
            found.streak = found.gateway = 0
            ejected.append(name)
        return ejected, held_back

    def _badness(self, found: Told) -> int:
        """The longest streak that counts, if any has reached its threshold."""
        streaks = [(found.streak, self.rules.consecutive_5xx), (found.gateway, self.rules.consecutive_gateway_errors)]
        counting = [(streak, threshold) for streak, threshold in streaks if threshold > 0]
        if not any(streak >= threshold for streak, threshold in counting):
            return 0
        return max(streak for streak, _ in counting)


ALL_RULES = st.builds(
    Rules,
    consecutive_5xx=st.integers(0, 3),
    consecutive_gateway_errors=st.integers(0, 3),
    base=st.integers(1, 4).map(float),
    longest=st.integers(1, 20).map(float),
    percent=st.sampled_from([0, 1, 10, 34, 50, 99, 100]),
)
NAMES = ("a:1", "b:1", "c:1", "d:1", "e:1")
_RESPONSES = st.tuples(
    st.just("responses"), st.sampled_from(NAMES), st.sampled_from([200, 404, 500, 503]), st.integers(1, 5)
)
_WAIT = st.tuples(st.just("wait"), st.integers(1, 6))
_SWEEP = st.tuples(st.just("sweep"))
_CHANGE = st.one_of(
    st.tuples(st.just("endpoints"), st.sets(st.sampled_from(NAMES), min_size=1)), st.tuples(st.just("rules"), ALL_RULES)
)
# Mostly rounds of responses, a sweep and a pause, so that endpoints are ejected, return, and are forgiven.
_ROUND = st.tuples(st.lists(_RESPONSES, max_size=4), _SWEEP, _WAIT).map(lambda found: [*found[0], *found[1:]])
STEPS = st.lists(st.one_of(_ROUND, _ROUND, _ROUND, st.lists(_CHANGE, max_size=1)), max_size=25).map(
    lambda rounds: [step for steps in rounds for step in steps]
)


@settings(max_examples=400)
@given(ALL_RULES, st.sets(st.sampled_from(NAMES), min_size=1), STEPS)
def test_a_history_is_as_it_is_told(rules: Rules, names: set[str], steps: list[tuple[object, ...]]) -> None:
    telling = Telling(rules, {name: Told() for name in names})
    records: dict[str, Record] = dict.fromkeys(names, CLEAN)
    now = 0

    def check() -> None:
        for name, found in telling.endpoints.items():
            record = records[name]
            assert (record.until, record.ejections, record.ejections_ever) == (found.until, found.ejections, found.ever)
        assert len(telling.ejected()) <= telling.rules.limit(len(records))

    for step in steps:
        match step:
            case ("responses", str(name), int(status), int(number)) if name in telling.endpoints:
                found = telling.endpoints[name]
                found.streak = found.streak + number if status >= 500 else 0
                found.gateway = found.gateway + number if status == 503 else 0
            case ("wait", int(seconds)):
                for _ in range(seconds):
                    now += 1
                    expected = telling.second_passes(now)
                    passed = release(records, telling.rules, now)
                    assert set(passed.returned) == expected
                    records = dict(passed.records)
            case ("sweep",):
                streaks = {name: Streaks(found.streak, found.gateway) for name, found in telling.endpoints.items()}
                ejected, held_back = telling.sweep(now)
                swept = sweep(records, streaks, telling.rules, now)
                assert (list(swept.ejected), list(swept.held_back), swept.returned) == (ejected, held_back, ())
                records = dict(swept.records)
                assert {name for name, record in records.items() if record.held_back} == set(held_back)
            case ("endpoints", set(wanted)):
                telling.endpoints = {name: telling.endpoints.get(name, Told()) for name in sorted(wanted)}
                records = {name: records.get(name, CLEAN) for name in sorted(wanted)}
                expected = telling.second_passes(now)
                passed = release(records, telling.rules, now)
                assert set(passed.returned) == expected
                records = dict(passed.records)
            case ("rules", Rules() as changed):
                telling.rules = changed
                expected = telling.second_passes(now)
                passed = release(records, changed, now)
                assert set(passed.returned) == expected
                records = dict(passed.records)
            case _:
                continue
        check()
