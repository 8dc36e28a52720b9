"""The members of a destination: the endpoints that it has at the moment, listed and discovered."""

from __future__ import annotations

from collections.abc import Sequence

from vrata.model.destination import Destination, Endpoint
from vrata.model.host import host_and_port
from vrata.proxy.standing import DiscoveredEndpoint


def members(entity: Destination, discovered: Sequence[DiscoveredEndpoint] | None) -> tuple[Endpoint, ...]:
    """Return the endpoints of *entity*: those that are listed, and those *discovered*, in a fixed order.

    While nothing is known of the latter (None) a destination that lists none is its own endpoint; once it is known
    that there are none it has none.
    """
    if entity.options.discovery is None or discovered is None:
        return entity.static_endpoints
    listed = {endpoint.address for endpoint in entity.endpoints}
    found = {host_and_port(each.host, each.port): each for each in discovered}
    return (
        *entity.endpoints,
        *(
            Endpoint(host=each.host, port=each.port, weight=each.weight)
            for address, each in sorted(found.items())
            if address not in listed
        ),
    )
