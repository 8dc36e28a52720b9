"""What a request comes to whose attempts end in any way, against an oracle, in simulated time.

Every attempt has a connection of its own, so that no attempt is repeated because a pooled connection had died.
"""

from __future__ import annotations

from asyncio import events
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.in_process_proxy import InProcessProxy
from tests.support.retries import retry_budget, retry_to
from tests.support.simulated_loop import SimulatedLoop, SimulatedTransport
from tests.support.stream_client import request
from vrata.proxy.action.retrying import MAX_KEPT

CONDITIONS = ("server-error", "gateway-error", "connection-failure", "retriable-codes")
CODES = (409, 503)
LIMIT = 1.0
"""Seconds that one attempt may take."""

REFUSED, RESET, SILENT = "refused", "reset", "silent"
OUTCOMES = st.sampled_from([200, 204, 404, 409, 500, 502, 503, REFUSED, RESET, SILENT])
ERRORS = {REFUSED: 502, RESET: 502, SILENT: 504}


@dataclass(frozen=True)
class Case:
    method: str
    size: int
    """Of the request's body."""
    piece: int
    """How much of it comes at once."""
    attempts: int
    on: tuple[str, ...]
    outcomes: tuple[Any, ...]
    """What becomes of each attempt; of those that are not named: 200."""
    budget: float
    """Seconds for everything."""


CASES = st.builds(
    Case,
    method=st.sampled_from(["GET", "PUT", "POST"]),
    size=st.sampled_from([0, 1, 5000, MAX_KEPT, MAX_KEPT + 1]),
    piece=st.sampled_from([1000, 16384, 100_000]),
    attempts=st.integers(1, 4),
    on=st.lists(st.sampled_from(CONDITIONS), max_size=4, unique=True).map(tuple),
    outcomes=st.lists(OUTCOMES, max_size=6).map(tuple),
    budget=st.sampled_from([2.5, 3600.0]),
    # Whether a body has turned out to be too large when the first dial fails depends on the pieces in which it comes.
).filter(lambda case: case.size <= MAX_KEPT or case.outcomes[:1] != (REFUSED,))


def expected(case: Case) -> tuple[int, int]:
    """How many attempts there are, and the status of the answer."""
    on = case.on or ("server-error", "connection-failure")
    is_idempotent = case.method != "POST"
    left = case.budget
    for number in range(case.attempts + 1):
        outcome = case.outcomes[number] if number < len(case.outcomes) else 200
        if outcome == SILENT:
            if left < LIMIT:
                return number + 1, 504
            left -= LIMIT
        if isinstance(outcome, int):
            named = ("server-error" in on and outcome >= 500) or ("gateway-error" in on and outcome in (502, 503))
            named = named or ("retriable-codes" in on and outcome in CODES)
            is_retried = named and (is_idempotent or bool(case.on))
        else:
            is_retried = "connection-failure" in on and (is_idempotent or outcome == REFUSED)
        if not is_retried or number == case.attempts or case.size > MAX_KEPT:
            return number + 1, outcome if isinstance(outcome, int) else ERRORS[outcome]
    raise AssertionError


class World:
    """The proxy, the client of one case, and its backend, which has as many ports as it needs."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.attempts: list[bytes] = []
        """What the backend got in each attempt; nothing if it did not accept the connection."""
        self.loop = SimulatedLoop()  # type: ignore[abstract] # nobody asks it for the rest
        self._running: list[tuple[SimulatedTransport, bytes]] = []
        events._set_running_loop(self.loop)
        try:
            self.proxy = InProcessProxy()
        finally:
            events._set_running_loop(None)
        retry: dict[str, Any] = {"attempts": case.attempts, "on": list(case.on), "perAttemptTimeout": f"{LIMIT}s"}
        if "retriable-codes" in case.on:
            retry["retriableCodes"] = list(CODES)
        budget = {"request": f"{case.budget}s"}
        self.loop.run(retry_to(self.proxy, 80, timeouts=budget, limits={"responseHeader": "0s"}, **retry))
        self.loop.network.accepts = False

    def run(self) -> bytes:
        """Send the request and let the backend do its part; returns what the client gets."""
        case = self._case
        client = self.loop.network.client(0)
        fields = ("Content-Length: 0",) if case.method == "POST" and not case.size else ()
        head = request(f"{case.method} /", *(fields if not case.size else (f"Content-Length: {case.size}",)))
        client.peer_sends(head)
        for at in range(0, case.size, case.piece):
            client.peer_sends(b"x" * min(case.piece, case.size - at))
            self.loop.settle()
        answer = b""
        for _ in range(100):
            self._turn()
            self.loop.advance(0.05)
            answer += client.take()
            if answer:
                break
        client.peer_resets()
        self.loop.settle()
        return answer

    def _turn(self) -> None:
        """Decide dials, and answer what has arrived whole."""
        self.loop.settle()
        network, outcomes = self.loop.network, self._case.outcomes
        if network.dials:
            number = len(self.attempts)
            outcome = outcomes[number] if number < len(outcomes) else 200
            self.attempts.append(b"")
            network.decide(outcome != REFUSED)
            self.loop.settle()
        for transport in network.upstream:
            self._running.append((transport, b""))
        network.upstream.clear()
        still: list[tuple[SimulatedTransport, bytes]] = []
        for transport, earlier in self._running:
            received = earlier + transport.take()
            _, found, body = received.partition(b"\r\n\r\n")
            if not found or len(body) < self._case.size:
                still.append((transport, received))
                continue
            number = len(self.attempts) - 1
            self.attempts[number] = received
            outcome = outcomes[number] if number < len(outcomes) else 200
            if outcome == RESET:
                transport.peer_resets()
            elif outcome != SILENT:
                length = b"" if outcome == 204 else b"Content-Length: 0\r\n"
                transport.peer_sends(b"HTTP/1.1 %d X\r\n%bConnection: close\r\n\r\n" % (outcome, length))
        self._running = still
        self.loop.settle()

    def check_nothing_is_left(self) -> None:
        self.loop.advance(0.2)
        assert self.proxy.watched == 0
        assert retry_budget(self.proxy).is_idle
        assert not self.loop.network.dials

    def close(self) -> None:
        """Give up what the proxy holds of the real world: the socket that it believes to listen on."""
        self.loop.run(self.proxy.data_plane.drain(0))


@settings(max_examples=100)
@given(CASES)
def test_attempts_and_answer_are_those_of_the_oracle(case: Case) -> None:
    world = World(case)
    try:
        answer = world.run()
        attempts, status = expected(case)
        assert (len(world.attempts), answer[:12]) == (attempts, b"HTTP/1.1 %d" % status)
        sent = [received for received in world.attempts if received]
        assert all(received == sent[0] and received.endswith(b"x" * case.size) for received in sent)
        world.check_nothing_is_left()
    finally:
        world.close()
