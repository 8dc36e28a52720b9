"""Hostnames of routes and groups: their normal form, and how specific each is.

A hostname is a whole name (``example.com``), an IP address, ``*.example.com`` for every name with at least one more
label in front, or ``*`` for every host, also none. The host of a request comes normalised
(:class:`vrata.proxy.contracts.RequestView`).
"""

from __future__ import annotations

from collections.abc import Iterable

ANY = "*"


def normalised(hostname: str) -> str:
    """Return *hostname* in lower case, without a trailing dot, an IPv6 address in brackets."""
    hostname = hostname.lower()
    if hostname.endswith("."):
        hostname = hostname[:-1]
    if hostname.count(":") > 1 and not hostname.startswith("["):
        return f"[{hostname}]"
    return hostname


def suffix_of(hostname: str) -> str | None:
    """Return what a wildcard leaves fixed (``.example.com``), or None when *hostname* is no wildcard."""
    return hostname[1:] if hostname.startswith("*.") and len(hostname) > 2 else None


def covers(hostname: str, host: str) -> bool:
    """Tell whether the normalised *hostname* stands for *host*."""
    if hostname in (host, ANY):
        return True
    suffix = suffix_of(hostname)
    return suffix is not None and len(host) > len(suffix) and host.endswith(suffix)


HostClass = tuple[int, int]
"""Sorts hostnames of one entry, and no hostname, by how specific they are: ascending, the first wins."""

WHOLE_NAME: HostClass = (0, 0)
ANY_HOST: HostClass = (2, 0)
NO_HOSTNAME: HostClass = (3, 0)


def by_class(hostnames: Iterable[str]) -> dict[HostClass, tuple[str, ...]]:
    """Sort normalised *hostnames* into classes: whole names, wildcards by length (longer first), ``*``; or none."""
    classes: dict[HostClass, tuple[str, ...]] = {}
    for name in hostnames:
        suffix = suffix_of(name)
        if name == ANY:
            key = ANY_HOST
        elif suffix is not None:
            key = (1, -len(suffix))
        else:
            key = WHOLE_NAME
        classes[key] = (*classes.get(key, ()), name)
    return classes or {NO_HOSTNAME: ()}
