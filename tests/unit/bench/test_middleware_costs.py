"""What is made of the turns that subjects have taken."""

from __future__ import annotations

import pytest

from bench.comparison.measurement import Measurement
from bench.middlewares.costs import VRATA, Lap, Turns
from bench.middlewares.report import document, markdown, metrics_ratio, peer_rows, rows
from bench.middlewares.subject import PLAIN, SUBJECTS, select

VERSIONS = {VRATA: "0.1.0", "envoy": "1.40.0", "nginx": "1.22.1"}


def measured(cpu_us: float) -> Measurement:
    return Measurement(cpu_us, cpu_us - 5, 5, 10_000, 1, 2)


@pytest.fixture
def turns() -> Turns:
    """In each round everything takes longer than in the one before; Envoy has a part in two of them."""
    return Turns(
        [
            {
                VRATA: Lap(
                    [measured(20), measured(24)], {"jwt": [measured(33)], "no-metrics": [measured(19), measured(21)]}
                ),
                "envoy": Lap([measured(40)], {"jwt": [measured(66)]}),
            },
            {
                VRATA: Lap([measured(44)], {"jwt": [measured(56)], "no-metrics": [measured(40)]}),
                "envoy": Lap([measured(55)], {"jwt": [measured(70)]}),
            },
            {VRATA: Lap([measured(66)], {"no-metrics": [measured(60)]}), "envoy": Lap()},
        ]
    )


def test_a_subject_is_compared_within_its_rounds(turns: Turns) -> None:
    cost = turns.cost("jwt")
    assert cost is not None
    assert cost.added.value == pytest.approx(11.5)
    assert cost.ratio == pytest.approx((33 / 22 + 56 / 44) / 2)
    assert cost.figures.cpu_us == pytest.approx(44.5)
    assert cost.added.low <= cost.added.value <= cost.added.high


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
    assert document(SUBJECTS, turns, 1, VERSIONS)["subjects"].keys() == {"no-metrics", "jwt"}


def test_a_peer_is_compared_by_the_whole_within_rounds_that_both_have(turns: Turns) -> None:
    beside = turns.beside("jwt", "envoy")
    assert beside is not None
    assert beside.value == pytest.approx((33 / 66 + 56 / 70) / 2)
    plain = turns.plain_beside("envoy")
    assert plain is not None
    assert plain.value == pytest.approx((22 / 40 + 44 / 55) / 2)
    assert turns.beside("no-metrics", "envoy") is None
    assert turns.plain_beside("nginx") is None


def test_what_a_peer_costs_more_is_beside_its_own_plain_route(turns: Turns) -> None:
    cost = turns.cost("jwt", "envoy")
    assert cost is not None
    assert cost.added.value == pytest.approx((26 + 15) / 2)


def test_cells_of_peers_without_the_feature_are_empty(turns: Turns) -> None:
    heading, *lines = peer_rows(SUBJECTS, turns, ["envoy", "nginx"])
    assert all(len(line) == len(heading) for line in lines)
    cells = {title.partition(":")[0]: others for title, *others in lines}
    assert cells["jwt"][:3] == ["44.5 (+11.5)", "68.0 (+20.5)", "0.65 (0.42 to 0.88)"]
    assert cells["no-metrics"][1:] == [""] * 4
    assert cells[PLAIN][1] == "47.5"


def test_the_table_of_a_document_is_aligned() -> None:
    assert markdown([("subject", "us"), ("jwt", ""), ("cors", "1.25")]).splitlines() == [
        "| subject | us   |",
        "| ------- | ---- |",
        "| jwt     |      |",
        "| cors    | 1.25 |",
    ]


def test_the_document_says_what_peers_cost_and_lack(turns: Turns) -> None:
    found = document(SUBJECTS, turns, 1, VERSIONS)
    assert found["versions"] == VERSIONS
    envoy, nginx = found["peers"]["envoy"], found["peers"]["nginx"]
    assert envoy["subjects"]["jwt"]["vrata_ratio"] == pytest.approx(0.65)
    assert envoy["plain"]["vrata_ratio"] == pytest.approx(0.675)
    assert "jwt" not in envoy["lacks"]
    assert (nginx["plain"], nginx["subjects"]) == (None, {})
    assert "jwt" in nginx["lacks"]


def test_subjects_are_chosen_by_how_their_names_begin() -> None:
    assert select([]) == SUBJECTS
    assert [subject.name for subject in select(["jwt", "cors"])] == [PLAIN, "cors", "jwt", "jwt-new"]
    with pytest.raises(ValueError, match="no subject begins with csrf; there are: plain, "):
        select(["csrf"])


def test_names_are_unique_and_routes_are_there() -> None:
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names)
    assert {subject.route for subject in SUBJECTS if subject.route} <= set(names)
