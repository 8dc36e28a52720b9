"""Endpoints found at run time, as they pass from what finds them to what acts on them.

The two know nothing of each other: this is all they share, and ``app`` puts them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

FoundEndpoints = tuple[tuple[str, int], ...]
"""Addresses with their ports, each once, in order."""

OnFound = Callable[[str, FoundEndpoints | None], None]
"""Called with a destination's ID and its endpoints whenever these have changed.

The empty tuple says that there are known to be none; None that nothing is known (any more).
"""


@dataclass(frozen=True, slots=True)
class DiscoveryTarget:
    """What to find for one destination."""

    type: str
    """The ``discovery.type`` of the destination: who is to look."""
    host: str
    port: int


class Discovery(Protocol):
    """Something that finds endpoints, and goes on looking."""

    def watch(self, wanted: Mapping[str, DiscoveryTarget]) -> None:
        """Look for what is *wanted*, by destination ID, and for nothing else from now on.

        What was wanted before and has not changed is not interrupted. Of a destination that is no longer wanted nothing
        is said any more. Targets of a type that is not one's own are for somebody else.
        """
        ...

    def trouble(self, destination_id: str) -> str:
        """Why what was found for this destination may be out of date; empty when nothing is wrong."""
        ...
