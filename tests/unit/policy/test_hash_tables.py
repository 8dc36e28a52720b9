"""Rings and Maglev tables: what both promise, and what each does."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.balancing import HashTable, built, maglev, ring
from vrata.policy.balancing.hash_ring import HashRing, building_ring, nodes_by_weight
from vrata.policy.balancing.maglev import MaglevTable, building_table
from vrata.policy.balancing.stable_hash import stable_hash

Maker = Callable[[Sequence[bytes], Sequence[int] | None, int], HashTable]

EACH = pytest.mark.parametrize(
    ("make", "size"), [pytest.param(ring, 1024, id="ring"), pytest.param(maglev, 1021, id="maglev")]
)
EACH_LARGE = pytest.mark.parametrize(
    ("make", "size"), [pytest.param(ring, 65536, id="ring"), pytest.param(maglev, 65537, id="maglev")]
)
KEYS = [stable_hash(b"client-%d" % number) for number in range(8_000)]

identities = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=12, unique=True)
keys = st.integers(0, 2**32 - 1)


def endpoints(count: int) -> list[bytes]:
    return [b"10.0.%d.%d:8080" % divmod(number, 256) for number in range(count)]


@EACH
@settings(max_examples=15)
@given(identities=identities, data=st.data())
def test_the_choice_does_not_depend_on_the_order(
    make: Maker, size: int, identities: list[bytes], data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.integers(1, 5), min_size=len(identities), max_size=len(identities)))
    order = data.draw(st.permutations(range(len(identities))))
    straight = make(identities, weights, size)
    turned = make([identities[at] for at in order], [weights[at] for at in order], size)
    for key in data.draw(st.lists(keys, min_size=20, max_size=20)):
        assert straight.pick(key) == order[turned.pick(key)]
        assert list(straight.preferences(key)) == [order[at] for at in turned.preferences(key)]


@EACH
@settings(max_examples=15)
@given(identities=identities, key=keys)
def test_preferences_begin_with_the_pick_and_name_everybody_once(
    make: Maker, size: int, identities: list[bytes], key: int
) -> None:
    table = make(identities, None, size)
    preferences = list(table.preferences(key))
    assert preferences[0] == table.pick(key)
    assert sorted(preferences) == list(range(len(identities)))


@EACH
def test_nobody_to_choose(make: Maker, size: int) -> None:
    table = make([], None, size)
    assert table.pick(7) == -1
    assert list(table.preferences(7)) == []


@EACH
def test_one_candidate_gets_everything(make: Maker, size: int) -> None:
    table = make([b"only"], None, size)
    assert {table.pick(key) for key in (0, 1, 2**32 - 1, *KEYS[:100])} == {0}


@EACH_LARGE
def test_shares_follow_the_weights(make: Maker, size: int) -> None:
    weights = [1, 2, 5, 10]
    table = make(endpoints(4), weights, size)
    seen = Counter(table.pick(key) for key in KEYS)
    for index, weight in enumerate(weights):
        assert seen[index] / len(KEYS) == pytest.approx(weight / 18, rel=0.12)


@EACH_LARGE
@pytest.mark.parametrize("count", [3, 10, 100])
def test_few_keys_move_when_one_leaves(make: Maker, size: int, count: int) -> None:
    before = make(endpoints(count), None, size)
    gone = count // 2
    rest = [each for at, each in enumerate(endpoints(count)) if at != gone]
    after = make(rest, None, size)
    moved = 0
    for key in KEYS:
        then = after.pick(key)
        moved += before.pick(key) != (then if then < gone else then + 1)
    # Who leaves takes 1/n of the keys along; the others move for the sake of even shares: on a ring that keeps its
    # size as many again.
    assert moved / len(KEYS) < 2.2 / count + 0.01


def test_with_fixed_nodes_only_the_keys_of_who_leaves_move() -> None:
    before, after = built(building_ring(endpoints(10), [100] * 10)), built(building_ring(endpoints(9), [100] * 9))
    for key in KEYS:
        assert before.pick(key) in (after.pick(key), 9)


def test_on_a_ring_keys_go_where_the_preferences_say_when_one_leaves() -> None:
    before = ring(endpoints(10))
    after = ring([each for at, each in enumerate(endpoints(10)) if at != 4], None, 1024 // 10 * 9)
    for key in KEYS[:2000]:
        kept = [index for index in before.preferences(key) if index != 4]
        assert [then if then < 4 else then + 1 for then in after.preferences(key)] == kept


def test_nodes_follow_the_weights_and_nobody_has_none() -> None:
    assert nodes_by_weight([1, 1, 1], 1024) == [341, 341, 341]
    assert nodes_by_weight([1, 3], 1024) == [256, 768]
    assert nodes_by_weight([1] * 5, 2) == [1] * 5
    assert nodes_by_weight([1, 1000], 10) == [1, 9]


def test_who_has_no_nodes_on_a_ring_gets_nothing() -> None:
    table = built(building_ring([b"none", b"all"], [0, 100]))
    assert {table.pick(key) for key in KEYS[:1000]} == {1}
    assert list(table.preferences(3)) == [1]
    assert built(building_ring([b"a", b"b"], [0, 0])).pick(1) == -1


def test_a_large_ring_is_ordered_across_its_buckets() -> None:
    table = built(building_ring(endpoints(20), [1000] * 20))
    assert len(table) == 20_000
    assert list(table._positions) == sorted(table._positions)


def test_equal_nodes_go_by_identity() -> None:
    table = built(building_ring([b"b", b"a", b"b"], [10, 10, 10]))
    turned = built(building_ring([b"a", b"b", b"b"], [10, 10, 10]))
    names, turned_names = [b"b", b"a", b"b"], [b"a", b"b", b"b"]
    assert all(names[table.pick(key)] == turned_names[turned.pick(key)] for key in KEYS[:1000])


def test_a_maglev_table_is_even() -> None:
    table = built(building_table(endpoints(7), [1] * 7, 1021))
    slots = Counter(table.pick(slot) for slot in range(1021))
    assert max(slots.values()) - min(slots.values()) <= 1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_more_candidates_than_slots_leave_some_out(size: int) -> None:
    table = built(building_table(endpoints(9), [1] * 9, size))
    owners = {table.pick(slot) for slot in range(size)}
    assert len(owners) == size
    assert set(table.preferences(1)) == owners


def test_nothing_is_looked_at_behind_the_last_candidate() -> None:
    # Large tables take long to walk round.
    ring_of_two = HashRing(array("I", [1, 2, 3, 4]), array("I", [0, 1, 0, 99]), 2)
    assert list(ring_of_two.preferences(0)) == [0, 1]
    assert list(MaglevTable(array("I", [0, 1, 0, 99]), 2).preferences(0)) == [0, 1]


@pytest.mark.parametrize(
    ("table", "owning"),
    [
        pytest.param(ring([b"a", b"b"]), 2, id="ring"),
        pytest.param(built(building_ring([b"none", b"all"], [0, 100])), 1, id="ring-without-nodes"),
        pytest.param(maglev([b"a", b"b"], None, 101), 2, id="maglev"),
        pytest.param(maglev([b"a", b"b", b"c"], [1, 1, 1000], 499), 1, id="maglev-without-slots"),
    ],
)
def test_candidates_that_own_something_are_counted(table: HashTable, owning: int) -> None:
    assert len(list(table.preferences(7))) == owning
    assert table._count == owning  # type: ignore[attr-defined]


@pytest.mark.parametrize("endpoint_count", [1, 2, 50])
def test_building_pauses_every_few_hundred_nodes_or_slots(endpoint_count: int) -> None:
    some = endpoints(endpoint_count)
    assert sum(1 for _ in building_ring(some, nodes_by_weight([1] * endpoint_count, 200_000))) >= 200_000 // 512
    assert sum(1 for _ in building_table(some, [1] * endpoint_count, 65537)) >= 65537 // 512


def test_keys_are_shared_out_among_the_others_when_one_may_not_be_used() -> None:
    for table in (ring(endpoints(5), None, 20_000), maglev(endpoints(5), None, 65537)):
        second = Counter(next(islice(table.preferences(key), 1, None)) for key in KEYS[:5000] if table.pick(key) == 0)
        assert set(second) == {1, 2, 3, 4}
        assert min(second.values()) > sum(second.values()) / 4 * 0.7


def test_random_keys_find_every_candidate() -> None:
    random = Random(3)
    for table in (ring(endpoints(100)), maglev(endpoints(100))):
        assert {table.pick(random.getrandbits(32)) for _ in range(20_000)} == set(range(100))
