"""RING_HASH and WEIGHTED_CONSISTENT_HASH: candidates own nodes on a ring, and a key goes to the next node.

A candidate that comes or goes moves only the keys of its own nodes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from zlib import crc32

from vrata.policy.balancing.stable_hash import HASH_BITS, mixed

_STEP = 512
"""Nodes that are made between two turns of whoever builds the ring."""
_BUCKET_BITS = 11
"""A bucket of nodes has about two to the power of this many: each is sorted at once."""


class HashRing:
    """Never changes. Does not depend on the order of the candidates, but for the numbers they go by."""

    __slots__ = ("_count", "_owners", "_positions")

    def __init__(self, positions: array[int], owners: array[int], count: int) -> None:
        """*positions* ascend; *owners* are the indexes of the candidates at them, of which there are *count*.

        For :func:`building_ring`.
        """
        self._positions = positions
        self._owners = owners
        self._count = count

    def __len__(self) -> int:
        return len(self._positions)

    def __repr__(self) -> str:
        return f"<HashRing {len(self._positions)} nodes>"

    def pick(self, key: int) -> int:
        """The candidate of *key*, of 32 bits; -1 when none has a node."""
        positions = self._positions
        size = len(positions)
        if not size:
            return -1
        at = bisect_left(positions, key)
        return self._owners[at if at < size else 0]

    def preferences(self, key: int) -> Iterator[int]:
        """Every candidate that has a node, once, in the order in which the ring comes upon them from *key* on."""
        owners = self._owners
        start = bisect_left(self._positions, key)
        seen: set[int] = set()
        for at in range(start, start + len(owners)):
            owner = owners[at % len(owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self._count:
                    return


def building_ring(identities: Sequence[bytes], nodes: Sequence[int]) -> Generator[None, None, HashRing]:
    """Make the ring on which the candidate of each of the *identities*, all different, has that many *nodes*.

    The nodes of ``x`` are where ``x:0``, ``x:1``, … hash to; equal ones go by identity. Each step is short.
    """
    shift = max(HASH_BITS - max(sum(nodes).bit_length() - _BUCKET_BITS, 0), 0)
    # Packed: a ring may have millions of nodes.
    buckets = [array("Q") for _ in range(1 << (HASH_BITS - shift))]
    order = sorted(range(len(identities)), key=identities.__getitem__)
    made = 0
    for rank, owner in enumerate(order):
        prefix = crc32(identities[owner] + b":")
        for number in range(nodes[owner]):
            position = mixed(crc32(b"%d" % number, prefix))
            buckets[position >> shift].append(position << 32 | rank)
            made += 1
            if not made % _STEP:
                yield
    positions, owners = array("I"), array("I")
    for at, bucket in enumerate(buckets):
        ascending = sorted(bucket)
        positions.extend([node >> 32 for node in ascending])
        owners.extend([order[node & 0xFFFFFFFF] for node in ascending])
        buckets[at] = array("Q")
        yield
    return HashRing(positions, owners, len([number for number in nodes if number]))


def nodes_by_weight(weights: Sequence[int], size: int) -> list[int]:
    """Share *size* nodes out by weight, rounded down; at least one for each."""
    total = sum(weights)
    return [max(size * weight // total, 1) for weight in weights]
