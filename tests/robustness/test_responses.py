"""The corpus of responses: the client sees what all readers see, or a 502, or a message that is visibly cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robustness.divisions import divisions
from tests.robustness.message import Ending
from tests.robustness.response_case import Fate, ResponseCase
from tests.robustness.response_differential import ResponseDifferential, ResponseOutcome, assert_fate
from tests.robustness.response_readers import read_with_h11
from tests.robustness.responses import FAMILIES

CASES = {f"{family}: {case.name}": case for family, cases in FAMILIES.items() for case in cases}
EACH_CASE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
EACH_RELAYED = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.expected.fate is Fate.RELAYED]
)


@pytest.fixture(scope="module")
def differential(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResponseDifferential]:
    with ResponseDifferential(tmp_path_factory.mktemp("nginx")) as found:
        yield found


def assert_outcome(case: ResponseCase, found: ResponseOutcome) -> None:
    for reading in found.readings.values():
        assert_fate(case, reading)
        assert not reading.rest
    # Whatever is wrong with one response, the next client gets its own.
    assert (found.following.status, found.following.content, found.following.rest) == (200, b"/next", b"")
    assert found.reused is case.expected.reused


@EACH_CASE
def test_a_response(differential: ResponseDifferential, case: ResponseCase) -> None:
    assert_outcome(case, differential.outcome(case, [case.data]))


@EACH_CASE
def test_a_response_in_pieces(differential: ResponseDifferential, case: ResponseCase) -> None:
    for pieces in divisions(case.data):
        assert_outcome(case, differential.outcome(case, pieces))


@EACH_CASE
def test_a_request_behind_one_that_gets_a_response(differential: ResponseDifferential, case: ResponseCase) -> None:
    answer, rest = differential.pipelined(case)
    assert_fate(case, answer)
    if answer.ending is Ending.WHOLE:
        following = read_with_h11(rest, b"GET")
        assert (following.status, following.content, following.rest) == (200, b"/next", b"")


@EACH_RELAYED
def test_all_readers_see_in_the_original_what_goes_on(differential: ResponseDifferential, case: ResponseCase) -> None:
    for name, reading in differential.readings_of_the_original(case).items():
        if name == "nginx" and reading.informational:
            continue  # nginx takes no 1xx from a backend: for it, the final response is the body of the first one
        assert (reading.status, reading.content) == (case.expected.status, case.expected.content), name
        assert reading.ending is Ending.WHOLE, name
