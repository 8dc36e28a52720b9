"""The census of a request that failed at an endpoint: what was tried, and how the other endpoints stood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from vrata.proxy.contracts import CensusEntry, Considered


class Standing(Protocol):
    """Who knows how the endpoints stand (a selector)."""

    def census(self) -> Iterator[CensusEntry]: ...  # noqa: D102


class AttemptCensus(Considered):
    """Counted when it is asked for, which is at once or never."""

    def __init__(self, selector: Standing, attempts: Sequence[tuple[str, str]]) -> None:
        """*attempts* are endpoints (``host:port``), each with what the attempt there came to."""
        self._selector = selector
        self._attempts = attempts

    def census(self) -> Iterator[CensusEntry]:
        """The attempts in their order, then the endpoints that were not tried."""
        for endpoint, outcome in self._attempts:
            yield CensusEntry(endpoint, "tried", outcome)
        tried = {endpoint for endpoint, _ in self._attempts}
        for entry in self._selector.census():
            if entry.endpoint not in tried:
                yield entry
