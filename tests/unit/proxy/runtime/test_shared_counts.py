"""Numbers that processes share: what each sees of the others, limits under a hail of reservations, and deaths."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.counting_process import NAME, TWINS, CountingProcess, twin_in_use, use_twin
from vrata.proxy.runtime import shared_counts
from vrata.proxy.runtime.shared_counts import NoLaneFree, SharedCounts, create, reap


@pytest.fixture(autouse=True, params=TWINS)
def twin(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of the twins counts."""
    before, name = twin_in_use(), request.param
    use_twin(name)
    yield name
    use_twin(before)


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


def test_a_count_that_was_left_goes_on_by_itself(table: int) -> None:
    counts, watcher = SharedCounts(table), SharedCounts(table).count("a")
    left = counts.count("a")
    left.add(2)
    left.leave()
    again = counts.count("a")
    left.add(-1)
    assert (left.own, left.total, left.others(), watcher.total) == (1, 1, [], 0)
    assert [left.reserve(2), left.reserve(2)] == [True, False]
    again.add(5)
    counts.close()
    again.add(1)
    assert again.total == 6
    assert reap(table) == 1
    assert watcher.total == 0


def test_everybody_changes_the_same_word(table: int) -> None:
    one, other = SharedCounts(table).word("a"), SharedCounts(table).word("a")
    assert one.value == 0
    assert [one.add(5), other.add(-7), one.add(0)] == [5, -2, -2]
    assert not one.swap(5, 1)
    assert other.swap(-2, 1 << 62)
    assert (one.value, repr(one)) == (1 << 62, "<SharedWord 'a' 4611686018427387904>")
    one.put(-(1 << 63))
    assert other.value == -(1 << 63)


def test_counts_and_words_have_names_of_their_own(table: int) -> None:
    counts = SharedCounts(table)
    count, word = counts.count("a"), counts.word("a")
    count.add(1)
    assert word.value == 0
    assert repr(counts) == "<SharedCounts lane 0, 1 counts, 1 words>"
    word.leave()
    assert count.total == 1


def test_a_word_keeps_its_value_while_nobody_uses_it(table: int) -> None:
    counts = SharedCounts(table)
    first, second = counts.word("a"), counts.word("a")
    first.add(3)
    first.leave()
    assert second.add(1) == 4
    second.leave()
    counts.close()
    reap(table)
    assert SharedCounts(table).word("a").value == 4


def test_a_word_that_was_left_goes_on_by_itself(table: int) -> None:
    counts, watcher = SharedCounts(table), SharedCounts(table).word("a")
    word = counts.word("a")
    word.put(3)
    word.leave()
    assert word.add(1) == 4
    assert word.swap(4, 9)
    word.put(word.value + 1)
    assert (word.value, watcher.value) == (10, 3)
    late = counts.word("a")
    counts.close()
    assert late.add(1) == 4
    assert watcher.value == 3


def test_the_word_of_a_row_that_gets_another_name_is_zero(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_counts, "ROWS", 1)
    monkeypatch.setattr(shared_counts, "PROBES", 1)
    one, other = SharedCounts(table), SharedCounts(table)
    mine, theirs = one.word("a"), other.word("a")
    mine.put(7)
    mine.leave()
    with capture_logs() as entries:
        alone = one.word("b")
    assert len(entries) == 1
    alone.put(1)
    assert theirs.value == 7
    theirs.leave()
    assert other.word("b").value == 0
    # What was left does not reach the row any more.
    mine.put(8)
    theirs.put(8)
    assert one.word("b").value == 0


def test_a_supervisor_that_uses_the_table_keeps_its_own_lane(table: int) -> None:
    supervisor = SharedCounts(table)
    word = supervisor.word(NAME)
    with CountingProcess("increase", 10, descriptors=(table,)) as process:
        assert process.says() == "ready"
        process.go_on()
        assert process.says() == "10"
        process.kill()
    assert reap(table) == 1
    assert word.add(1) == 11
    # The row is still the supervisor's.
    assert supervisor.word(NAME) is word


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_no_addition_to_a_word_is_lost(table: int, twin: str, processes: int) -> None:
    rounds = 100_000 if twin == "compiled" else 5_000
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(CountingProcess("increase", rounds, descriptors=(table,))) for _ in range(processes)
        ]
        for worker in workers:
            assert worker.says() == "ready"
        for worker in workers:
            worker.go_on()
        said = [int(worker.says()) for worker in workers]
        assert max(said) == processes * rounds
        workers[0].kill()
        reap(table)
        assert SharedCounts(table).word(NAME).value == processes * rounds


@pytest.mark.parametrize("rivals", [1, 2])
def test_of_those_who_reach_for_the_last_place_one_gets_it(table: int, twin: str, rivals: int) -> None:
    # No more than two: a machine with two processors could not have them run at the same moment.
    rounds = 20_000 if twin == "compiled" else 1_000
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(CountingProcess("duel", rounds, rivals, 1, descriptors=(table,))) for _ in range(rivals)
        ]
        for worker in workers:
            assert worker.says() == "ready"
        for worker in workers:
            worker.go_on()
        got = [int(worker.says()) for worker in workers]
    # More would be a limit exceeded. Fewer are only those whom the system stopped while they reached.
    assert rounds * 0.999 <= sum(got) <= rounds


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
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_that_hammer_a_limit_never_exceed_it(table: int, twin: str, limit: int, processes: int) -> None:
    rounds = 20_000 if twin == "compiled" else 5_000
    take, put = os.pipe()
    os.set_blocking(take, False)
    os.write(put, b"x" * limit)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, take)
        stack.callback(os.close, put)
        workers = [
            stack.enter_context(CountingProcess("hammer", limit, rounds, descriptors=(table, take, put)))
            for _ in range(processes)
        ]
        for worker in workers:
            assert worker.says() == "ready"
        for worker in workers:
            worker.go_on()
        results = [[int(word) for word in worker.says().split()] for worker in workers]
        assert [exceeded for exceeded, _ in results] == [0] * processes
        # Where there is a place for everybody, nobody was refused one.
        if limit >= processes:
            assert not any(refused for _, refused in results)
        assert SharedCounts(table).count(NAME).total == 0
