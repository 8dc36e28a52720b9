"""Which snapshots are compiled for explanations, and for how long they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.unit.controlplane.snapshots.staging import NOTHING_ALLOWED, captured, listener, route
from vrata.controlplane import explanations
from vrata.controlplane.explanations import Explanations, NoSuchSnapshot
from vrata.controlplane.snapshots.capture import SnapshotCapturer
from vrata.controlplane.store.base import SNAPSHOTS, Record
from vrata.controlplane.store.memory import MemoryStore
from vrata.model.question import Question, SupposedRequest

Document = dict[str, Any]


class CountingSnapshot:
    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def explain(self, supposed: SupposedRequest, *, everything: bool) -> Document:
        return {"everything": everything}


class CountingExplainer:
    """Keeps the IDs of what it has compiled; a snapshot has as many entries as its routes' names say."""

    def __init__(self) -> None:
        self.compiled: list[str] = []

    def compile(self, document: Mapping[str, Any], seconds: float) -> CountingSnapshot:
        self.compiled.append(document["id"])
        return CountingSnapshot(sum(int(each["name"]) for each in document["snapshot"]["routes"]))

    def differences(self, before: Document, after: Document) -> list[Document]:
        return [{"path": "", "before": before, "after": after}]


class Subject:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.explainer = CountingExplainer()
        capturer = SnapshotCapturer(self.store, {}, NOTHING_ALLOWED)
        self.explanations = Explanations(self.store, capturer, self.explainer)

    async def add(self, entries: int) -> str:
        """Store a snapshot of so many *entries*."""
        snapshot = captured(listeners=[listener()], routes=[route(name=str(entries))])
        await self.store.create(SNAPSHOTS, Record(snapshot.id, None, snapshot.body, snapshot.summary))
        return snapshot.id

    async def ask(self, source: str) -> Document:
        return await self.explanations.answer(Question.parse({"request": {}, "snapshot": {"source": source}}))


def test_a_snapshot_is_compiled_once() -> None:
    async def scenario() -> None:
        subject = Subject()
        first = await subject.add(1)
        await subject.store.activate(first)
        answers = await asyncio.gather(*(subject.ask(source) for source in ("active", first, "active")))
        assert [answer["snapshot"]["id"] for answer in answers] == [first] * 3
        assert subject.explainer.compiled == [first]

    asyncio.run(scenario())


def test_few_are_kept_the_last_ones() -> None:
    async def scenario() -> None:
        subject = Subject()
        ids = [await subject.add(1) for _ in range(explanations.MOST_COMPILED + 1)]
        for each in ids:
            await subject.ask(each)
        await subject.ask(ids[-1])
        assert subject.explainer.compiled == ids
        await subject.ask(ids[0])
        assert subject.explainer.compiled == [*ids, ids[0]]

    asyncio.run(scenario())


def test_large_ones_make_room_for_each_other() -> None:
    async def scenario() -> None:
        subject = Subject()
        large = [await subject.add(explanations.MOST_ENTRIES) for _ in range(2)]
        for each in (large[0], large[1], large[1], large[0]):
            await subject.ask(each)
        assert subject.explainer.compiled == [large[0], large[1], large[0]]

    asyncio.run(scenario())


def test_after_a_while_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        subject = Subject()
        first = await subject.add(1)
        monkeypatch.setattr(explanations, "KEPT_SECONDS", 0.0)
        await subject.ask(first)
        await eventually_async(lambda: "with 0 " in repr(subject.explanations), what="it is forgotten")
        await subject.ask(first)
        assert subject.explainer.compiled == [first, first]

    asyncio.run(scenario())


def test_what_is_staged_is_compiled_again_when_it_has_changed() -> None:
    async def scenario() -> None:
        subject = Subject()
        await subject.ask("staged")
        await subject.ask("staged")
        assert subject.explainer.compiled == ["staged"]
        await subject.store.create("routes", Record("r", "1", b'{"id":"r","name":"1","directResponse":{"status":200}}'))
        await subject.ask("staged")
        assert subject.explainer.compiled == ["staged", "staged"]

    asyncio.run(scenario())


def test_a_comparison_asks_both() -> None:
    async def scenario() -> None:
        subject = Subject()
        first, second = await subject.add(1), await subject.add(2)
        question = {"request": {}, "all": True, "snapshot": {"source": first}, "compareWith": {"source": second}}
        answer = await subject.explanations.answer(Question.parse(question))
        assert answer["before"] == {"snapshot": {"source": first, "id": first, "name": "a name"}, "everything": True}
        assert answer["after"]["snapshot"]["id"] == second
        assert answer["differences"] == [{"path": "", "before": answer["before"], "after": answer["after"]}]

    asyncio.run(scenario())


def test_what_is_not_there_is_no_answer() -> None:
    async def scenario() -> None:
        subject = Subject()
        with pytest.raises(NoSuchSnapshot, match="gone"):
            await subject.ask("gone")
        with pytest.raises(NoSuchSnapshot) as none:
            await subject.ask("active")
        assert none.value.args == ("",)

    asyncio.run(scenario())


def test_a_snapshot_that_takes_too_long_is_not_kept() -> None:
    async def scenario() -> None:
        subject = Subject()
        first = await subject.add(1)

        def slow(document: Mapping[str, Any], seconds: float) -> CountingSnapshot:
            raise TimeoutError(f"more than {seconds}")

        fast, subject.explainer.compile = subject.explainer.compile, slow  # type: ignore[method-assign]
        with pytest.raises(TimeoutError):
            await subject.ask(first)
        subject.explainer.compile = fast  # type: ignore[method-assign]
        assert (await subject.ask(first))["snapshot"]["id"] == first

    asyncio.run(scenario())
