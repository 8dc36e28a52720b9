"""What the control plane knows of its proxies: what each acknowledged, and whether it is there.

Kept in memory only. A proxy repeats its acknowledgement every ten seconds, so a restarted control plane knows all of
them again shortly after.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from vrata.controlplane.endpoints import ABSENT, DestinationOnProxy, ReportedDestination, by_id, shown
from vrata.controlplane.identity import timestamp
from vrata.controlplane.reported import Reported
from vrata.model.text import Id, not_blank

CONNECTED_SECONDS = 30.0
FORGOTTEN_SECONDS = 3600.0
MOST_PROXIES = 10_000

ProxyId = Annotated[Id, AfterValidator(not_blank)]
"""What may name a proxy: what may identify an entity, as the configuration demands of ``proxy.id``."""


class ReportedSnapshot(Reported):
    """A snapshot by name."""

    id: str
    name: str = ""


class ReportedProblem(Reported):
    """One entity of a snapshot that the proxy could not put into effect."""

    kind: str
    id: str
    name: str = ""
    reason: str


class LastApply(Reported):
    """What became of the last snapshot the proxy received."""

    snapshot_id: str
    status: Literal["applied", "rejected"]
    reason: str = ""
    """Why it was rejected."""
    problems: list[ReportedProblem] = Field(default_factory=list)
    """Entities that were skipped although the snapshot was applied."""
    seconds: float = 0.0
    """How long it took to apply."""


class ReportedBindError(Reported):
    """Why an address cannot be listened on."""

    reason: str
    next_attempt: str | None = None
    """When it will be tried again, RFC 3339; null while it is being tried."""


class ReportedCertificate(Reported):
    """A certificate that a listener presents."""

    names: list[str]
    """The names that it is presented for; of the default one, those that it has."""
    not_after: str
    """The end of its validity, RFC 3339."""
    is_default: bool = False
    """Whether it is presented for every name that no other certificate has."""


class ReportedTls(Reported):
    """The TLS material of a listener."""

    loaded_at: str | None = None
    """Since when it is in force, RFC 3339; null when there is none."""
    certificates: list[ReportedCertificate] = Field(default_factory=list)
    """What is in force."""
    problems: list[str] = Field(default_factory=list)
    """What is configured and cannot be used."""


class ReportedListener(Reported):
    """A listener of the proxy, as it is in reality."""

    id: str
    name: str = ""
    address: str
    state: Literal["listening", "failed"]
    reason: str = ""
    """Why it failed, or what is wrong with it although it listens."""
    bind_error: ReportedBindError | None = None
    """Set as long as the address cannot be listened on."""
    tls: ReportedTls | None = None
    """Null where clients speak in clear."""


class ReportedWorker(Reported):
    """A worker process of the proxy."""

    slot: int
    pid: int
    state: Literal["serving", "starting", "draining"]


class ProxyReport(Reported):
    """What a proxy says of itself as a whole."""

    version: str
    """The proxy's version of Vrata."""
    active_snapshot: ReportedSnapshot | None = None
    """What it serves with."""
    last_apply: LastApply | None = None
    listeners: list[ReportedListener] = Field(default_factory=list)
    workers: list[ReportedWorker] = Field(default_factory=list)


class Acknowledgement(ProxyReport):
    """What a proxy says: after every change, and every ten seconds."""

    destinations: list[ReportedDestination] = Field(default_factory=list)
    """Shown by destination: there may be thousands."""


class ProxyStatus(ProxyReport):
    """One proxy: its last acknowledgement, and whether it is there."""

    id: str
    connected: bool
    """Its stream is open, or it acknowledged within the last 30 seconds."""
    last_seen: str
    """When it last acknowledged or had its stream open, RFC 3339."""


class OnProxy(Reported):
    """Of which proxy something is said."""

    proxy_id: str
    connected: bool
    """Whether the proxy is there."""
    last_seen: str
    """When it was, RFC 3339."""
    active_snapshot: ReportedSnapshot | None = None
    """What the proxy serves with."""


class ListenerOnProxy(OnProxy):
    """A listener as one proxy has it."""

    state: Literal["listening", "failed", "absent"]
    """`absent`: the snapshot that the proxy serves with does not have the listener."""
    address: str = ""
    reason: str = ""
    bind_error: ReportedBindError | None = None
    tls: ReportedTls | None = None


class ListenerStatus(Reported):
    """What has become of a listener on every proxy that is known."""

    id: str
    proxies: list[ListenerOnProxy]


class EndpointsOnProxy(DestinationOnProxy, OnProxy):
    """A destination and its endpoints as one proxy sees them."""

    acknowledged_at: str | None = None
    """When the proxy said what is shown here, RFC 3339; null when it has not said anything yet."""


class DestinationEndpoints(Reported):
    """The endpoints of a destination as every proxy that is known sees them."""

    id: str
    proxies: list[EndpointsOnProxy]


