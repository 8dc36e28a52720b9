"""Numbers that processes share: what each sees of the others, limits under a hail of reservations, and deaths."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.counting_process import NAME, CountingProcess
from vrata.proxy.runtime import shared_counts
from vrata.proxy.runtime.shared_counts import NoLaneFree, SharedCounts, create, reap


@pytest.fixture
def table() -> Iterator[int]:
    descriptor = create()
    yield descriptor
    os.close(descriptor)


def test_each_sees_the_sum_and_what_is_its_own(table: int) -> None:
    one, other = SharedCounts(table).count("a"), SharedCounts(table).count("a")
    one.add(2)
    other.add(5)
    assert (one.total, one.own, other.own) == (7, 2, 5)
    assert (one.others(), other.others()) == ([5], [2])
    one.add(-2)
    assert (other.total, other.others()) == (5, [])
    one.put(40)
    assert (other.total, one.own) == (45, 40)
    assert repr(other) == "<SharedCount 'a' 5 of 45>"


def test_a_table_is_known_by_its_lane(table: int) -> None:
    tables = [SharedCounts(table) for _ in range(3)]
    tables[1].count("a")
    assert [repr(found) for found in tables] == [
        "<SharedCounts lane 0, 0 counts>",
        "<SharedCounts lane 1, 1 counts>",
        "<SharedCounts lane 2, 0 counts>",
    ]


def test_names_mean_the_same_to_everybody_and_nothing_to_each_other(table: int) -> None:
    one, other = SharedCounts(table), SharedCounts(table)
    names = [f"name {number}" for number in range(2000)]
    for number, name in enumerate(names):
        one.count(name).add(number)
    for number, name in reversed(list(enumerate(names))):
        assert other.count(name).total == number


def test_a_reservation_stays_within_the_limit(table: int) -> None:
    one, other = SharedCounts(table).count("a"), SharedCounts(table).count("a")
    assert [one.reserve(3), other.reserve(3), one.reserve(3)] == [True, True, True]
    assert not one.reserve(3)
    assert not other.reserve(3)
    assert (one.own, other.own) == (2, 1)
    one.add(-1)
    assert other.reserve(3)
    assert other.reserve(4)
    assert not one.reserve(0)


def test_a_count_is_there_until_its_last_user_has_left(table: int) -> None:
    counts, watcher = SharedCounts(table), SharedCounts(table).count("a")
    first, second = counts.count("a"), counts.count("a")
    first.add(3)
    first.leave()
    assert watcher.total == 3
    second.leave()
    assert watcher.total == 0
    again = counts.count("a")
    again.add(1)
    assert watcher.total == 1


def test_a_private_table_is_seen_by_nobody() -> None:
    one, other = SharedCounts.private().count("a"), SharedCounts.private().count("a")
    one.add(1)
    assert other.total == 0


def test_a_lane_that_was_given_up_counts_no_more(table: int) -> None:
    leaving, staying = SharedCounts(table), SharedCounts(table)
    leaving.count("a").add(3)
    count = staying.count("a")
    leaving.close()
    assert count.total == 3
    assert reap(table) == 1
    assert count.total == 0


def test_the_lanes_of_the_living_are_not_reaped(table: int) -> None:
    counts = SharedCounts(table).count("a")
    counts.add(3)
    assert reap(table) == 0
    assert counts.total == 3


def test_whoever_takes_a_lane_over_begins_with_nothing(table: int) -> None:
    leaving, staying = SharedCounts(table), SharedCounts(table).count("a")
    leaving.count("a").add(3)
    leaving.close()
    successor = SharedCounts(table)
    assert repr(successor).startswith("<SharedCounts lane 0")
    assert staying.total == 0


def test_more_processes_than_lanes(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_counts, "LANES", 2)
    held = [SharedCounts(table) for _ in range(2)]
    with pytest.raises(NoLaneFree, match="2 processes count already"):
        SharedCounts(table)
    held.pop().close()
    SharedCounts(table)


def test_a_row_that_everybody_has_left_is_used_for_another_name(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_counts, "ROWS", 1)
    monkeypatch.setattr(shared_counts, "PROBES", 1)
    one, other = SharedCounts(table), SharedCounts(table)
    mine, theirs = one.count("a"), other.count("a")
    mine.add(1)
    mine.leave()
    # The other process still uses it: this worker has to count alone, and says so.
    with capture_logs() as entries:
        alone = one.count("b")
    assert [entry["event"] for entry in entries] == ["too many shared counts: this worker counts alone"]
    alone.add(7)
    assert alone.total == 7
    assert other.count("a").total == 0
    theirs.leave()
    theirs.leave()
    shared = one.count("b")
    shared.add(1)
    assert other.count("b").total == 1
    alone.leave()


def test_processes_see_each_other(table: int) -> None:
    count = SharedCounts(table).count(NAME)
    count.add(1)
    with CountingProcess("hold", 4, descriptors=(table,)) as process:
        assert process.says() == "5"
        assert count.total == 5


@pytest.mark.parametrize("successor", [False, True])
def test_what_a_killed_process_counted_is_gone(table: int, successor: bool) -> None:
    count = SharedCounts(table).count(NAME)
    with CountingProcess("hold", 4, descriptors=(table,)) as process:
        assert process.says() == "4"
        process.kill()
        assert count.total == 4
        if successor:
            with CountingProcess("hold", 2, descriptors=(table,)) as other:
                assert other.says() == "2"
        else:
            assert reap(table) == 1
            assert count.total == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_processes_that_hammer_a_limit_never_exceed_it(table: int, limit: int) -> None:
    take, put = os.pipe()
    os.set_blocking(take, False)
    os.write(put, b"x" * limit)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, take)
        stack.callback(os.close, put)
        workers = [
            stack.enter_context(CountingProcess("hammer", limit, 20_000, descriptors=(table, take, put)))
            for _ in range(4)
        ]
        for worker in workers:
            assert worker.says() == "ready"
        for worker in workers:
            worker.go_on()
        results = [[int(word) for word in worker.says().split()] for worker in workers]
        assert [exceeded for exceeded, _ in results] == [0, 0, 0, 0]
        assert any(refused for _, refused in results), "they never got in each other's way"
        assert SharedCounts(table).count(NAME).total == 0
