"""Flows whose answers are a body of their own, under any order of content, answers, pauses and failure."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.proxy.middleware.ext_proc.test_flow import EACH_WAY, LARGEST, Outside, begun, content_of, sizes
from vrata.model.middleware.ext_proc import ExtProc
from vrata.proxy.middleware.ext_proc.message import Answer, Shown
from vrata.proxy.middleware.ext_proc.passage import MAX_HELD, MAX_PIECE

STEPS = ["take", "read", "answer", "full", "ready", "stop reading"]
actions = st.lists(st.sampled_from(STEPS), max_size=60)


class Party(Outside):
    """As what is outside, with a channel that is full when the processor does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        self.takes_nothing = False
        self.failures = 0

    def show(self, shown: Shown) -> None:
        assert not self.is_full
        super().show(shown)

    def waive(self, *, of_request: bool) -> None:
        pass

    def pause(self) -> None:
        self.takes_nothing = True

    def resume(self) -> None:
        self.takes_nothing = False

    def failed(self, request: Any, reason: str) -> None:
        self.failures += 1


class Conversation:
    """One body on its way by a processor that gives back what it was shown, in pieces of the size *splits*."""

    def __init__(self, way: str, contents: list[bytes], splits: int) -> None:
        phases = {f"{way}Body": "fullDuplexStreamed", f"{way}Trailers": "send"}
        phases[f"{'response' if way == 'request' else 'request'}Headers"] = "skip"
        stated = ExtProc.model_validate(
            {"destinationId": "d", "contract": "envoy", "allowOnError": True, "phases": phases}
        )
        self.way = way
        self.party = party = Party()
        self.splits = splits
        self.contents = deque(contents)
        self.back: deque[Answer] = deque()
        self.read = 0
        self.answered = 0
        self.transaction = begun(way, stated, party, has_body=bool(contents))

    @property
    def got(self) -> bytes:
        return b"".join(self.party.got[self.way])

    def step(self, action: str) -> None:
        party, transaction, is_request = self.party, self.transaction, self.way == "request"
        if action == "take" and self.contents and not party.is_paused[self.way]:
            content = self.contents.popleft()
            take = transaction.on_request_body if is_request else transaction.send_content
            take(content, not self.contents)
        elif action == "read":
            party.is_full = False
            transaction.on_ready()
            while party.unanswered:
                self._see(party.unanswered.popleft())
        elif action == "answer" and self.back and not party.takes_nothing:
            answer = self.back.popleft()
            self.answered += len(answer.body or b"")
            transaction.on_answer(answer.phase, answer)
        elif action == "full":
            (transaction.pause_body if is_request else transaction.pause_response)()
        elif action == "ready":
            (transaction.resume_body if is_request else transaction.resume_response)()
        elif action == "stop reading":
            party.is_full = True
        # What came from the processor and has not gone on is bounded, and so is every message to it.
        assert self.answered - len(self.got) <= MAX_HELD + self.splits
        assert all(len(piece) <= MAX_PIECE for piece in party.pieces)

    def _see(self, shown: Shown) -> None:
        if shown.phase.is_of_headers:
            self.back.append(Answer(shown.phase))
            return
        pieces = [shown.body[at : at + self.splits] for at in range(0, len(shown.body), self.splits)] or [b""]
        for at, piece in enumerate(pieces):
            ends = shown.end and at == len(pieces) - 1
            self.back.append(Answer(shown.phase, body=piece, is_streamed=True, ends=ends))

    def finish(self) -> None:
        for _ in range(5000):
            before = self._progress
            for action in ("ready", "take", "read", "answer"):
                self.step(action)
            if before == self._progress:
                return
        raise AssertionError("it does not come to an end")

    @property
    def _progress(self) -> tuple[int, ...]:
        party = self.party
        return len(self.contents), len(self.back), len(party.pieces), len(party.got[self.way]), party.ends[self.way]


@EACH_WAY
@settings(max_examples=20, deadline=None)
@given(actions=actions, sizes=sizes, splits=st.sampled_from([700, 9_999, LARGEST]))
def test_that_a_body_that_is_given_back_is_what_it_was(
    way: str, actions: list[str], sizes: list[int], splits: int
) -> None:
    contents = content_of(sizes)
    talk = Conversation(way, contents, splits)
    for action in actions:
        talk.step(action)
    talk.finish()
    assert (talk.got, talk.party.ends[way]) == (b"".join(contents), 1)
    assert b"".join(talk.party.pieces) == b"".join(contents)
    assert not talk.party.failures


@EACH_WAY
@settings(max_examples=20, deadline=None)
@given(before=actions, after=actions, sizes=sizes)
def test_that_nobody_waits_for_a_processor_that_is_gone(
    way: str, before: list[str], after: list[str], sizes: list[int]
) -> None:
    """What it was not shown passes; where it was shown something of the body, there is an error instead of a part."""
    contents = content_of(sizes)
    talk = Conversation(way, contents, 700)
    for action in before:
        talk.step(action)
    was_shown = any(piece for piece in talk.party.pieces)
    had_ended = talk.party.ends[way]
    if way == "response" and talk.party.status == 200 and was_shown and not had_ended:
        return  # it is cut, which needs a connection
    talk.transaction.on_failure("it is gone")
    talk.back.clear()
    for action in after:
        talk.step(action)
    talk.finish()
    if had_ended or not was_shown:
        assert (talk.got, talk.party.ends[way]) == (b"".join(contents), 1)
    else:
        assert (talk.party.status, talk.party.ends[way]) == (500, 0)


@pytest.mark.parametrize("reads", [True, False])
def test_that_a_source_waits_for_a_processor_that_does_not_read(reads: bool) -> None:
    talk = Conversation("request", content_of([LARGEST] * 12), LARGEST)
    talk.step("stop reading")
    for _ in range(12):
        if reads:
            talk.step("read")
        talk.step("take")
    assert talk.party.is_paused["request"] is not reads
    assert len(talk.contents) == (0 if reads else 12 - 2)
