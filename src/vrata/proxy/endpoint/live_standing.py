"""The standing of one destination's endpoints, as it is at the moment in this worker."""

from __future__ import annotations

from vrata.proxy.standing import UNKNOWN, DestinationStanding, EndpointStanding

_GOOD = EndpointStanding()


class LiveStanding:
    """Outlives plans. Selectors compare :attr:`version` with the one that they have seen."""

    __slots__ = ("standing", "version")

    def __init__(self, standing: DestinationStanding = UNKNOWN) -> None:
        self.standing = standing
        self.version = 0
        """Another number each time that the standing changes."""

    def __repr__(self) -> str:
        return f"<LiveStanding {dict(self.standing.endpoints)}>"

    def replace(self, standing: DestinationStanding) -> None:
        """From now on the endpoints stand like that."""
        if standing != self.standing:
            self.standing = standing
            self.version += 1

    def of(self, identifier: str) -> EndpointStanding:
        """What stands against the endpoint ``host:port``."""
        return self.standing.endpoints.get(identifier, _GOOD)
