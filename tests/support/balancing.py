"""What tables for choosing by hash have in common, and how even a distribution is."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol, TypeVar

from vrata.policy.balancing.hash_ring import building_ring, nodes_by_weight
from vrata.policy.balancing.maglev import building_table

T = TypeVar("T")


class HashTable(Protocol):
    def pick(self, key: int) -> int: ...
    def preferences(self, key: int) -> Iterator[int]: ...


def built(building: Generator[None, None, T]) -> T:
    """The result of *building*, at once."""
    while True:
        try:
            next(building)
        except StopIteration as end:
            result: T = end.value
            return result


def ring(identities: Sequence[bytes], weights: Sequence[int] | None = None, size: int = 1024) -> HashTable:
    """A ring by weight, equal ones by default."""
    weights = weights or [1] * len(identities)
    return built(building_ring(identities, nodes_by_weight(weights, size)))


def maglev(identities: Sequence[bytes], weights: Sequence[int] | None = None, size: int = 65537) -> HashTable:
    """A Maglev table by weight, equal ones by default."""
    return built(building_table(identities, weights or [1] * len(identities), size))


def chi_square(counts: Sequence[int], weights: Sequence[float]) -> float:
    """How far *counts* are from the shares that *weights* say, which are positive."""
    picks, total = sum(counts), sum(weights)
    expected = [picks * weight / total for weight in weights]
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))


def chi_square_bound(candidates: int) -> float:
    """The value that chance exceeds once in 10,000 times (Wilson and Hilferty's approximation)."""
    freedom = candidates - 1
    part = 2 / (9 * freedom)
    bound: float = freedom * (1 - part + 3.719 * part**0.5) ** 3
    return bound
