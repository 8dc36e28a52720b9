"""How many requests may be trying again at once."""

from __future__ import annotations

from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vrata.policy.retry_budget import LEAST, ONE_IN, RetryBudget
from vrata.proxy.runtime.shared_counts import SharedCounts

COUNTS = SharedCounts.private()
NUMBERS = count(1)


def new_budget() -> RetryBudget:
    number = next(NUMBERS)
    return RetryBudget(COUNTS.count(f"active {number}"), COUNTS.count(f"retrying {number}"))


def budget_of(active: int) -> RetryBudget:
    subject = new_budget()
    for _ in range(active):
        subject.began()
    return subject


def granted(subject: RetryBudget) -> int:
    shares = 0
    while subject.take(0):
        shares += 1
    return shares


def test_a_few_may_always_try_again() -> None:
    assert [granted(budget_of(active)) for active in (1, 10, 15, 19)] == [3, 3, 3, 3]


def test_one_in_five_of_many() -> None:
    assert [granted(budget_of(active)) for active in (20, 24, 25, 1000)] == [4, 4, 5, 200]


def test_those_that_began_together_may_try_again_together() -> None:
    subject = new_budget()
    then = [subject.began() for _ in range(50)]
    for _ in range(45):
        subject.ended()
    assert [subject.take(then[-1]) for _ in range(11)] == [True] * 10 + [False]


class Requests(RuleBasedStateMachine):
    """Requests that begin, try again, get a response and end, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.subject = new_budget()
        self.plain = 0
        self.sharing = 0

    @rule(requests=st.integers(1, 30))
    def begin(self, requests: int) -> None:
        for _ in range(requests):
            self.subject.began()
        self.plain += requests

    @precondition(lambda self: self.plain)
    @rule()
    def try_again(self) -> None:
        allowed = self.sharing < max(LEAST, (self.plain + self.sharing) // ONE_IN)
        assert self.subject.take(0) is allowed
        if allowed:
            self.plain -= 1
            self.sharing += 1

    @precondition(lambda self: self.sharing)
    @rule()
    def respond(self) -> None:
        self.subject.give_back()
        self.sharing -= 1
        self.plain += 1

    @precondition(lambda self: self.plain)
    @rule()
    def end(self) -> None:
        self.subject.ended()
        self.plain -= 1

    def teardown(self) -> None:
        for _ in range(self.sharing):
            self.subject.give_back()
        for _ in range(self.plain + self.sharing):
            self.subject.ended()
        self.subject.retire()

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.subject.is_idle is (self.plain + self.sharing == 0)


TestRequests = Requests.TestCase
