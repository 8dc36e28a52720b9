"""Which Redis, as a worker is told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """A Redis server, and the part of it that is ours."""

    host: str
    port: int
    password: str | None = field(default=None, repr=False)
    db: int = 0
    """Number of the logical database."""
