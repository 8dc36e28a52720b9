"""An entity: what has an ID and a name, and a collection of its own in the API."""

from typing import ClassVar, Self

from pydantic import ValidationError

from vrata.model.errors import InvalidEntity, Problem
from vrata.model.part import Part
from vrata.model.report import kind_of, problems_of
from vrata.model.text import Id, NonEmpty


class Entity(Part):
    """Base of the entity kinds."""

    kind: ClassVar[str]
    """Name of one entity in messages, such as `route`."""
    collection: ClassVar[str]
    """Name of all of them in URLs and snapshots, such as `routes`."""

    always_shown: ClassVar[frozenset[str]] = frozenset({"id"})

    id: Id = ""
    """Identity, unique in the collection. Left empty, the control plane gives a random one."""
    name: NonEmpty
    """What people call it; unique in the collection."""

    @classmethod
    def parse(cls, data: object) -> Self:
        """Read a decoded JSON document.

        Raises:
            InvalidEntity: with every problem that was found, references between entities aside.

        """
        if not isinstance(data, dict):
            raise InvalidEntity([Problem("", f"must be an object, got {kind_of(data)}")])
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = problems_of(error, cls)
        # Raised outside the handler, so that no traceback carries the values of the document.
        raise InvalidEntity(problems)

    def with_id(self, new_id: str) -> Self:
        """Return the same entity under another ID."""
        return self.model_copy(update={"id": new_id})
