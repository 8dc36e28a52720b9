"""The tables that look-ups are measured on: what should be found is found, the rest is not."""

from __future__ import annotations

from typing import Any

import pytest

from bench.routing import HEADING, KINDS, Figures, line
from tests.support.gateway import route
from vrata.model import Route
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.table import RouteTable


@pytest.mark.parametrize("name", KINDS)
def test_hits_and_misses(name: str) -> None:
    kind, count = KINDS[name], 40
    routes = [Route.parse(route(f"r{n}", kind.match(n), directResponse={"status": 200})) for n in range(count)]
    table = RouteTable.of((match_conditions(entity), number) for number, entity in enumerate(routes))

    def found(request: Any) -> int | None:
        match = table.match(request)
        return match.payload if match is not None else None

    numbers = range(count)
    assert [found(kind.hit(number)) for number in numbers] == list(numbers)
    assert [found(kind.miss(number)) for number in numbers] == [None] * count
    assert found(kind.worst(count)) in (None, count - 1)


def test_a_line_stands_below_its_heading() -> None:
    assert len(line(Figures("regex, same beginning", 50_000, 1, 2, 3, 4, 5, 6, 7, 8))) == len(HEADING)
