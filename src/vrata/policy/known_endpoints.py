"""Which endpoints a destination has, given what was found at run time."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from vrata.model.destination import Destination, Endpoint


def known_endpoints(destination: Destination, found: Iterable[tuple[str, int]] | None) -> tuple[Endpoint, ...]:
    """The endpoints of *destination* when discovery has *found* these addresses and ports; None = it knows nothing.

    As long as nothing is known, they are what is configured. What is found in the DNS joins the endpoints that are
    listed, which keep their weights; what is found elsewhere takes their place. Each is there once; they are in the
    order of their addresses, so that all proxies and workers have the same one.
    """
    if found is None:
        return destination.static_endpoints
    discovery = destination.options.discovery
    joins = discovery is not None and discovery.type == "dns"
    known = {_identity(endpoint): endpoint for endpoint in (destination.endpoints if joins else ())}
    for host, port in found:
        endpoint = Endpoint(host=host, port=port)
        known.setdefault(_identity(endpoint), endpoint)
    return tuple(sorted(known.values(), key=lambda endpoint: endpoint.address))


def _identity(endpoint: Endpoint) -> tuple[str, int]:
    try:
        return str(ip_address(endpoint.host)), endpoint.port
    except ValueError:
        return endpoint.host.lower(), endpoint.port
