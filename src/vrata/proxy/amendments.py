"""Amendments: what a supervisor changes in a document's listeners before its workers apply it.

Workers are not to read certificates from files: each would do so at another moment, and one that takes the place of
another could find something else than the last good ones. So the supervisor reads them, once for all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vrata.model.tls import ListenerTls

Amendments = Mapping[str, Any]
"""By listener ID: the ``tls`` to serve with, or None for a listener that is to be left out."""


def encode(material: Mapping[str, ListenerTls | None]) -> bytes:
    """Amendments as they travel; empty for none."""
    if not material:
        return b""
    return json.dumps({name: None if tls is None else tls.document() for name, tls in material.items()}).encode()


def decode(content: bytes) -> Amendments:
    """The reverse of :func:`encode`."""
    amendments: Amendments = json.loads(content) if content else {}
    return amendments


def amend(document: dict[str, Any], amendments: Amendments) -> None:
    """Change the snapshot *document*, which is one that a supervisor has read."""
    content = document["snapshot"]
    content["listeners"] = [
        {**listener, "tls": amendments[listener["id"]]} if _is_amended(listener, amendments) else listener
        for listener in content["listeners"]
        if not _is_left_out(listener, amendments)
    ]


def _is_amended(listener: Any, amendments: Amendments) -> bool:
    return isinstance(listener, dict) and listener.get("id") in amendments


def _is_left_out(listener: Any, amendments: Amendments) -> bool:
    return _is_amended(listener, amendments) and amendments[listener["id"]] is None
