"""What is made of the turns that subjects have taken."""

from __future__ import annotations

import pytest

from bench.comparison.measurement import Measurement
from bench.middlewares.__main__ import document, metrics_ratio, rows
from bench.middlewares.subject import PLAIN, SUBJECTS, select
from bench.middlewares.turns import Round, Turns


def measured(cpu_us: float) -> Measurement:
    return Measurement(cpu_us, cpu_us - 5, 5, 10_000, 1, 2)


@pytest.fixture
def turns() -> Turns:
    """In each round everything takes longer than in the one before."""
    return Turns(
        [
            Round([measured(20), measured(24)], {"jwt": [measured(33)], "no-metrics": [measured(19), measured(21)]}),
            Round([measured(44)], {"jwt": [measured(56)], "no-metrics": [measured(40)]}),
            Round([measured(66)], {"no-metrics": [measured(60)]}),
        ]
    )


def test_a_subject_is_compared_within_its_rounds(turns: Turns) -> None:
    cost = turns.cost("jwt")
    assert cost is not None
    assert cost.added == pytest.approx(11.5)
    assert cost.ratio == pytest.approx((33 / 22 + 56 / 44) / 2)
    assert cost.figures.cpu_us == pytest.approx(44.5)
    assert cost.middle[0] <= cost.added <= cost.middle[1]


def test_what_was_not_measured_has_no_cost(turns: Turns) -> None:
    assert turns.cost("cors") is None
    assert Turns().plain() is None
    assert metrics_ratio(Turns()) is None


def test_metrics_are_judged_by_what_it_costs_to_have_them(turns: Turns) -> None:
    assert metrics_ratio(turns) == pytest.approx(1.1)


def test_the_table_and_the_document_have_what_was_measured(turns: Turns) -> None:
    table = rows(SUBJECTS, turns)
    assert [line[0].partition(":")[0] for line in table[1:]] == [PLAIN, "no-metrics", "jwt"]
    assert [line[2] for line in table[1:]] == ["", "-4.0", "+11.5"]
    assert all(len(line) == len(table[0]) for line in table)
    assert document(SUBJECTS, turns, 1)["subjects"].keys() == {"no-metrics", "jwt"}


def test_subjects_are_chosen_by_how_their_names_begin() -> None:
    assert select([]) == SUBJECTS
    assert [subject.name for subject in select(["jwt", "cors"])] == [PLAIN, "cors", "jwt", "jwt-new"]
    with pytest.raises(ValueError, match="no subject begins with csrf; there are: plain, "):
        select(["csrf"])


def test_names_are_unique_and_routes_are_there() -> None:
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names)
    assert {subject.route for subject in SUBJECTS if subject.route} <= set(names)
