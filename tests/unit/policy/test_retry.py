"""When a failed attempt is followed by another one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.model.retry import Retry
from vrata.policy.retry import RetryPolicy, retry_policy

CONDITIONS = ("server-error", "gateway-error", "connection-failure", "retriable-codes")
STATUSES = st.integers(100, 599)


def settings(**members: Any) -> Retry:
    return Retry.model_validate({"attempts": 2, **members})


def policy(**members: Any) -> RetryPolicy:
    found = retry_policy(settings(**members), None)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("own", "default", "attempts"),
    [
        (None, None, 0),
        (None, settings(attempts=3), 3),
        (settings(attempts=1), settings(attempts=3), 1),
        (settings(attempts=1), None, 1),
        (settings(attempts=0), settings(attempts=3), 0),
        (None, settings(attempts=0), 0),
    ],
)
def test_a_routes_own_settings_come_before_the_groups(own: Retry | None, default: Retry | None, attempts: int) -> None:
    found = retry_policy(own, default)
    assert (0 if found is None else found.attempts) == attempts


@pytest.mark.parametrize(
    ("on", "status", "is_failure"),
    [
        (["server-error"], 499, False),
        (["server-error"], 500, True),
        (["server-error"], 599, True),
        (["server-error"], 200, False),
        (["gateway-error"], 500, False),
        (["gateway-error"], 501, False),
        (["gateway-error"], 502, True),
        (["gateway-error"], 503, True),
        (["gateway-error"], 504, True),
        (["gateway-error"], 505, False),
        (["retriable-codes"], 409, True),
        (["retriable-codes"], 503, False),
        (["server-error"], 409, False),  # the codes count with their condition only
        (["connection-failure"], 503, False),
        (["gateway-error", "retriable-codes"], 409, True),
        (["gateway-error", "retriable-codes"], 504, True),
    ],
)
def test_which_statuses_each_condition_means(on: list[str], status: int, is_failure: bool) -> None:
    subject = policy(on=on, retriableCodes=[409, 425])
    assert subject.after_status(status, idempotent=True) is is_failure


@pytest.mark.parametrize("members", [{}, {"on": []}, {"on": None}])
def test_without_conditions_there_are_two(members: dict[str, Any]) -> None:
    subject = policy(**members)
    assert subject.after_status(500, idempotent=True)
    assert subject.after_failure(idempotent=True, nothing_sent=False)
    # Nobody has asked for a POST to be repeated.
    assert not subject.after_status(500, idempotent=False)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("cancelled", 1),
        ("deadline-exceeded", 4),
        ("internal", 13),
        ("resource-exhausted", 8),
        ("unavailable", 14),
    ],
)
def test_conditions_that_are_codes_of_grpc(condition: str, code: int) -> None:
    assert policy(on=[condition]).grpc_codes == {code}
    assert policy(on=[condition, "internal"]).grpc_codes == {code, 13}
    # They say nothing of statuses of HTTP, nor of connections.
    assert not any(policy(on=[condition]).after_status(status, idempotent=True) for status in range(100, 600))
    assert not policy(on=[condition]).after_failure(idempotent=True, nothing_sent=True)


def test_no_code_of_grpc_is_a_failure_unless_it_is_named() -> None:
    assert policy().grpc_codes == policy(on=["server-error", "connection-failure"]).grpc_codes == set()


def test_stated_conditions_hold_for_every_method() -> None:
    assert policy(on=["server-error"]).after_status(500, idempotent=False)
    assert policy(on=["retriable-codes"], retriableCodes=[409]).after_status(409, idempotent=False)


@given(st.lists(st.sampled_from(CONDITIONS), max_size=4), st.lists(STATUSES, max_size=4), STATUSES, st.booleans())
def test_what_is_retried_after_a_status_is_a_failure_that_was_named(
    on: list[str], codes: list[int], status: int, idempotent: bool
) -> None:
    expected = {
        "server-error": 500 <= status <= 599,
        "gateway-error": status in (502, 503, 504),
        "connection-failure": False,
        "retriable-codes": status in codes,
    }
    is_failure = any(expected[name] for name in on or ("server-error", "connection-failure"))
    found = policy(on=on, retriableCodes=codes).after_status(status, idempotent=idempotent)
    assert found is (is_failure and (idempotent or bool(on)))


@given(st.lists(st.sampled_from(CONDITIONS), max_size=4), st.booleans(), st.booleans())
def test_nothing_that_could_have_been_done_is_done_twice(on: list[str], idempotent: bool, nothing_sent: bool) -> None:
    found = policy(on=on).after_failure(idempotent=idempotent, nothing_sent=nothing_sent)
    assert found is (("connection-failure" in on or not on) and (idempotent or nothing_sent))


def test_the_pauses_of_the_documentation() -> None:
    subject = policy()
    shortest = [subject.pause(number, 0.0) for number in range(5)]
    longest = [subject.pause(number, 1.0) for number in range(5)]
    assert shortest == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5])
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0])


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_pause_is_at_least_half_of_what_it_may_be(number: int, chance: float, base: int, longest: int) -> None:
    subject = policy(backoff={"base": f"{base}ms", "max": f"{longest}ms"})
    pause = subject.pause(number, chance)
    assert 0 < pause <= longest / 1000
    assert pause * 2 >= min(longest, base * 2.0 ** min(number, 60)) / 1000 * (1 - 1e-9)


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("0s", float("inf")), (None, float("inf"))])
def test_the_limit_of_an_attempt(text: str | None, seconds: float) -> None:
    assert policy(perAttemptTimeout=text).per_attempt_timeout == seconds
