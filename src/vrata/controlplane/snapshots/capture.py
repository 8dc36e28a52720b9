"""Making a snapshot: everything staged at one moment, resolved, checked and frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from vrata.config import SecretSources
from vrata.controlplane import json_text
from vrata.controlplane.identity import new_id, timestamp
from vrata.controlplane.snapshots.entities import COLLECTIONS, KINDS_OF_COLLECTIONS, Document, Entities
from vrata.controlplane.snapshots.finding import Finding, finding
from vrata.controlplane.snapshots.refusals import refusals
from vrata.controlplane.snapshots.resolution import MARK, Resolver, Sources, UnresolvedSecretsError
from vrata.controlplane.snapshots.warnings import warnings
from vrata.controlplane.store.base import SECRETS, SNAPSHOTS, Record, Store
from vrata.model import KINDS
from vrata.model.errors import InvalidEntity

_MARK = MARK.encode()


class SnapshotRefusedError(Exception):
    """The staged entities make no snapshot; the text lists every finding, one per line."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        lines = "".join(f"\n  {found}" for found in findings)
        super().__init__(f"the snapshot cannot be created:{lines}")
        self.findings = findings


class Draft:
    """What is staged, as a snapshot would have it: resolved, and not yet checked."""

    def __init__(
        self, bodies: Mapping[str, list[bytes]], documents: Mapping[str, list[Document]], unresolved: tuple[str, ...]
    ) -> None:
        self.bodies = bodies
        self.documents = documents
        self.unresolved = unresolved
        """Why some references to secrets, which were left in place, cannot be resolved."""

    @cached_property
    def digest(self) -> str:
        """Names the content: equal content has the same digest."""
        digest = sha256()
        for collection in COLLECTIONS:
            digest.update(json_text.join(self.bodies[collection]))
        return digest.hexdigest()

    def findings(self) -> tuple[Finding, ...]:
        """Everything that forbids a snapshot of it, beside unresolved references."""
        invalid = _validate(self.documents)
        return tuple(invalid) or tuple(refusals(Entities(self.documents)))

    def warnings(self, head: dict[str, str]) -> tuple[Finding, ...]:
        """Everything worth a warning, if it is valid; *head* has ``id`` and ``name`` of the snapshot."""
        return tuple(warnings(Entities(self.documents), head))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is not stored yet. *body* is the whole document, *summary* the part without entities."""

    id: str
    summary: bytes
    body: bytes
    warnings: tuple[Finding, ...]


class SnapshotCapturer:
    """Makes snapshots of what is staged in *store*.

    Secret references may lead to the Secret entities in the store, and to what *allowed* names in *environ* and on
    this machine's disk.
    """

    def __init__(self, store: Store, environ: Mapping[str, str], allowed: SecretSources) -> None:
        self._store = store
        self._environ = environ
        # Links in the directories themselves are followed here, as those in the files' paths are.
        directories = tuple(directory.resolve() for directory in allowed.file_directories)
        self._allowed = SecretSources(allowed.env_prefixes, directories)
        # Two captures at once would only share the processor and hold two copies of everything.
        self._one_at_a_time = asyncio.Lock()

    async def create(self, name: str) -> Snapshot:
        """Capture, check and store a snapshot. It is not activated.

        Raises ``UnresolvedSecretsError`` or :class:`SnapshotRefusedError`; nothing is stored then.
        """
        async with self._one_at_a_time:
            staged = await self._store.bodies(*COLLECTIONS, SECRETS)
            # In a thread: with thousands of routes this takes long enough to be felt by other requests.
            snapshot = await asyncio.to_thread(self._capture, name, staged)
            await self._store.create(SNAPSHOTS, Record(snapshot.id, None, snapshot.body, snapshot.summary))
            return snapshot

    async def draft(self) -> Draft:
        """What a snapshot made now would hold."""
        async with self._one_at_a_time:
            staged = await self._store.bodies(*COLLECTIONS, SECRETS)
            return await asyncio.to_thread(lambda: draft(staged, self._sources(staged)))

    def _capture(self, name: str, staged: Mapping[str, tuple[bytes, ...]]) -> Snapshot:
        return capture(name, staged, self._sources(staged))

    def _sources(self, staged: Mapping[str, tuple[bytes, ...]]) -> Sources:
        secrets = (json_text.load(body) for body in staged[SECRETS])
        values = {secret["id"]: secret["value"] for secret in secrets}
        return Sources(values, self._environ, self._allowed)


def draft(staged: Mapping[str, tuple[bytes, ...]], sources: Sources) -> Draft:
    """The encoded documents *staged* by collection, with their references to secrets resolved."""
    resolver = Resolver(sources)
    bodies: dict[str, list[bytes]] = {}
    documents: dict[str, list[Document]] = {}
    for collection in COLLECTIONS:
        bodies[collection], documents[collection] = _resolved(staged[collection], resolver)
    return Draft(bodies, documents, resolver.failures)


def capture(name: str, staged: Mapping[str, tuple[bytes, ...]], sources: Sources) -> Snapshot:
    """The snapshot of the encoded documents *staged* by collection.

    Raises ``UnresolvedSecretsError`` or :class:`SnapshotRefusedError`.
    """
    drafted = draft(staged, sources)
    if drafted.unresolved:
        raise UnresolvedSecretsError(drafted.unresolved)
    refused = drafted.findings()
    if refused:
        raise SnapshotRefusedError(refused)

    head = {"id": new_id(), "name": name, "createdAt": timestamp()}
    found = drafted.warnings(head)
    return Snapshot(head["id"], json_text.encode(head), _document(head, drafted.bodies, found), found)


def _resolved(staged: tuple[bytes, ...], resolver: Resolver) -> tuple[list[bytes], list[Document]]:
    bodies: list[bytes] = []
    documents: list[Document] = []
    for body in staged:
        document = json_text.load(body)
        if _MARK in body:
            document = resolver.resolve(document)
            body = json_text.encode(document)  # noqa: PLW2901 - the resolved body takes its place
        bodies.append(body)
        documents.append(document)
    return bodies, documents


def _validate(documents: Mapping[str, list[Document]]) -> list[Finding]:
    """Problems of entities that were valid when they were written.

    A secret can turn out to be no certificate, and an older build may have let pass what this one knows to be wrong.
    """
    findings: list[Finding] = []
    for collection, kind in KINDS_OF_COLLECTIONS.items():
        parse = KINDS[kind].parse
        for document in documents[collection]:
            try:
                parse(document)
            except InvalidEntity as error:
                findings += (finding(kind, document, problem.path, problem.reason) for problem in error.problems)
    return findings


def _document(head: dict[str, Any], bodies: Mapping[str, list[bytes]], found: tuple[Finding, ...]) -> bytes:
    # Assembled from the encoded entities: encoding 10 MB of routes a second time would take longer than all checks.
    collections = b",".join(
        json_text.encode(collection) + b":" + json_text.join(bodies[collection]) for collection in COLLECTIONS
    )
    document = json_text.encode(head)[:-1] + b',"snapshot":{' + collections + b"}"
    if found:
        document += b',"warnings":' + json_text.encode([warning.document() for warning in found])
    return document + b"}"
