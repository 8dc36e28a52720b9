"""What others use of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrata.proxy.explain.differences import differences
from vrata.proxy.explain.entry import Document
from vrata.proxy.explain.snapshot import ExplainedSnapshot


class Explainer:
    """Explains as proxies with the same settings decide. Implements ``vrata.controlplane.explanations.Explainer``."""

    def __init__(self, cel_body_max_size: int) -> None:
        """Expressions see *cel_body_max_size* bytes of a body; 0 = nothing."""
        self._cel_body_max_size = cel_body_max_size

    def __repr__(self) -> str:
        return f"<Explainer, {self._cel_body_max_size} bytes of bodies>"

    def compile(self, document: Mapping[str, Any], seconds: float) -> ExplainedSnapshot:
        """Compile the snapshot *document*.

        Raises ``TimeoutError`` after *seconds*, and :class:`~vrata.proxy.reading.SnapshotRejected`.
        """
        return ExplainedSnapshot(document, seconds, self._cel_body_max_size)

    def differences(self, before: Document, after: Document) -> list[Document]:
        """What differs between two explanations of one request."""
        return differences(before, after)
