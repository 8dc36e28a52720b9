"""Explanations: what proxies would do with a request under the active snapshot, a stored one, or what is staged.

How a proxy decides is none of the control plane's business: an :class:`Explainer` is given to it, which knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vrata.controlplane import json_text
from vrata.controlplane.snapshots.capture import Draft, SnapshotCapturer
from vrata.controlplane.store.base import SNAPSHOTS, Store
from vrata.model.question import ACTIVE, STAGED, Question, SupposedRequest

COMPILE_SECONDS = 30.0
"""How long compiling one snapshot may take."""
MOST_COMPILED = 4
"""Compiled snapshots that are kept."""
MOST_ENTRIES = 100_000
"""Entries of all compiled snapshots that are kept, unless one alone has more; an entry takes about 6 KB."""
KEPT_SECONDS = 600.0
"""How long compiled snapshots are kept after the last question."""
MOST_REFUSALS = 100
"""Reasons that forbid a snapshot of the staged state that are shown."""

Document = dict[str, Any]


class ExplainedSnapshot(Protocol):
    """A compiled snapshot."""

    def __len__(self) -> int:
        """How many entries it has."""
        ...

    def explain(self, supposed: SupposedRequest, *, everything: bool) -> Document:
        """What would become of *supposed*; *everything* lists what its path rules out, too.

        Raises ``TimeoutError`` when that takes too long.
        """
        ...


class Explainer(Protocol):
    """Knows how proxies decide. Everything here takes time and is run in a thread."""

    def compile(self, document: Mapping[str, Any], seconds: float) -> ExplainedSnapshot:
        """Compile the snapshot *document*. Raises ``TimeoutError`` after *seconds*."""
        ...

    def differences(self, before: Document, after: Document) -> list[Document]:
        """What differs between two explanations of one request."""
        ...


class NoSuchSnapshot(LookupError):  # noqa: N818 - an answer, nothing is broken
    """There is no such snapshot; ``args[0]`` is its ID, empty when none is active."""


@dataclass(frozen=True)
class _Compiled:
    """One configuration, ready to be asked, and what is to be said of it in every explanation."""

    snapshot: ExplainedSnapshot
    remarks: Document


class Explanations:
    """Answers questions, and keeps a few compiled snapshots for the next one."""

    def __init__(self, store: Store, capturer: SnapshotCapturer, explainer: Explainer) -> None:
        self._store = store
        self._capturer = capturer
        self._explainer = explainer
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()
        """By snapshot ID, and by digest for what was staged."""
        # Two at once would only share the processor, and hold two copies of a snapshot.
        self._one_at_a_time = asyncio.Lock()
        self._forgetting: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Explanations with {len(self._compiled)} snapshots compiled>"

    async def answer(self, question: Question) -> Document:
        """Explain, or compare two explanations if *question* asks for it.

        Raises :class:`NoSuchSnapshot`, and ``TimeoutError`` when compiling a snapshot, or asking it, takes too long.
        """
        async with self._one_at_a_time:
            try:
                before = await self._explained(question, question.snapshot.source)
                if question.compare_with is None:
                    return before
                after = await self._explained(question, question.compare_with.source)
            finally:
                self._forget_later()
            differences = await asyncio.to_thread(self._explainer.differences, before, after)
            return {"differences": differences, "before": before, "after": after}

    def _forget_later(self) -> None:
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._compiled.clear)

    async def _explained(self, question: Question, source: str) -> Document:
        head: Document = {"source": source}
        if source == STAGED:
            compiled = await self._staged()
        else:
            summary = await self._summary(source)
            head |= {"id": summary["id"], "name": summary["name"]}
            compiled = await self._stored(summary["id"])
        found = await asyncio.to_thread(compiled.snapshot.explain, question.request, everything=question.all)
        return {"snapshot": head, **found, **compiled.remarks}

    async def _summary(self, source: str) -> Document:
        catalogue = await self._store.catalogue()
        wanted = catalogue.active_id if source == ACTIVE else source
        summaries = (json_text.load(summary) for summary in catalogue.summaries)
        summary = next((summary for summary in summaries if summary["id"] == wanted), None)
        if summary is None:
            raise NoSuchSnapshot("" if source == ACTIVE else source)
        found: Document = summary
        return found

    async def _stored(self, snapshot_id: str) -> _Compiled:
        compiled = self._kept(snapshot_id)
        if compiled is None:
            body = await self._store.read(SNAPSHOTS, snapshot_id)
            if body is None:
                raise NoSuchSnapshot(snapshot_id)
            compiled = await asyncio.to_thread(self._compile, body)
            self._keep(snapshot_id, compiled)
        return compiled

    async def _staged(self) -> _Compiled:
        draft = await self._capturer.draft()
        digest = await asyncio.to_thread(lambda: draft.digest)
        compiled = self._kept(digest)
        if compiled is None:
            compiled = await asyncio.to_thread(self._compile_draft, draft)
            self._keep(digest, compiled)
        return compiled

    def _compile(self, body: bytes) -> _Compiled:
        return _Compiled(self._explainer.compile(json_text.load(body), COMPILE_SECONDS), {})

    def _compile_draft(self, draft: Draft) -> _Compiled:
        refusals: list[Document] = [{"reason": reason} for reason in draft.unresolved]
        refusals += [finding.document() for finding in draft.findings()]
        document: Document = {"id": STAGED, "snapshot": draft.documents}
        if not refusals:
            found = draft.warnings({"id": "", "name": STAGED})
            document["warnings"] = [finding.document() for finding in found]
        snapshot = self._explainer.compile(document, COMPILE_SECONDS)
        # What is explained is what would happen if it were not refused.
        return _Compiled(snapshot, {"refusals": refusals[:MOST_REFUSALS]} if refusals else {})

    def _kept(self, key: str) -> _Compiled | None:
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
        return found

    def _keep(self, key: str, compiled: _Compiled) -> None:
        kept = self._compiled
        kept[key] = compiled
        while len(kept) > 1 and (
            len(kept) > MOST_COMPILED or sum(len(each.snapshot) for each in kept.values()) > MOST_ENTRIES
        ):
            kept.popitem(last=False)
