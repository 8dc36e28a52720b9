"""Both flows of a transaction under any order of content, answers, pauses and failure.

Nothing is lost, nothing hangs, and little is held. There is no network: the steps are those of the parties around a
transaction, in the order that was drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.request_message import accepted, message
from vrata.model.middleware.ext_proc import ExtProc
from vrata.proxy.middleware.ext_proc.message import REQUEST_BODY, RESPONSE_BODY, Answer, Refusal, Shown
from vrata.proxy.middleware.ext_proc.passage import MAX_HELD, MAX_PIECE, MAX_PIECES, MAX_UNDER_WAY
from vrata.proxy.middleware.ext_proc.settings import place_settings
from vrata.proxy.middleware.ext_proc.transaction import Transaction
from vrata.proxy.middleware.rejection import Rejection
from vrata.wire.http1.editing import SAME_LENGTH, edited_request
from vrata.wire.http1.head import ResponseHead, parse_response_head

LARGEST = 50_000
"""Bytes of the longest content that comes at once."""
LIMIT = 80_000
"""Of ``maxBodyBytes``."""
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

actions = st.lists(st.sampled_from(["take", "answer", "full", "ready"]), max_size=60)
sizes = st.lists(st.sampled_from([1, 2, 100, 9_999, LARGEST]), max_size=12)
EACH_WAY = pytest.mark.parametrize("way", ["request", "response"])


class Outside:
    """The client's request, its connection, what is inside of the middleware, and the way to the processor."""

    meters = claims = trace = None
    body_pending, is_counted, is_full = True, False, False
    scheme, request_id, trailers = "http", "1", b""

    def __init__(self) -> None:
        self.head = accepted(message(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1"))
        self.status = 0
        self.transaction: Any = None
        self.unanswered: deque[Shown] = deque()
        self.pieces: list[bytes] = []
        # Of each way: what has come out, how often it has ended, and whether its source is to pause.
        self.got: dict[str, list[bytes]] = {"request": [], "response": []}
        self.ends = {"request": 0, "response": 0}
        self.is_paused = {"request": False, "response": False}

    # As the request outside.

    def handled_by(self, handler: object) -> None:
        pass

    def edit(self, removed: tuple[bytes, ...], added: bytes, length: int = SAME_LENGTH) -> None:
        self.head = edited_request(self.head, removed, added, length)

    def pause_body(self) -> None:
        self.is_paused["request"] = True

    def resume_body(self) -> None:
        self.is_paused["request"] = False

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        assert not self.status
        self.status = head.status
        self.come_out("response", content, end)

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        self.come_out("response", content, end)

    # As the stage.

    def enter(self, request: Any, match: Any, content: bytes, end: bool, began: float) -> None:
        request.handled_by(self)
        self.come_out("request", content, end)

    def refuse(self, request: Any, rejection: Rejection, began: float) -> None:
        self.status = rejection.status

    def replace(self, request: Any, rejection: Rejection) -> None:
        self.status = rejection.status

    def failed(self, request: Any, reason: str) -> None:
        pass

    # As what is inside.

    def on_request_body(self, content: bytes, end: bool) -> None:
        self.come_out("request", content, end)

    def on_client_gone(self) -> None:
        pass

    def pause_response(self) -> None:
        self.is_paused["response"] = True

    def resume_response(self) -> None:
        self.is_paused["response"] = False

    # As the channel.

    def show(self, shown: Shown) -> None:
        self.unanswered.append(shown)
        self.pieces.append(shown.body)

    def waive(self, *, of_request: bool) -> None:
        self.unanswered.clear()

    def finish(self) -> None:
        self.unanswered.clear()

    def come_out(self, way: str, content: bytes, end: bool) -> None:
        assert not self.ends[way]
        self.got[way].append(content)
        self.ends[way] += end


def begun(way: str, stated: ExtProc, outside: Outside, *, has_body: bool) -> Transaction:
    """A transaction whose request or response, by *way*, has begun, and goes on with a body if it *has_body*."""
    parties: Any = outside  # of everybody's protocol what is used here
    transaction = Transaction(parties, place_settings(stated, None, {}), parties, None, 0.0)
    if way == "request":
        transaction.begin(parties, b"", not has_body)
    else:
        transaction.begin(parties, b"", True)
        head = parse_response_head(ANSWER)
        assert head is not None
        transaction.start_response(head, b"", not has_body)
    return transaction


class Run:
    """One body on its way, step by step."""

    def __init__(self, way: str, mode: str, contents: Sequence[bytes], *, shows_head: bool, replaces: bool) -> None:
        phases = {
            f"{way}Body": mode,
            f"{way}Headers": "send" if shows_head else "skip",
            f"{'response' if way == 'request' else 'request'}Headers": "skip",
            "maxBodyBytes": LIMIT,
        }
        stated = ExtProc.model_validate({"destinationId": "d", "allowOnError": True, "phases": phases})
        self.way = way
        self.outside = outside = Outside()
        self.contents = deque(contents)
        self.replaces = replaces
        self.taken = 0
        self.transaction = begun(way, stated, outside, has_body=bool(contents))

    @property
    def got(self) -> bytes:
        return b"".join(self.outside.got[self.way])

    def step(self, action: str) -> None:
        outside, transaction = self.outside, self.transaction
        is_request = self.way == "request"
        if action == "take" and self.contents and not outside.is_paused[self.way]:
            content = self.contents.popleft()
            self.taken += len(content)
            take = transaction.on_request_body if is_request else transaction.send_content
            take(content, not self.contents)
        elif action == "answer" and outside.unanswered:
            shown = outside.unanswered.popleft()
            answer = Answer(shown.phase)
            if shown.phase in (REQUEST_BODY, RESPONSE_BODY) and self.replaces:
                answer.body = b"<" + shown.body[:2] + b">"
            transaction.on_answer(shown.phase, answer)
        elif action == "full":
            (transaction.pause_body if is_request else transaction.pause_response)()
        elif action == "ready":
            (transaction.resume_body if is_request else transaction.resume_response)()
        if not self.replaces:
            assert self.taken - len(self.got) <= max(MAX_HELD, MAX_UNDER_WAY, LIMIT) + LARGEST or self.is_rejected
        assert len(outside.unanswered) <= MAX_PIECES
        assert all(len(piece) <= max(MAX_PIECE, LIMIT) for piece in outside.pieces)

    @property
    def is_rejected(self) -> bool:
        return bool(self.outside.status) and self.outside.status != 200

    def finish(self) -> None:
        """Let everybody keep up, until nothing changes any more."""
        for _ in range(1000):
            before = self._progress
            for action in ("ready", "take", "answer"):
                self.step(action)
            if before == self._progress:
                return
        raise AssertionError("it does not come to an end")

    @property
    def _progress(self) -> tuple[int, ...]:
        outside = self.outside
        return len(self.contents), len(outside.unanswered), len(outside.pieces), len(outside.got[self.way])


def content_of(sizes: list[int]) -> list[bytes]:
    return [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]


@EACH_WAY
@pytest.mark.parametrize("mode", ["none", "buffered", "bufferedPartial", "streamed"])
@settings(max_examples=40)
@given(actions=actions, sizes=sizes, shows_head=st.booleans())
def test_that_a_body_without_changes_is_what_it_was(
    way: str, mode: str, actions: list[str], sizes: list[int], shows_head: bool
) -> None:
    contents = content_of(sizes)
    run = Run(way, mode, contents, shows_head=shows_head, replaces=False)
    for action in actions:
        run.step(action)
    run.finish()
    whole = b"".join(contents)
    is_too_large = mode == "buffered" and len(whole) > LIMIT
    if is_too_large and way == "request":
        assert (run.outside.status, run.got) == (413, b"")
        return
    assert (run.got, run.outside.ends[way]) == (whole, 1)
    if not is_too_large:
        assert b"".join(run.outside.pieces) == {"none": b"", "bufferedPartial": whole[:LIMIT]}.get(mode, whole)


@EACH_WAY
@pytest.mark.parametrize("mode", ["buffered", "bufferedPartial", "streamed"])
@settings(max_examples=40)
@given(actions=actions, sizes=sizes, shows_head=st.booleans())
def test_that_what_was_shown_is_replaced(
    way: str, mode: str, actions: list[str], sizes: list[int], shows_head: bool
) -> None:
    run = Run(way, mode, content_of(sizes), shows_head=shows_head, replaces=True)
    for action in actions:
        run.step(action)
    run.finish()
    if mode == "buffered" and sum(sizes) > LIMIT:
        return
    pieces = run.outside.pieces[shows_head:]
    assert run.got == b"".join(b"<" + piece[:2] + b">" for piece in pieces)
    assert run.outside.ends[way] == 1
    if way == "request":
        assert not run.outside.is_paused[way]


@EACH_WAY
@pytest.mark.parametrize("mode", ["buffered", "bufferedPartial", "streamed"])
@settings(max_examples=40)
@given(before=actions, after=actions, sizes=sizes)
def test_that_nothing_is_lost_when_nobody_answers_any_more(
    way: str, mode: str, before: list[str], after: list[str], sizes: list[int]
) -> None:
    contents = content_of(sizes)
    run = Run(way, mode, contents, shows_head=True, replaces=False)
    for action in before:
        run.step(action)
    run.transaction.on_failure("it is gone")
    for action in after:
        run.step(action)
    run.finish()
    if run.outside.status == 413:
        return
    assert (run.got, run.outside.ends[way]) == (b"".join(contents), 1)
    assert not run.outside.unanswered


@EACH_WAY
@pytest.mark.parametrize("mode", ["buffered", "bufferedPartial", "streamed"])
@settings(max_examples=40)
@given(before=actions, after=actions, sizes=sizes)
def test_that_nothing_goes_on_after_a_rejection(
    way: str, mode: str, before: list[str], after: list[str], sizes: list[int]
) -> None:
    run = Run(way, mode, content_of(sizes), shows_head=True, replaces=False)
    for action in before:
        run.step(action)
    if not run.outside.unanswered:
        return
    had_begun = way == "response" and run.outside.status == 200
    if had_begun:
        return  # it is cut, which needs a connection
    run.transaction.on_answer(run.outside.unanswered[0].phase, Refusal(418))
    got = run.got
    for action in after:
        run.step(action)
    assert (run.outside.status, run.got, run.outside.ends[way]) == (418, got, 0)
