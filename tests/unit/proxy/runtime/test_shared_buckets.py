"""Buckets that processes share: what they let through together, what becomes of slots, and deaths."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.bucket_twins import TWINS, using_twin
from tests.support.forked_process import ForkedProcess
from vrata.policy.token_bucket import SECOND, TokenBucket
from vrata.proxy.runtime.interpreted_buckets import WAYS
from vrata.proxy.runtime.shared_buckets import SharedBuckets, create
from vrata.proxy.runtime.shared_limit import MAX_KNOWN

START = 10**15
"""Nanoseconds on a clock that is told."""


@pytest.fixture(autouse=True, params=TWINS)
def twin(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which of the twins keeps the slots."""
    name: str = request.param
    with using_twin(name):
        yield name


@contextlib.contextmanager
def new_table(sets: int = 4) -> Iterator[int]:
    descriptor = create(sets)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture
def table() -> Iterator[int]:
    with new_table() as descriptor:
        yield descriptor


def test_one_takes_what_the_other_has_left(table: int) -> None:
    bucket = TokenBucket(1.0, 3)
    one, other = (SharedBuckets(table).limit("a", bucket) for _ in range(2))
    assert [one.take(b"x", START), other.take(b"x", START), one.take(b"x", START)] == [
        START + SECOND,
        START + 2 * SECOND,
        START + 3 * SECOND,
    ]
    assert other.take(b"x", START + SECOND - 1) == -(START + 3 * SECOND)
    assert other.take(b"x", START + SECOND) == START + 4 * SECOND


def test_limits_and_values_have_buckets_of_their_own(table: int) -> None:
    buckets = SharedBuckets(table)
    bucket = TokenBucket(1.0, 1)
    limits = [buckets.limit(name, bucket) for name in ("a", "b", "ü\udc80")]
    for limit in limits:
        for value in (b"", b"x", b"y" * 5000):
            assert limit.take(value, START) > 0
            assert limit.take(value, START) < 0
    assert repr(buckets) == f"<SharedBuckets {4 * WAYS} slots>"
    assert repr(limits[0]) == f"<SharedLimit {bucket!r}>"


@settings(max_examples=30)
@given(
    st.sampled_from([(0.5, 1), (10.0, 1), (1000.0, 7)]),
    st.lists(
        st.tuples(st.integers(0, 20), st.one_of(st.integers(0, 3), st.integers(0, 10 * SECOND))),
        min_size=20,
        max_size=120,
    ),
)
def test_slots_decide_as_buckets_do(numbers: tuple[float, int], steps: list[tuple[int, int]]) -> None:
    bucket = TokenBucket(*numbers)
    expected: dict[int, int] = defaultdict(int)
    with new_table() as table:
        limit = SharedBuckets(table).limit("a", bucket)
        now = START
        for value, pause in steps:
            now += pause
            after = bucket.taken(expected[value], now)
            assert limit.take(b"%d" % value, now) == (after or -expected[value])
            expected[value] = after or expected[value]


def test_a_value_is_known_again_however_many_there_are() -> None:
    with new_table(1024) as table:
        limit = SharedBuckets(table).limit("a", TokenBucket(1.0, 3))
        values = [b"%d" % number for number in range(MAX_KNOWN * 2 + 10)]
        for count in range(1, 5):
            found = {limit.take(value, START) for value in values}
            assert found == {START + count * SECOND if count < 4 else -(START + 3 * SECOND)}
        assert len(limit._keys) <= MAX_KNOWN


def test_the_slot_of_a_full_bucket_is_free() -> None:
    with new_table(1) as table:
        buckets = SharedBuckets(table)
        limit = buckets.limit("a", TokenBucket(1.0, 1))
        for batch in range(10):
            for value in range(WAYS):
                assert limit.take(b"%d %d" % (batch, value), START + batch * SECOND) > 0
        assert buckets.slots.overflows == 0


def test_where_none_is_free_the_fullest_has_to_go() -> None:
    with new_table(1) as table:
        buckets = SharedBuckets(table)
        limit = buckets.limit("a", TokenBucket(1.0, 9))
        for value in range(WAYS):
            for _ in range(3 if value != 5 else 2):
                assert limit.take(b"%d" % value, START) > 0
        assert limit.take(b"new", START) == START + SECOND
        assert buckets.slots.overflows == 1
        for value in (value for value in range(WAYS) if value != 5):
            assert limit.take(b"%d" % value, START) == START + 4 * SECOND
        with capture_logs() as entries:
            buckets.log_overflows()
            buckets.log_overflows()
        assert [(entry["event"], entry["buckets"]) for entry in entries] == [("rate limit buckets overflow", 1)]


