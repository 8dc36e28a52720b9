"""Snapshot documents as the control plane sends them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def snapshot(snapshot_id: str, *, listeners: Sequence[str] = (), mark: str = "", **entities: list[Any]) -> bytes:
    """Return a document with listeners on the given ``host:port`` addresses, and the other *entities* as given.

    *mark* makes documents of the same id differ.
    """
    documents = []
    for index, address in enumerate(listeners):
        host, _, port = address.rpartition(":")
        documents.append(
            {"id": f"listener-{index}", "name": f"listener {index}", "address": host.strip("[]"), "port": int(port)}
        )
    content: dict[str, list[Any]] = {
        "listeners": documents,
        "routes": [],
        "groups": [],
        "destinations": [],
        "middlewares": [],
        **entities,
    }
    document = {"id": snapshot_id, "name": f"snapshot {snapshot_id}", "createdAt": mark, "snapshot": content}
    return json.dumps(document).encode()
