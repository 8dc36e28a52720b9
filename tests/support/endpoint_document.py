"""An endpoint as the API shows it."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def endpoint_document(
    address: str, health: Document | None = None, outlier: Document | None = None, **members: Any
) -> Document:
    """One that nothing is known of, but for what is given."""
    return {
        "address": address,
        "weight": 1,
        "source": "static",
        "available": True,
        "verdicts": {
            "health": {"state": "unchecked", "reason": "", "since": None, "lastProbe": None} | (health or {}),
            "outlier": {
                "ejected": False,
                "until": None,
                "ejections": 0,
                "reason": "",
                "heldBack": 0,
                "heldBackReason": "",
            }
            | (outlier or {}),
        },
        "activeRequests": 0,
        "connections": 0,
        "consecutive5xx": 0,
    } | members
