"""The circuit breaker beside a plain model of it, over everything that can happen in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vrata.policy.circuit_breaker import (
    MOST_FAILURES,
    QUIET,
    REFUSED,
    admission,
    after_failure,
    after_loss,
    after_success,
    described,
    is_probed_by,
)

OPEN_TIME = 1000
WORKERS = (101, 4_194_303)


@dataclass
class Model:
    """The circuit in the words of the documentation."""

    threshold: int
    state: str = "closed"
    failures: int = 0
    last_failure: int = 0
    due: bool = False
    prober: int = 0
    under_way: list[tuple[int, bool]] = field(default_factory=list)

    def admits(self, now: int) -> bool:
        if self.state == "open":
            return self.due or now - self.last_failure > OPEN_TIME
        return self.state == "closed"


class Circuit(RuleBasedStateMachine):
    """Requests of two workers come, succeed, fail and get lost; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.word = QUIET
        self.now = 100_000
        self.model = Model(threshold=3)

    @rule(milliseconds=st.sampled_from([0, 1, 999, 1000, 1001, 5000]))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule(worker=st.sampled_from(WORKERS))
    def request(self, worker: int) -> None:
        model = self.model
        after = admission(self.word, self.now, OPEN_TIME, worker)
        assert (after != REFUSED) == model.admits(self.now)
        if after == REFUSED:
            return
        is_probe = after != self.word
        assert is_probe == (model.state == "open")
        if is_probe:
            model.state, model.prober, model.due = "halfOpen", worker, False
        self.word = after
        model.under_way.append((worker, is_probe))

    @precondition(lambda self: self.model.under_way)
    @rule(choice=st.integers(0, 100), outcome=st.sampled_from(["success", "failure", "lost"]))
    def end(self, choice: int, outcome: str) -> None:
        model = self.model
        worker, is_probe = model.under_way.pop(choice % len(model.under_way))
        probes = is_probe and is_probed_by(self.word, worker)
        assert probes == is_probe  # nobody takes the probe from whoever has it
        if outcome == "success":
            self.word = after_success(self.word, is_probe=probes)
            if is_probe or model.state == "closed":
                model.state, model.failures = "closed", 0
        elif outcome == "failure":
            self.word = after_failure(self.word, self.now, model.threshold, is_probe=probes)
            if is_probe or model.state == "open":
                model.state, model.last_failure, model.due = "open", self.now, False
            elif model.state == "closed":
                model.failures += 1
                if model.failures >= model.threshold:
                    model.state, model.last_failure, model.due = "open", self.now, False
        elif is_probe:
            self.word = after_loss(self.word, self.now, OPEN_TIME)
            model.state, model.due = "open", True

    @invariant()
    def the_word_says_what_the_model_does(self) -> None:
        state = described(self.word)
        assert state.state == self.model.state
        assert 0 <= self.word < 1 << 63
        if state.state == "closed":
            assert state.failures == self.model.failures

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        probes = [worker for worker, is_probe in self.model.under_way if is_probe]
        assert len(probes) <= 1
        assert (self.model.state == "halfOpen") == bool(probes)


TestCircuit = Circuit.TestCase


def test_failures_are_counted_up_to_the_end_of_their_room() -> None:
    word = after_failure(MOST_FAILURES - 1, 5, MOST_FAILURES + 10, is_probe=False)
    assert described(word).failures == MOST_FAILURES
    assert after_failure(word, 5, MOST_FAILURES + 10, is_probe=False) == word


@pytest.mark.parametrize("now", [0, 1, 999])
def test_a_probe_that_is_lost_in_the_first_moments_of_a_machine(now: int) -> None:
    opened = after_failure(QUIET, 0, 1, is_probe=False)
    word = admission(opened, 5000, 10, 7)
    assert is_probed_by(word, 7)
    assert described(after_loss(word, now, OPEN_TIME)) == described(opened).__class__("open", 0, 0)
