"""The corpus of requests: each case ends as it says, whole or in pieces, and leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.robustness.case import Answering, Case
from tests.robustness.corpus import FAMILIES
from tests.robustness.differential import CANARY_BYTES, Differential, assert_as_expected
from tests.robustness.divisions import divisions

CASES = {f"{family}: {case.name}": case for family, cases in FAMILIES.items() for case in cases}
EACH_CASE = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
EACH_WHOLE_CASE = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if not case.expected.is_unfinished]
)


@EACH_CASE
def test_a_case(differential: Differential, case: Case) -> None:
    assert_as_expected(case, differential.outcome([case.data], case.answering))
    differential.assert_serves()


@EACH_WHOLE_CASE
def test_a_request_behind_a_case(differential: Differential, case: Case) -> None:
    assert_as_expected(case, differential.outcome([case.data + CANARY_BYTES], case.answering), canary=True)


@EACH_CASE
def test_a_case_in_pieces(differential: Differential, case: Case) -> None:
    for pieces in divisions(case.data):
        found = differential.outcome(pieces, case.answering)
        if case.answering is Answering.AFTER_THE_HEAD:
            # An answer before the end of the body ends the connection: what follows is lost, and never a request.
            assert found.messages == case.expected.messages[: len(found.messages)]
        else:
            assert_as_expected(case, found)


def test_every_case_is_another_one() -> None:
    for family, cases in FAMILIES.items():
        names = [case.name for case in cases]
        assert len(names) == len(set(names)), family
        sent = [(case.data, case.answering) for case in cases]
        assert len(sent) == len(set(sent)), [case.name for case in cases if sent.count((case.data, case.answering)) > 1]
