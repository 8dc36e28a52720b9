"""An entity: what has an ID and a name, and a collection of its own in the API."""

from typing import ClassVar, Self

from vrata.model.document import Document
from vrata.model.text import Id, NonEmpty


class Entity(Document):
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

    def with_id(self, new_id: str) -> Self:
        """Return the same entity under another ID."""
        return self.model_copy(update={"id": new_id})
