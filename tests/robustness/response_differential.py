"""Differential testing of responses: a backend's bytes through Vrata, what the client gets through three readers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.robustness import response_readers
from tests.robustness.message import Ending
from tests.robustness.proxy_session import ProxySession, exchange
from tests.robustness.response_case import Fate, ResponseCase
from tests.robustness.response_readers import Answer
from tests.robustness.scripted_upstream import CASE_TARGET, ScriptedUpstream

_REQUEST = b"%b " + CASE_TARGET + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
_NEXT = b"GET /next HTTP/1.1\r\nHost: b.test\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ResponseOutcome:
    """What became of a backend's bytes."""

    received: bytes
    """What the client got, all of it."""
    readings: dict[str, Answer]
    """What each reader makes of that."""
    following: Answer
    """What the next client got."""
    reused: bool
    """The next client was served over the same upstream connection."""


class ResponseDifferential(ProxySession):
    """Has the backend answer with bytes, and three readers say what came out of the proxy."""

    def __init__(self, directory: Path) -> None:
        self._scripted = ScriptedUpstream()
        super().__init__(directory, self._scripted)

    def outcome(self, case: ResponseCase, pieces: Sequence[bytes]) -> ResponseOutcome:
        """Answer one client with *pieces*, each sent by itself, and then another one with what it asked for."""
        return self.run(self._outcome(case, pieces))

    async def _outcome(self, case: ResponseCase, pieces: Sequence[bytes]) -> ResponseOutcome:
        self._prepare(case, pieces)
        async with asyncio.timeout(30):
            received = await exchange(self.proxy.port, [_REQUEST % case.method])
            await self.settled()
            # A GET is sent once more when the pooled connection that it went over gave no answer.
            assert self._scripted.cases == 1 or (self._scripted.cases == 2 and received.startswith(b"HTTP/1.1 502 "))
            if case.late:
                await self._scripted.send(case.late)
            await self.settled()
            following = response_readers.read_with_h11(await exchange(self.proxy.port, [_NEXT]), b"GET")
            await self.settled()
        readings = await self.readings(received, case.method)
        reused = following.values(b"connection-number") == [b"%d" % self._scripted.case_connection]
        return ResponseOutcome(received, readings, following, reused)

    def pipelined(self, case: ResponseCase) -> tuple[Answer, bytes]:
        """The answer to a client that has sent another request behind the first one, and what follows it."""
        return self.run(self._pipelined(case))

    async def _pipelined(self, case: ResponseCase) -> tuple[Answer, bytes]:
        self._prepare(case, [case.data])
        async with asyncio.timeout(30):
            received = await exchange(self.proxy.port, [_REQUEST % case.method + _NEXT])
            await self.settled()
        answer = response_readers.read_with_h11(received, case.method)
        return answer, answer.rest

    async def readings(self, data: bytes, method: bytes) -> dict[str, Answer]:
        """What each reader makes of *data* as the answer to a request with *method*."""
        return {
            "h11": response_readers.read_with_h11(data, method),
            "httptools": response_readers.read_with_httptools(data, method),
            "nginx": await self.nginx.read_response(data, method),
        }

    def readings_of_the_original(self, case: ResponseCase) -> dict[str, Answer]:
        """What each reader makes of the backend's own bytes."""
        return self.run(self.readings(case.data, case.method))

    def _prepare(self, case: ResponseCase, pieces: Sequence[bytes]) -> None:
        self._scripted.pieces = [piece for piece in pieces if piece]
        self._scripted.then = case.then
        self._scripted.cases = 0


def assert_fate(case: ResponseCase, answer: Answer) -> None:
    """The client got what *case* says."""
    expected = case.expected
    if expected.fate is Fate.REFUSED or (expected.may_be_refused and answer.status == 502):
        assert (answer.status, answer.ending, answer.informational) == (502, Ending.WHOLE, expected.informational)
        assert b'"error":"connection_reset"' in answer.content or case.method == b"HEAD"
    elif expected.fate is Fate.CUT:
        assert answer.ending is not Ending.WHOLE
        assert answer.status in (expected.status, 0)  # the reset may overtake even the head
        assert expected.content.startswith(answer.content)
    else:
        assert (answer.status, answer.content, answer.ending) == (expected.status, expected.content, Ending.WHOLE)
        assert answer.informational == expected.informational
        for name, values in expected.carries:
            assert answer.values(name) == list(values)
        for name in expected.lacks:
            assert not answer.values(name)
