"""What a snapshot may contain but hardly anybody wants: said when it is made, and kept with it."""

from __future__ import annotations

from collections.abc import Iterator

from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.finding import Finding, finding

_EFFECT_OF_DANGLING = {
    "route": "is left out of the group",
    "destination": "it is left out; requests fail with no_destination where it is the only one",
    "middleware": "the override has no effect",
}


def warnings(entities: Entities, snapshot: dict[str, str]) -> Iterator[Finding]:
    """Everything worth a warning that is not refused; *snapshot* has the new snapshot's ``id`` and ``name``."""
    for kind, effect in (("listener", "proxies accept no connections"), ("route", "every request gets no_route")):
        if not entities.of(kind):
            yield finding("snapshot", snapshot, f"snapshot.{kind}s", f"is empty: {effect}")
    yield from _dangling(entities)
    yield from _unused(entities)
    yield from _old_tls(entities)


def _dangling(entities: Entities) -> Iterator[Finding]:
    for reference in entities.dangling:
        effect = _EFFECT_OF_DANGLING[reference.target_kind]
        reason = f'{reference.target_kind} "{reference.target}" does not exist: {effect}'
        yield finding(reference.kind, reference.source, reference.path, reason)


def _unused(entities: Entities) -> Iterator[Finding]:
    destinations = {reference.target for reference in entities.references if reference.target_kind == "destination"}
    for destination in entities.of("destination"):
        if destination["id"] not in destinations:
            yield finding("destination", destination, "", "is unused: no route or middleware refers to it")
    for middleware in entities.of("middleware"):
        if middleware["id"] not in entities.attached_middlewares:
            yield finding("middleware", middleware, "", "is unused: no route or group refers to it")


def _old_tls(entities: Entities) -> Iterator[Finding]:
    for listener in entities.of("listener"):
        version = (listener.get("tls") or {}).get("minVersion")
        if version in ("TLSv1_0", "TLSv1_1"):
            reason = f"lets clients use {version}, which must not be used any more (RFC 8996)"
            yield finding("listener", listener, "tls.minVersion", reason)
