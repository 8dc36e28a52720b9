"""Endpoints from the DNS: every address that a name has is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import structlog

from vrata.net.discovered import Discovery, DiscoveryTarget, FoundEndpoints, OnFound
from vrata.net.resolver import OnAddresses

TYPE = "dns"

_log = structlog.get_logger("vrata.discovery")


class FollowsNames(Protocol):
    """What is needed of a resolver."""

    def follow(self, host: str, on_addresses: OnAddresses) -> None:
        """Ask about *host* for as long as somebody follows it, and call *on_addresses* after each query."""
        ...

    def unfollow(self, host: str, on_addresses: OnAddresses) -> None:
        """The reverse of :meth:`follow`."""
        ...

    def trouble(self, host: str) -> str:
        """Why *host* could not be asked about the last time; empty when it could."""
        ...


class DnsDiscovery(Discovery):
    """Follows the names of destinations. How often a name is asked about, and for how long its last addresses hold when
    nobody answers, is the resolver's business."""

    def __init__(self, resolver: FollowsNames, on_found: OnFound) -> None:
        self._resolver = resolver
        self._on_found = on_found
        self._followed: dict[str, _Followed] = {}

    def __repr__(self) -> str:
        return f"<DnsDiscovery {list(self._followed.values())}>"

    def watch(self, wanted: Mapping[str, DiscoveryTarget]) -> None:
        """As :meth:`vrata.net.discovered.Discovery.watch`, for targets of the type ``dns``."""
        ours = {destination_id: target for destination_id, target in wanted.items() if target.type == TYPE}
        for destination_id, followed in list(self._followed.items()):
            if ours.get(destination_id) != followed.target:
                del self._followed[destination_id]
                self._resolver.unfollow(followed.target.host, followed)
                if destination_id in ours and followed.endpoints is not None:
                    # They are those of another name.
                    self._on_found(destination_id, None)
        for destination_id, target in ours.items():
            if destination_id not in self._followed:
                followed = self._followed[destination_id] = _Followed(destination_id, target, self._on_found)
                self._resolver.follow(target.host, followed)

    def trouble(self, destination_id: str) -> str:
        """As :meth:`vrata.net.discovered.Discovery.trouble`."""
        followed = self._followed.get(destination_id)
        return "" if followed is None else self._resolver.trouble(followed.target.host)


class _Followed:
    """One destination; called with the addresses of its name."""

    def __init__(self, destination_id: str, target: DiscoveryTarget, on_found: OnFound) -> None:
        self.target = target
        self.endpoints: FoundEndpoints | None = None
        self._destination_id = destination_id
        self._on_found = on_found

    def __repr__(self) -> str:
        return f"{self._destination_id}: {self.target.host} {self.endpoints}"

    def __call__(self, addresses: tuple[str, ...] | None) -> None:
        endpoints = None
        if addresses is not None:
            endpoints = tuple((address, self.target.port) for address in sorted(set(addresses)))
        if endpoints == self.endpoints:
            return
        self.endpoints = endpoints
        found = None if endpoints is None else [address for address, _ in endpoints]
        _log.info("endpoints found", destination=self._destination_id, host=self.target.host, addresses=found)
        self._on_found(self._destination_id, endpoints)
