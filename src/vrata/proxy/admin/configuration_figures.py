"""Figures of the proxy's configuration: which snapshot it serves, what became of the last one, and who sends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeAlias

from vrata.model.destination import Destination
from vrata.model.group import RouteGroup
from vrata.model.listener import Listener
from vrata.model.middleware import Middleware
from vrata.model.route import Route
from vrata.observability.exposition import Family
from vrata.proxy.status import ListenerState, Verdict
from vrata.proxy.supervisor.supervisor import Supervisor
from vrata.proxy.sync.stream import SnapshotStream

Samples: TypeAlias = Iterator[tuple[Family, Iterator[str]]]

_KINDS: Final = {kind.kind: kind.collection for kind in (Listener, Route, RouteGroup, Destination, Middleware)}

SNAPSHOT: Final = Family(
    "vrata_config_snapshot_info", "info", ("snapshot_id", "snapshot_name"), "The snapshot that all workers serve."
)
EDITION: Final = Family(
    "vrata_config_edition",
    "gauge",
    (),
    "Number of what is served, higher after each change, be it of the snapshot, a certificate or a bound address.",
)
APPLIES: Final = Family(
    "vrata_config_applies_total", "counter", ("result",), "Snapshots that were received, by what became of them."
)
LAST_APPLY_SUCCESS: Final = Family(
    "vrata_config_last_apply_success", "gauge", (), "1 when the last snapshot was applied, 0 when it was rejected."
)
LAST_APPLY_TIME: Final = Family(
    "vrata_config_last_apply_timestamp_seconds", "gauge", (), "When that was decided, since 1970."
)
LAST_APPLY_DURATION: Final = Family("vrata_config_last_apply_duration_seconds", "gauge", (), "How long that took.")
ENTITIES: Final = Family(
    "vrata_config_entities", "gauge", ("kind",), "Entities of the snapshot that is served, those left out included."
)
PROBLEMS: Final = Family(
    "vrata_config_problems",
    "gauge",
    ("kind",),
    "Entities of the snapshot that is served which do not act as configured.",
)
LISTENING: Final = Family(
    "vrata_listener_listening", "gauge", ("listener", "address"), "1 while the listener accepts connections, else 0."
)
CERTIFICATE_END: Final = Family(
    "vrata_listener_certificate_not_after_timestamp_seconds",
    "gauge",
    ("listener", "names"),
    "End of the validity of a certificate that a listener presents, since 1970.",
)
SYNC_CONNECTED: Final = Family(
    "vrata_sync_connected", "gauge", (), "1 while the stream of snapshots from the control plane is open, else 0."
)
SYNC_CONNECTIONS: Final = Family("vrata_sync_connections_total", "counter", (), "Streams of snapshots that have begun.")

FAMILIES: Final = (
    SNAPSHOT,
    EDITION,
    APPLIES,
    LAST_APPLY_SUCCESS,
    LAST_APPLY_TIME,
    LAST_APPLY_DURATION,
    ENTITIES,
    PROBLEMS,
    LISTENING,
    CERTIFICATE_END,
    SYNC_CONNECTED,
    SYNC_CONNECTIONS,
)


def samples(supervisor: Supervisor, stream: SnapshotStream) -> Samples:
    """Give the families with their samples; one of which nothing is known yet has none."""
    edition, history = supervisor.edition, supervisor.history
    document, last = edition.document, history.last
    if not document.is_empty:
        yield SNAPSHOT, iter([SNAPSHOT.sample((document.identity.id, document.identity.name), 1)])
    yield EDITION, iter([EDITION.sample((), edition.number)])
    yield APPLIES, (APPLIES.sample((verdict,), history.verdicts[verdict]) for verdict in Verdict)
    if last is not None:
        yield LAST_APPLY_SUCCESS, iter([LAST_APPLY_SUCCESS.sample((), int(last.verdict is Verdict.APPLIED))])
        yield LAST_APPLY_TIME, iter([LAST_APPLY_TIME.sample((), round(history.last_at, 3))])
        yield LAST_APPLY_DURATION, iter([LAST_APPLY_DURATION.sample((), round(last.seconds, 6))])
    yield ENTITIES, (ENTITIES.sample((kind,), document.sizes[collection]) for kind, collection in _KINDS.items())
    yield PROBLEMS, _problems(supervisor)
    yield from _listeners(supervisor)
    yield SYNC_CONNECTED, iter([SYNC_CONNECTED.sample((), int(stream.is_connected))])
    yield SYNC_CONNECTIONS, iter([SYNC_CONNECTIONS.sample((), stream.connections)])


def _problems(supervisor: Supervisor) -> Iterator[str]:
    outcome = supervisor.good_outcome
    counts = Counter(problem.kind for problem in outcome.problems) if outcome is not None else Counter[str]()
    for kind in sorted(_KINDS.keys() | counts.keys()):
        yield PROBLEMS.sample((kind,), counts[kind])


def _listeners(supervisor: Supervisor) -> Samples:
    states: dict[tuple[str, str], int] = {}
    ends: dict[tuple[str, str], float] = {}
    for listener in supervisor.listeners():
        states[listener.name, listener.address] = int(listener.state is ListenerState.LISTENING)
        for certificate in listener.tls.certificates if listener.tls is not None else ():
            labels = (listener.name, ",".join(certificate.names))
            end = certificate.not_after.timestamp()
            # Two with the same names: the one that ends first is the one to be warned of.
            ends[labels] = min(end, ends.get(labels, end))
    yield LISTENING, (LISTENING.sample(labels, state) for labels, state in sorted(states.items()))
    yield CERTIFICATE_END, (CERTIFICATE_END.sample(labels, end) for labels, end in sorted(ends.items()))
