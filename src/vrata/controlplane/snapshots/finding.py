"""A finding: one thing about one entity that speaks against, or merely should be said of, a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How bad it is that a snapshot has something."""

    HIGH = "high"
    """Requests fail, or somebody gets what he should not."""
    MEDIUM = "medium"
    """Something does not act as it is written."""
    LOW = "low"
    """Something is superfluous."""


@dataclass(frozen=True, slots=True)
class Finding:
    """*reason* is about the member *path* of an entity; the path is empty if the whole entity is meant."""

    kind: str
    id: str
    name: str
    path: str
    reason: str
    severity: Severity | None = None
    """Of what does not forbid the snapshot."""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f'{self.kind} "{self.name}" ({self.id}): {where}{self.reason}'

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        document = {"kind": self.kind, "id": self.id, "name": self.name, "path": self.path, "reason": self.reason}
        return document if self.severity is None else {"severity": self.severity, **document}


def finding(kind: str, entity: dict[str, Any], path: str, reason: str) -> Finding:
    """A finding about the document *entity*."""
    return Finding(kind, str(entity.get("id", "")), str(entity.get("name", "")), path, reason)
