"""Amendments: what a supervisor changes in a document's listeners and destinations before its workers apply it.

Workers are not to read certificates from files: each would do so at another moment, and one that takes the place of
another could find something else than the last good ones. So the supervisor reads them, once for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from vrata.model.destination import Destination
from vrata.model.listener import Listener
from vrata.model.tls import DestinationTls, ListenerTls

Amendments = Mapping[str, Mapping[str, Any]]
"""By collection and ID: the ``tls`` to serve with, or None for an entity that is to be left out."""


def encode(
    listeners: Mapping[str, ListenerTls | None],
    destinations: Mapping[str, DestinationTls | None] = MappingProxyType({}),
) -> bytes:
    """Amendments, by ID, as they travel; empty for none."""
    if not listeners and not destinations:
        return b""
    stated: dict[str, Mapping[str, ListenerTls | DestinationTls | None]] = {
        Listener.collection: listeners,
        Destination.collection: destinations,
    }
    return json.dumps(
        {
            collection: {name: None if tls is None else tls.document() for name, tls in material.items()}
            for collection, material in stated.items()
        }
    ).encode()


def decode(content: bytes) -> Amendments:
    """The reverse of :func:`encode`."""
    amendments: Amendments = json.loads(content) if content else {}
    return amendments


def amend(document: dict[str, Any], amendments: Amendments) -> None:
    """Change the snapshot *document*, which is one that a supervisor has read."""
    content = document["snapshot"]
    for collection, secured in (
        (Listener.collection, _secured_listener),
        (Destination.collection, _secured_destination),
    ):
        found = amendments.get(collection)
        if found:
            content[collection] = list(_amended(content[collection], found, secured))


def _amended(
    entities: Iterable[Any], amendments: Mapping[str, Any], secured: Callable[[dict[str, Any], Any], dict[str, Any]]
) -> Iterator[Any]:
    for entity in entities:
        identity = entity.get("id") if isinstance(entity, dict) else None
        if not isinstance(identity, str) or identity not in amendments:
            yield entity
        elif amendments[identity] is not None:
            yield secured(entity, amendments[identity])


def _secured_listener(listener: dict[str, Any], tls: Any) -> dict[str, Any]:
    return {**listener, "tls": tls}


def _secured_destination(destination: dict[str, Any], tls: Any) -> dict[str, Any]:
    return {**destination, "options": {**destination["options"], "tls": tls}}
