"""What can go wrong with a store, as types that carry the data."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """Base of every error of a store."""


class RecordNotFoundError(StoreError):
    """No record has this id."""

    def __init__(self, collection: str, id: str) -> None:  # noqa: A002 - the field's name everywhere
        super().__init__(f"{collection} {id!r}: not found")
        self.collection = collection
        self.id = id


class RecordExistsError(StoreError):
    """A record with this id exists already."""

    def __init__(self, collection: str, id: str) -> None:  # noqa: A002
        super().__init__(f"{collection} {id!r}: exists already")
        self.collection = collection
        self.id = id


class NameTakenError(StoreError):
    """Another record of the collection bears this name."""

    def __init__(self, collection: str, name: str) -> None:
        super().__init__(f"{collection}: the name {name!r} is taken")
        self.collection = collection
        self.name = name


class StoreFailedError(StoreError):
    """A read or write failed below us (disk full, I/O error); nothing of it was kept."""


class StoreOpenError(StoreError):
    """The store cannot be opened; the text is for the operator and says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"store {path}: {reason}")
        self.path = path
        self.reason = reason
