"""``envoy.config.core.v3.Metadata``: what is kept with a request, by namespace."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vrata.wire.protobuf import MessageWriter


def encode_metadata(kept: Mapping[str, bytes], namespaces: Collection[str]) -> bytes:
    """Return a ``Metadata`` with those of *namespaces* that are *kept*, each with a ``google.protobuf.Struct``."""
    metadata = MessageWriter()
    for namespace in namespaces:
        value = kept.get(namespace)
        if value is not None:
            entry = MessageWriter()
            entry.text(1, namespace)
            entry.message(2, value)
            metadata.message(1, entry.finished())
    return metadata.finished()
