"""Places that workers share: how many there are, and whose turn it is. Each worker is a lane of one table."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.runtime.shared_counts import create as create_table
from vrata.proxy.upstream.places import PATIENCE, SLUGGISH, Places

NOW = 1_000_000


class Proxy:
    """Makes places for worker after worker."""

    def __init__(self, table: int) -> None:
        self._table = table

    def worker(self, limit: int = 2) -> Places:
        return Places(limit, "d 127.0.0.1:80", SharedCounts(self._table).count)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    table = create_table()
    yield Proxy(table)
    os.close(table)


def test_all_workers_together_take_as_many_as_there_are(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    assert one.take(NOW, NOW)
    assert other.take(NOW, NOW)
    assert not one.take(NOW, NOW)
    assert repr(one) == "<Places 1 held, 2 of 2 taken>"
    other.hold(0)
    assert one.take(NOW, NOW)


def test_what_is_held_is_counted_however_it_changes(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(5)
    assert other.taken.total == 5
    one.hold(2)
    one.hold(2)
    assert other.taken.total == 2
    assert not other.take(NOW, NOW)


def test_endpoints_do_not_share_places(proxy: Proxy) -> None:
    counts = SharedCounts.private()
    one, other = (Places(1, f"d 127.0.0.1:{port}", counts.count) for port in (80, 81))
    assert one.take(NOW, NOW)
    assert other.take(NOW, NOW)


def test_nothing_is_owed_while_nobody_else_waits(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(2)
    one.wait(NOW - 5000)
    assert one.owed(0) == 0
    assert one.owed(NOW - 5000) == 0
    assert other.owed(0) == 1


def test_more_than_the_limit_are_owed(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(2)
    other.hold(3)
    assert one.owed(0) == 3
    one.limit = 4
    assert one.owed(NOW) == 1


def test_idle_connections_are_owed_to_whoever_waits(proxy: Proxy) -> None:
    holder, second, third = (proxy.worker() for _ in range(3))
    holder.hold(2)
    second.wait(NOW)
    assert holder.owed(0) == 1
    third.wait(NOW + 1)
    assert holder.owed(0) == 2
    holder.hold(1)
    assert holder.owed(0) == 1
    holder.hold(0)
    assert holder.owed(0) == 0


def test_busy_connections_are_owed_to_whoever_waits_much_longer(proxy: Proxy) -> None:
    holder, other = proxy.worker(), proxy.worker()
    holder.hold(2)
    other.wait(NOW)
    assert holder.owed(NOW - 1) == 0
    assert holder.owed(NOW + PATIENCE) == 0
    assert holder.owed(NOW + PATIENCE + 1) == 1


def test_a_free_place_is_left_to_whoever_waits_much_longer(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(1)
    other.wait(NOW)
    assert one.take(NOW + PATIENCE, NOW + PATIENCE)
    one.hold(1)
    assert not one.take(NOW + PATIENCE + 1, NOW + PATIENCE + 1)
    assert other.take(NOW, NOW + PATIENCE + 2)


def test_with_places_for_both_nobody_goes_first(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    other.wait(NOW)
    assert one.take(NOW + 5000, NOW + 5000)


def test_a_worker_that_does_not_look_is_not_waited_for(proxy: Proxy) -> None:
    one, hung = proxy.worker(limit=1), proxy.worker(limit=1)
    hung.wait(NOW)
    later = NOW + 5000
    assert not one.take(later, later)
    assert not one.take(later, later + SLUGGISH - 1)
    assert one.take(later, later + SLUGGISH)
    # It is not waited for again, until it moves.
    assert one.owed(later) == 0
    one.hold(0)
    assert one.take(later + 1000, later + 1000)
    one.hold(0)
    hung.wait(NOW + 1)
    assert not one.take(later + 2000, later + 2000)


def test_the_time_for_which_a_place_is_left_free_begins_when_it_becomes_free(proxy: Proxy) -> None:
    one, other = proxy.worker(limit=1), proxy.worker(limit=1)
    other.wait(NOW)
    later = NOW + 5000
    assert not one.take(later, later)
    other.hold(1)
    assert not one.take(later, later + SLUGGISH)
    other.hold(0)
    assert not one.take(later, later + 2 * SLUGGISH)
    assert one.take(later, later + 3 * SLUGGISH)


def test_who_waits_no_more_is_not_waited_for(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(2)
    other.wait(NOW)
    other.wait(0)
    assert one.owed(0) == 0


def test_a_retired_endpoint_claims_no_precedence_and_grants_none(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(2)
    other.hold(1)
    other.wait(NOW)
    other.retire()
    other.retire()
    assert one.owed(0) == 1  # one too many still
    other.hold(0)
    assert one.owed(0) == 0
    one.wait(NOW)
    other.wait(NOW)
    one.hold(1)
    assert other.take(NOW + 5000, NOW + 5000)


def test_after_leaving_nothing_is_counted_and_one_can_come_back(proxy: Proxy) -> None:
    one, other = proxy.worker(), proxy.worker()
    one.hold(2)
    one.leave()
    assert other.taken.total == 0
    assert one.take(NOW, NOW)
    assert other.taken.total == 1
    one.leave()
    one.leave()
    assert other.taken.total == 0
