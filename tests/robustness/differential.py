"""Differential testing of requests: bytes through Vrata, what arrives through three readers, what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.robustness import request_readers
from tests.robustness.agreement import agreed
from tests.robustness.case import Answering, Case
from tests.robustness.message import Ending, Message
from tests.robustness.proxy_session import ProxySession, exchange
from tests.robustness.recording_upstream import RecordingUpstream
from tests.robustness.response_readers import Answer, read_with_h11

CANARY = Message(b"GET", b"/canary", b"canary.test")
CANARY_BYTES = b"GET /canary HTTP/1.1\r\nHost: canary.test\r\n\r\n"
"""A request behind a case: it must arrive as it is, or not at all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a client's bytes."""

    messages: tuple[Message, ...]
    """What the backend got, as all readers see it."""
    unfinished: tuple[Message | None, ...]
    """What the backend got in part, None where not even the head was whole."""
    answers: tuple[Answer, ...]
    """What the client got."""


class Differential(ProxySession):
    """Sends bytes to the proxy and has three readers say what came out of it."""

    def __init__(self, directory: Path) -> None:
        self._recording = RecordingUpstream()
        super().__init__(directory, self._recording)
        self.connections = 0
        """Client connections so far."""
        self.messages = 0
        """Messages that came out and were read by all readers."""

    @property
    def backend_port(self) -> int:
        return self._recording.port

    def answer(self, answering: Answering) -> None:
        """When the backend is to answer the requests from now on; nothing that it has seen so far is kept."""
        self._recording.answering = answering
        self._recording.take()

    def taken(self) -> list[bytes]:
        """What the backend has got since then, one item per connection."""
        return self._recording.take()

    def outcome(self, pieces: Iterable[bytes], answering: Answering = Answering.AFTER_THE_MESSAGE) -> Outcome:
        """Send *pieces* over a fresh connection, each read by itself, then close the sending half."""
        return self.run(self._outcome(pieces, answering))

    async def _outcome(self, pieces: Iterable[bytes], answering: Answering) -> Outcome:
        self.connections += 1
        self.answer(answering)
        async with asyncio.timeout(30):
            received = await exchange(self.proxy.port, pieces)
            await self.settled()
        messages: list[Message] = []
        unfinished: list[Message | None] = []
        for data in self.taken():
            readings = {"h11": request_readers.read_with_h11(data)}
            readings["httptools"] = request_readers.read_with_httptools(data)
            readings["nginx"] = await self.nginx.read(data, whole=readings["h11"].ending is Ending.WHOLE)
            reading = agreed(readings)
            messages += reading.messages
            if reading.ending is Ending.UNFINISHED:
                unfinished.append(reading.unfinished)
        self.messages += len(messages)
        return Outcome(tuple(messages), tuple(unfinished), read_answers(received, messages))

    def assert_serves(self) -> None:
        """The proxy serves the next client as if nothing had been."""
        found = self.outcome([CANARY_BYTES])
        assert (found.messages, found.unfinished) == ((CANARY,), ())
        assert [(answer.status, answer.content) for answer in found.answers] == [(200, b"GET /canary 0")]


def read_answers(data: bytes, messages: Iterable[Message]) -> tuple[Answer, ...]:
    """The answers in *data*: the backend's to *messages*, and the proxy's own to requests that it did not send on."""
    answers = []
    methods = iter([message.method for message in messages])
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200 "):
            method = next(methods, b"GET")
        else:
            # Which request it is for is not known, but whether that was a HEAD: bodies of the proxy's own are JSON.
            method = b"GET" if rest.startswith(b"{") else b"HEAD"
        answer = read_with_h11(data, method)
        answers.append(answer)
        data = answer.rest
    return tuple(answers)


def assert_as_expected(case: Case, found: Outcome, *, canary: bool = False) -> None:
    """*found* is what *case* says; with *canary* there was a further request behind it."""
    expected = case.expected
    further = (CANARY,) if canary and expected.goes_on else ()
    assert found.messages == expected.messages + further
    assert len(found.unfinished) <= expected.begun
    # Each request has its own answer, in order, and behind a refusal comes nothing.
    assert all(answer.ending is Ending.WHOLE for answer in found.answers)
    wanted = [_answer(message, case.answering) for message in expected.messages]
    if expected.refusal:
        wanted.append((expected.refusal, b""))
    wanted += [_answer(message, case.answering) for message in further]
    assert [_own(answer) for answer in found.answers] == wanted
    if expected.refusal and not expected.goes_on:
        assert found.answers[-1].values(b"connection") == [b"close"]
    for name, value in expected.carries:
        assert found.messages[0].values(name) == [value]
    for message in found.messages:
        for name in expected.lacks:
            assert not message.values(name), (name, message.fields, message.trailers)


def _answer(message: Message, answering: Answering) -> tuple[int, bytes]:
    """Status and content of the backend's answer to *message*."""
    size = len(message.content) if answering is Answering.AFTER_THE_MESSAGE else 0
    return 200, b"" if message.method == b"HEAD" else b"%b %b %d" % (message.method, message.target, size)


def _own(answer: Answer) -> tuple[int, bytes]:
    """The same of what came; the text of the proxy's own answers is for people."""
    return answer.status, answer.content if answer.status == 200 else b""
