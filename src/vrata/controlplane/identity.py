"""Identities and times that the control plane gives out."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4


def new_id() -> str:
    """A random UUID (version 4), lower-case and hyphenated."""
    return str(uuid4())


def timestamp(moment: datetime | None = None) -> str:
    """*moment*, or now, in RFC 3339 form: UTC, microseconds, suffix ``Z``."""
    moment = datetime.now(UTC) if moment is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
