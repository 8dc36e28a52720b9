"""From settings to the link between a proxy and its control plane."""

from __future__ import annotations

import ipaddress
from functools import partial

from vrata.config import Address, Settings
from vrata.model.host import host_and_port
from vrata.net.client_tls import client_context, pinned_context
from vrata.proxy.sync.link import ControlPlaneLink


def link_to(settings: Settings, *, local: bool) -> ControlPlaneLink:
    """Return the link to the control plane that the proxy's settings name or, if *local*, to the one on this machine.

    The local one is known by its own settings: where it listens, with which certificate, and which keys it accepts.
    """
    proxy, control_plane = settings.proxy, settings.control_plane
    if not local:
        url = proxy.control_plane_url or ""
        tls = partial(client_context, proxy.tls) if url.startswith("https:") else None
        return ControlPlaneLink(url, proxy.id, proxy.api_key, tls)
    api_key = proxy.api_key or next((entry.key for entry in control_plane.api_keys), None)
    if control_plane.tls is None:
        return ControlPlaneLink(local_url(settings), proxy.id, api_key)
    return ControlPlaneLink(
        local_url(settings), proxy.id, api_key, partial(pinned_context, control_plane.tls.cert, proxy.tls)
    )


def local_url(settings: Settings) -> str:
    """Return the URL under which this machine reaches the control plane that *settings* describe."""
    scheme = "http" if settings.control_plane.tls is None else "https"
    return f"{scheme}://{_reachable(settings.control_plane.address)}"


def _reachable(address: Address) -> str:
    """Return the address to connect to for one that is listened on: the loopback one stands for "every"."""
    host = address.host
    try:
        literal = ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        return host_and_port(host, address.port)
    if literal.is_unspecified:
        host = "::1" if literal.version == 6 else "127.0.0.1"
    return host_and_port(host, address.port)
