"""The table of match cases against the compiled table, a running data plane, and the brute-force router."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.support.brute_force_router import Configuration
from tests.support.compiled_routing import CompiledRouting
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.match_cases import ALL, NONE, Case


@pytest.fixture(scope="module")
def compiled() -> dict[int, CompiledRouting]:
    """What was compiled, by the identity of its configuration: rows of one section share it."""
    return {}


def shown(taken: tuple[str, str] | None) -> str:
    return NONE if taken is None else "/".join(part for part in taken if part)


def test_there_are_enough_cases_and_no_two_are_the_same() -> None:
    assert len(ALL) >= 300
    assert len({(id(case.configuration), case.request) for case in ALL}) == len(ALL)
    assert {case.name.split()[0] for case in ALL} >= {"4.1", "4.2", "4.3", "4.4", "4.5"}


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_case(case: Case, compiled: dict[int, CompiledRouting]) -> None:
    configuration = case.configuration
    routing = compiled.get(id(configuration))
    if routing is None:
        routing = compiled[id(configuration)] = CompiledRouting(configuration)
    assert (shown(routing.taken(case.request)), shown(configuration.taken(case.request))) == (case.taken, case.taken)


@on_each_loop
async def test_a_data_plane_answers_as_the_table_says(proxy: InProcessProxy) -> None:
    """Every section, by its first row that some route takes and its first that none does."""
    client = await proxy.connect()
    asked = 0
    for _, rows in groupby(ALL, lambda case: id(case.configuration)):
        section = list(rows)
        configuration: Configuration = section[0].configuration
        sample = {case.taken == NONE: case for case in reversed(section)}.values()
        report = await proxy.apply(*configuration.routes, groups=configuration.groups)
        assert report.problems == ()
        for case in sample:
            client.send(case.request.message)
            response = await client.read_response(case.request.method)
            # A call of gRPC is told in its own way (UNIMPLEMENTED).
            is_none = response.status == 404 or response.all("grpc-status") == ["12"]
            taken = NONE if is_none else response.body.decode()
            assert taken == case.taken.rpartition("/")[2], case.name
            asked += 1
    assert asked > 150