def test_nobody_can_know_which_values_meet(table: int) -> None:
    """The secret of the table goes into what a value is found by."""
    with new_table() as another:
        tables = [SharedBuckets(each) for each in (table, another, table)]
        secrets = [each.limit("a", TokenBucket(1.0, 1))._secret for each in tables]
    assert secrets[0] == secrets[2] != secrets[1]


def test_a_table_that_was_closed(table: int) -> None:
    buckets = SharedBuckets(table)
    limit = buckets.limit("a", TokenBucket(1.0, 1))
    buckets.close()
    with pytest.raises(ValueError, match=r"released|let go of"):
        limit.take(b"x", START)


def test_a_private_table_is_seen_by_nobody() -> None:
    for _ in range(2):
        assert SharedBuckets.private().limit("a", TokenBucket(0.01, 1)).take(b"x", START) > 0


def hammer(table: int, bucket: TokenBucket, until: int) -> list[int]:
    """Ask for tokens of one bucket up to that moment, and take what is left; how many it got, and the last moment."""
    limit = SharedBuckets(table).limit("a", bucket)
    got = 0
    while True:
        now = time.monotonic_ns()
        if limit.take(b"x", now) > 0:
            got += 1
        elif now > until:
            return [got, now]


@pytest.mark.parametrize(("processes", "killed"), [(1, 0), (2, 0), (4, 0), (4, 2)])
def test_processes_let_through_what_one_bucket_does(table: int, twin: str, processes: int, killed: int) -> None:
    # Less than what gets through without a limit. A second's tokens fit in: for as long everybody may be stopped.
    rate = 20_000 if twin == "compiled" else 2_000
    bucket = TokenBucket(float(rate), rate)
    limit = SharedBuckets(table).limit("a", bucket)
    now = time.monotonic_ns()
    # All that it begins with is taken at one moment: from then on it is never full again.
    first = max(limit.take(b"x", now) for _ in range(bucket.burst)) - bucket.capacity
    until = first + SECOND // 4
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(ForkedProcess(lambda: hammer(table, bucket, until))) for _ in range(processes + killed)
        ]
        for worker in workers[processes:]:
            worker.kill()
        killed_at = time.monotonic_ns() if killed else 0
        results = [worker.result() for worker in workers[:processes]]
    last = max(moment for _, moment in results)
    # What the bucket says was taken of it, by those who were killed as well.
    full_at = -limit.take(b"x", last)
    taken, rest = divmod(full_at - first, bucket.interval)
    least, most = (bucket.burst + (moment - first) // bucket.interval for moment in (last, max(last, killed_at)))
    assert least <= taken <= most
    assert rest == 0
    known = bucket.burst + sum(got for got, _ in results)
    assert known <= taken if killed else known == taken


def rove(table: int, bucket: TokenBucket, values: int, rounds: int) -> list[int]:
    """Ask for tokens of many buckets by turns; of each that it got which, and until when the bucket is not full."""
    limit = SharedBuckets(table).limit("a", bucket)
    got = []
    for number in range(rounds):
        full_at = limit.take(b"%d" % (number % values), time.monotonic_ns())
        if full_at > 0:
            got += [number % values, full_at]
    return got


@pytest.mark.parametrize("killed", [0, 2])
def test_slots_that_change_hands_all_the_time_belong_to_one_at_a_time(twin: str, killed: int) -> None:
    rounds, rate = (20_000, 1e6) if twin == "compiled" else (3_000, 1e5)
    bucket = TokenBucket(rate, 1)
    with new_table(1) as table, contextlib.ExitStack() as stack:
        buckets = SharedBuckets(table)
        workers = [
            stack.enter_context(ForkedProcess(lambda: rove(table, bucket, 3 * WAYS, rounds))) for _ in range(3 + killed)
        ]
        for worker in workers[3:]:
            worker.kill()
        results = [worker.result() for worker in workers[:3]]
        assert buckets.slots.overflows == 0
    taken = defaultdict(list)
    for result in results:
        for value, full_at in zip(result[::2], result[1::2], strict=True):
            taken[value].append(full_at)
    assert len(taken) == 3 * WAYS
    for moments in taken.values():
        # The bucket of one token was full again before the next one was taken.
        assert all(after - before >= bucket.interval for before, after in pairwise(sorted(moments)))
