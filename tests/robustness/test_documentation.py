"""The page on robustness counts the corpus as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.robustness import corpus, responses
from tests.robustness.response_case import Fate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "robustness.md"


def request_rows() -> Iterator[tuple[str, int, int, int, int]]:
    for family, cases in corpus.FAMILIES.items():
        refused = sum(bool(case.expected.refusal) and not case.expected.goes_on for case in cases)
        other = sum(case.expected.is_unfinished or case.expected.is_answered_here for case in cases)
        yield family, len(cases), refused, len(cases) - refused - other, other


def response_rows() -> Iterator[tuple[str, int, int, int, int]]:
    for family, cases in responses.FAMILIES.items():
        fates = [case.expected.fate for case in cases]
        yield family, len(cases), fates.count(Fate.RELAYED), fates.count(Fate.REFUSED), fates.count(Fate.CUT)


def with_total(rows: list[tuple[str, int, int, int, int]]) -> list[str]:
    numbers = [row[1:] for row in rows]
    total = tuple(sum(column) for column in zip(*numbers, strict=True))
    return [f"| {' | '.join(map(str, row))} |" for row in [*rows, ("**all**", *total)]]


@pytest.mark.parametrize(
    ("title", "rows"),
    [("Requests", list(request_rows())), ("Responses", list(response_rows()))],
    ids=["requests", "responses"],
)
def test_the_page_counts_what_is_there(title: str, rows: list[tuple[str, int, int, int, int]]) -> None:
    table = re.search(rf"\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"))
    assert table is not None
    assert table[1].splitlines() == with_total(rows)


def test_there_are_enough() -> None:
    assert sum(map(len, corpus.FAMILIES.values())) >= 150
    assert sum(map(len, responses.FAMILIES.values())) >= 60
