"""Secrets: named sensitive texts, to which other entities refer (see `vrata.model.reference`)."""

from typing import ClassVar

from pydantic import Field

from vrata.model.entity import Entity
from vrata.model.reference import REFERENCE, SOURCES, contains_reference

__all__ = ["REFERENCE", "SOURCES", "Secret", "contains_reference"]


class Secret(Entity):
    """A sensitive text. The value appears neither in `repr` nor in messages about invalid documents."""

    kind: ClassVar[str] = "secret"
    collection: ClassVar[str] = "secrets"

    value: str = Field(repr=False)
    """The sensitive text; it may be empty."""
