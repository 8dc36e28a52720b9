"""MAGLEV: a table with a slot for every value of the key; all candidates of a weight own nearly the same number.

The table is the one of Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016),
§3.4, with weights: whoever weighs half as much takes a slot in every second round.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence

from vrata.policy.balancing.stable_hash import stable_hash

_STEP = 512
"""Slots that are looked at between two turns of whoever builds the table."""


class MaglevTable:
    """Never changes. Does not depend on the order of the candidates, but for the numbers they go by."""

    __slots__ = ("_count", "_owners")

    def __init__(self, owners: array[int], count: int) -> None:
        """*owners* are the indexes of the *count* candidates that have a slot. For :func:`building_table`."""
        self._owners = owners
        self._count = count

    def __len__(self) -> int:
        return len(self._owners)

    def __repr__(self) -> str:
        return f"<MaglevTable {len(self._owners)} slots>"

    def pick(self, key: int) -> int:
        """The candidate of *key*, of 32 bits; -1 when there is none."""
        owners = self._owners
        size = len(owners)
        return owners[key % size] if size else -1

    def preferences(self, key: int) -> Iterator[int]:
        """Every candidate that has a slot, once, in the order of the slots from that of *key* on."""
        owners = self._owners
        size = len(owners)
        seen: set[int] = set()
        for at in range(key, key + size):
            owner = owners[at % size]
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self._count:
                    return


def building_table(
    identities: Sequence[bytes], weights: Sequence[int], size: int
) -> Generator[None, None, MaglevTable]:
    """Make the table of *size* slots, a prime, for candidates of different *identities*. Each step is short.

    More candidates than slots leave some without any.
    """
    if not identities:
        return MaglevTable(array("I"), 0)
    order = sorted(range(len(identities)), key=identities.__getitem__)
    # Candidate's next slot, and how far it goes on when that is taken. `size` is a prime, so that it meets all slots.
    slots = [stable_hash(b"%s:offset" % identities[index]) % size for index in order]
    skips = [stable_hash(b"%s:skip" % identities[index]) % max(size - 1, 1) + 1 for index in order]
    shares = [weights[index] for index in order]
    heaviest = max(shares)
    credit = [0] * len(order)
    has_slot = [False] * len(order)
    free = len(order)
    owners = array("I", [free]) * size
    taken = owning = work = 0
    while True:
        for rank, index in enumerate(order):
            work += 1
            if not work % _STEP:
                yield
            credit[rank] += shares[rank]
            if credit[rank] < heaviest:
                continue
            credit[rank] -= heaviest
            slot, skip = slots[rank], skips[rank]
            while owners[slot] != free:
                slot = (slot + skip) % size
                work += 1
                if not work % _STEP:
                    yield
            owners[slot] = index
            slots[rank] = slot
            if not has_slot[rank]:
                has_slot[rank] = True
                owning += 1
            taken += 1
            if taken == size:
                return MaglevTable(owners, owning)