class TooManyProxiesError(Exception):
    """More proxies than the control plane keeps account of."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST_PROXIES} proxies are known already")


_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class _Entry:
    acknowledgement: Acknowledgement = field(default_factory=lambda: Acknowledgement(version=""))
    destinations: Mapping[str, ReportedDestination] = field(default_factory=dict)
    acknowledged: float | None = None
    acknowledged_at: datetime | None = None
    seen: float = 0.0
    seen_at: datetime = _NEVER
    streams: int = 0


class ProxyRegistry:
    """All proxies heard of within the last hour.

    *clock* gives seconds that only grow, *now* the time of day; both are passed in for tests.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._now = now
        self._entries: dict[str, _Entry] = {}

    def __repr__(self) -> str:
        return f"<ProxyRegistry {len(self._entries)} proxies>"

    def acknowledge(self, proxy_id: str, acknowledgement: Acknowledgement) -> None:
        """Keep what the proxy said. Raises :class:`TooManyProxiesError`."""
        entry = self._touch(proxy_id)
        entry.acknowledgement = acknowledgement
        entry.destinations = by_id(acknowledgement.destinations)
        entry.acknowledged, entry.acknowledged_at = entry.seen, entry.seen_at

    @contextlib.contextmanager
    def stream_open(self, proxy_id: str) -> Iterator[None]:
        """While inside, the proxy counts as connected. Raises :class:`TooManyProxiesError`."""
        entry = self._touch(proxy_id)
        entry.streams += 1
        try:
            yield
        finally:
            entry.streams -= 1
            entry.seen, entry.seen_at = self._clock(), self._now()

    def statuses(self) -> list[ProxyStatus]:
        """Every proxy in order of its id."""
        self._forget_silent()
        return [self._status(proxy_id, entry) for proxy_id, entry in sorted(self._entries.items())]

    def documents(self) -> list[dict[str, Any]]:
        """The same in JSON form."""
        return [status.model_dump(mode="json", by_alias=True) for status in self.statuses()]

    def listener_status(self, listener_id: str) -> ListenerStatus:
        """What every proxy says of one listener, in order of the proxies' ids."""
        return ListenerStatus(id=listener_id, proxies=[_listener_on(proxy, listener_id) for proxy in self.statuses()])

    def destination_endpoints(self, destination_id: str) -> DestinationEndpoints:
        """What every proxy says of one destination, in order of the proxies' ids."""
        self._forget_silent()
        return DestinationEndpoints(
            id=destination_id,
            proxies=[
                self._endpoints_on(self._status(proxy_id, entry), entry, destination_id)
                for proxy_id, entry in sorted(self._entries.items())
            ],
        )

    def _endpoints_on(self, proxy: ProxyStatus, entry: _Entry, destination_id: str) -> EndpointsOnProxy:
        reported = entry.destinations.get(destination_id)
        found = ABSENT if reported is None else shown(reported)
        acknowledged_at = None if entry.acknowledged_at is None else timestamp(entry.acknowledged_at)
        return EndpointsOnProxy(**_presence(proxy), **dict(found), acknowledged_at=acknowledged_at)

    def _status(self, proxy_id: str, entry: _Entry) -> ProxyStatus:
        acknowledged = entry.acknowledged
        is_fresh = acknowledged is not None and self._clock() - acknowledged < CONNECTED_SECONDS
        seen_at = self._now() if entry.streams else entry.seen_at
        return ProxyStatus(
            **dict(entry.acknowledgement),
            id=proxy_id,
            connected=bool(entry.streams) or is_fresh,
            last_seen=timestamp(seen_at),
        )

    def _touch(self, proxy_id: str) -> _Entry:
        entry = self._entries.get(proxy_id)
        if entry is None:
            self._forget_silent()
            if len(self._entries) >= MOST_PROXIES:
                raise TooManyProxiesError
            entry = self._entries[proxy_id] = _Entry()
        entry.seen, entry.seen_at = self._clock(), self._now()
        return entry

    def _forget_silent(self) -> None:
        oldest = self._clock() - FORGOTTEN_SECONDS
        silent = [id_ for id_, entry in self._entries.items() if not entry.streams and entry.seen <= oldest]
        for proxy_id in silent:
            del self._entries[proxy_id]


def _listener_on(proxy: ProxyStatus, listener_id: str) -> ListenerOnProxy:
    found = next((listener for listener in proxy.listeners if listener.id == listener_id), None)
    said: dict[str, Any] = {"state": "absent"} if found is None else dict(found)
    said.pop("id", None)
    said.pop("name", None)
    return ListenerOnProxy(**_presence(proxy), **said)


def _presence(proxy: ProxyStatus) -> dict[str, Any]:
    """The members of :class:`OnProxy`."""
    return {
        "proxy_id": proxy.id,
        "connected": proxy.connected,
        "last_seen": proxy.last_seen,
        "active_snapshot": proxy.active_snapshot,
    }
