"""Staged entities for tests of snapshots: small, valid, and as the store would hold them."""

from __future__ import annotations

from typing import Any

from vrata.config import SecretSources
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.capture import Snapshot, capture
from vrata.controlplane.snapshots.resolution import Sources
from vrata.model import KINDS

NOTHING_ALLOWED = SecretSources((), ())


def listener(**members: Any) -> dict[str, Any]:
    return {"id": "l1", "name": "web", "port": 3000} | members


def destination(**members: Any) -> dict[str, Any]:
    return {"id": "d1", "name": "backend", "host": "backend.example", "port": 80} | members


def route(**members: Any) -> dict[str, Any]:
    return {"id": "r1", "name": "all", "forward": {"destinations": [{"destinationId": "d1"}]}} | members


def group(**members: Any) -> dict[str, Any]:
    return {"id": "g1", "name": "api", "routeIds": ["r1"]} | members


def middleware(**members: Any) -> dict[str, Any]:
    return {"id": "m1", "name": "cors", "type": "cors", "cors": {"maxAge": 5}} | members


def staged(**collections: list[dict[str, Any]]) -> dict[str, tuple[bytes, ...]]:
    """Bodies by collection; entities are given as to the API, with the plural name of their kind."""
    bodies: dict[str, tuple[bytes, ...]] = {}
    for kind, entity in KINDS.items():
        documents = collections.get(kind + "s", [])
        bodies[kind + "s"] = tuple(json_text.encode(entity.parse(document).document()) for document in documents)
    return bodies


NO_SOURCES = Sources({}, {}, NOTHING_ALLOWED)


def captured(**collections: list[dict[str, Any]]) -> Snapshot:
    """The snapshot of these entities, which refer to no secrets."""
    return captured_with(NO_SOURCES, **collections)


def captured_with(sources: Sources, /, **collections: list[dict[str, Any]]) -> Snapshot:
    """The snapshot of these entities."""
    return capture("a name", staged(**collections), sources)
