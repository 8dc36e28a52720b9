"""What is wrong with the keys of ``jwt`` middlewares."""

from __future__ import annotations

from collections.abc import Iterator

from vrata.controlplane.snapshots.entities import Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.policy.jwt.key_set import InvalidKeySet, read_key_set

_SHOWN = 3
"""Keys whose reasons are told."""


def token_warnings(entities: Entities) -> Iterator[Finding]:
    """Keys that verify nothing."""
    for middleware in _jwt_middlewares(entities):
        text = middleware["jwt"].get("jwksInline")
        if not text:
            continue
        reason = _unusable_keys(text)
        if reason is not None:
            yield finding("middleware", middleware, "jwt.jwksInline", reason)


def _jwt_middlewares(entities: Entities) -> Iterator[Document]:
    return (middleware for middleware in entities.of("middleware") if middleware["type"] == "jwt")


def _unusable_keys(text: str) -> str | None:
    try:
        keys = read_key_set(text.encode())
    except InvalidKeySet as error:
        return f"{error}: every request gets 401"
    left_out = "; ".join(keys.skipped[:_SHOWN])
    if not keys.keys:
        return f"has no usable key, so every request gets 401{': ' if left_out else ''}{left_out}"
    return f"has keys that are left out: {left_out}" if left_out else None
