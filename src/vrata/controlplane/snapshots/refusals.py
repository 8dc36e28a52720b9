"""What a snapshot must not contain: it would not do what it says, or would do harm."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from vrata.controlplane.snapshots.acted_on import without_effect
from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.controlplane.snapshots.token_findings import token_refusals


def refusals(entities: Entities) -> Iterator[Finding]:
    """Everything that forbids a snapshot of *entities*."""
    yield from _listeners_in_conflict(entities)
    yield from _broken_middlewares(entities)
    yield from token_refusals(entities)
    for kind, document in entities:
        for path, reason in without_effect(kind, document):
            yield finding(kind, document, path, reason)


def _listeners_in_conflict(entities: Entities) -> Iterator[Finding]:
    first: dict[tuple[str, int], Document] = {}
    for listener in entities.of("listener"):
        other = first.setdefault((_normal_address(listener["address"]), listener["port"]), listener)
        if other is not listener:
            reason = f'listener "{other["name"]}" ({other["id"]}) has the same address and port'
            yield finding("listener", listener, "port", reason)


def _normal_address(address: str) -> str:
    # One IPv6 address has many spellings, and host names ignore case.
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return address.lower()


def _broken_middlewares(entities: Entities) -> Iterator[Finding]:
    """Middlewares that routes rely on and that cannot work: without them, requests would pass unchecked."""
    for reference in entities.dangling:
        is_attachment = reference.path.startswith("middlewareIds")
        is_attached = reference.kind == "middleware" and reference.source["id"] in entities.attached_middlewares
        if is_attachment or is_attached:
            reason = f'{reference.target_kind} "{reference.target}" does not exist'
            yield finding(reference.kind, reference.source, reference.path, reason)
