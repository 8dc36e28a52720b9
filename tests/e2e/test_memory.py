"""What a worker keeps: nothing of the bodies that pass it, however slowly they are read, and little of idle clients.

The smaller form of ``make memory``, with its limits.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.memory import (
    BURST,
    MAX_GROWTH,
    MAX_PER_CONNECTION,
    MEBIBYTE,
    BulkBackend,
    measure_bodies,
    measure_idle,
    one_worker,
)

SIZE = 128 * MEBIBYTE
CONNECTIONS = 800


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, BulkBackend, int]]:
    with one_worker(tmp_path_factory.mktemp("memory"), SIZE) as found:
        yield found


def test_bodies_pass_without_being_kept(serving: tuple[int, BulkBackend, int]) -> None:
    measured = list(measure_bodies(*serving, SIZE))
    assert len(measured) == 4
    assert all(growth.pauses == SIZE // BURST - 1 for growth in measured), "the readers were to be slow"
    assert not [growth for growth in measured if growth.mebibytes >= MAX_GROWTH]


def test_an_idle_connection_costs_little(serving: tuple[int, BulkBackend, int]) -> None:
    port, _, worker = serving
    assert 0 < measure_idle(port, worker, CONNECTIONS) <= MAX_PER_CONNECTION
