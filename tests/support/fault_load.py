"""Load on a proxy before healthy and faulty backends, by clients that check every answer; with a seed, for repetition.

Targets begin with the name of a fault (:mod:`tests.support.faults`). A proxy is expected to send ``/ok`` to one of two
healthy backends, ``/refused`` and ``/full`` to the ports of :class:`~tests.support.faulty_backend.DeadPorts`, and the
rest to the faulty one, within the limits of :data:`LIMITS`: :func:`destinations` and :func:`routes`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.support.gateway import Document, destination, forward, route
from tests.support.verifying_client import Answer, Probe, VerifyingClient, WrongAnswerError
from vrata.observability.tasks import TaskSupervisor

LIMITS = {
    "connect": "300ms",
    "responseHeader": "1s",
    "request": "3s",
    "idleConnection": "1s",
    "expectContinue": "100ms",
}
"""Time limits of the destinations, short enough for stalls to end soon."""

RESET = "502 connection_reset"
REFUSED = "502 connection_refused"
TIMEOUT = "504 timeout"

BREAKS_OFF = frozenset({"broken", "silent"})
"""When the end comes with the head, the proxy may cut the connection before it has sent any of it."""

EXPECTED: dict[str, frozenset[str]] = {
    **dict.fromkeys(("ok", "trickle", "garbage-after", "second-response", "informational"), frozenset({"whole"})),
    **dict.fromkeys(("doom-close", "doom-reset", "close-after", "slow-read"), frozenset({"whole"})),
    **dict.fromkeys(("reset", "reset-at-head", "reset-mid-head"), frozenset({RESET})),
    **dict.fromkeys(("close", "close-at-head", "close-mid-head"), frozenset({RESET})),
    **dict.fromkeys(("garbage", "status-line", "framing", "endless-head"), frozenset({RESET})),
    **dict.fromkeys(("stall", "stall-mid-head", "informational-only"), frozenset({TIMEOUT})),
    **dict.fromkeys(("reset-after-head", "reset-mid-body", "bad-chunk"), BREAKS_OFF | {RESET}),
    **dict.fromkeys(("close-after-head", "close-mid-body", "stall-mid-body", "trickle-cut"), BREAKS_OFF),
    "refused": frozenset({REFUSED}),
    "full": frozenset({TIMEOUT}),
}
"""What a client may see of each fault. What comes together with the head of an answer, or overtakes it, leaves none."""
SLOW = frozenset({"stall", "stall-mid-head", "stall-mid-body", "informational-only", "full", "trickle", "trickle-cut"})
"""Faults that take their time, and so are asked for less."""
FAULTS = tuple(sorted(name for name in EXPECTED if name not in SLOW and name != "ok"))
NOT_UNFRAMED = frozenset(
    {"close-after-head", "close-mid-body", "stall-mid-body", "trickle-cut", "garbage-after", "second-response"}
)
"""Faults that nobody could tell from a right answer that only a close ends."""


def destinations(healthy: int, other: int, faulty: int, refused: int, full: int) -> list[Document]:
    """The destinations on these ports."""
    ports = {"healthy": healthy, "other": other, "faulty": faulty, "refused": refused, "full": full}
    return [destination(name, port, timeouts=LIMITS) for name, port in ports.items()]


def routes(share: int = 50) -> list[Document]:
    """The routes; *share* percent of what is healthy goes to the first of its two destinations."""
    weights = [{"destinationId": "healthy", "weight": share}, {"destinationId": "other", "weight": 100 - share}]
    return [
        route("ok", {"pathPrefix": "/ok"}, forward={"destinations": [item for item in weights if item["weight"]]}),
        route("refused", {"pathPrefix": "/refused"}, forward=forward("refused")),
        route("full", {"pathPrefix": "/full"}, forward=forward("full")),
        route("faulty", forward=forward("faulty")),
    ]


@dataclass(frozen=True, slots=True)
class Errand:
    """A probe, how it is made, and what may come of it."""

    probe: Probe
    allowed: frozenset[str]
    pause: float = 0.0
    """Seconds between head and body in which the client does not read."""
    leaves: bool = False
    """The client resets the connection in the middle."""
    half_closes: bool = False
    """The client says that it sends no more, and waits for its answer."""


def errands(random: Random, identities: Iterator[int]) -> Iterator[Errand]:
    """One after the other, without end."""
    while True:
        kind = random.random()
        fault = "ok" if kind < 0.6 else random.choice(FAULTS) if kind < 0.97 else random.choice(sorted(SLOW))
        upload = random.choice((None, None, None, 0, 10, 1000, 70_000, 300_000))
        method = (
            random.choice(("POST", "PUT"))
            if upload is not None
            else random.choice(("GET", "GET", "GET", "HEAD", "PUT"))
        )
        size = random.choice((0, 10, 100, 1000, 20_000, 200_000)) if fault not in SLOW else 50
        framing = random.choice(("length", "length", "chunked", "close"))
        allowed = EXPECTED[fault]
        if fault == "bad-chunk" or (framing == "close" and fault in NOT_UNFRAMED):
            framing = "chunked"
        if method == "HEAD":
            # There is no body that could break off, and the proxy's errors come without theirs.
            allowed = frozenset("whole" if outcome == "broken" else outcome.partition(" ")[0] for outcome in allowed)
        elif fault not in ("ok", "refused", "full") and (method == "POST" or upload is not None):
            # It may be sent on a connection that a fault has doomed, and must not be sent again.
            allowed |= {RESET}
        probe = Probe(next(identities), fault, method, size, framing, upload, random.random() < 0.5)
        oddity = random.random()
        slow_reader = oddity < 0.05 and fault not in SLOW
        yield Errand(
            dataclasses.replace(probe, size=1_000_000) if slow_reader else probe,
            allowed,
            pause=0.1 if slow_reader else 0.0,
            leaves=0.05 <= oddity < 0.1,
            half_closes=0.1 <= oddity < 0.12,
        )


class FaultLoad:
    """*connections* clients at once, each with one connection that it keeps as long as it can."""

    def __init__(self, port: int, connections: int, seed: int) -> None:
        self._port = port
        self._connections = connections
        self._seed = seed
        self._identities = count(0x10000)
        self.outcomes: Counter[str] = Counter()
        self.by_fault: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []
        self.left = 0
        """Requests that the client has left in the middle."""
        self.asked_again = 0
        """Requests on a connection that the proxy had just closed, as it may when it was idle."""

    @property
    def answered(self) -> int:
        """Requests that something came of."""
        return sum(self.outcomes.values())

    async def run(self, seconds: float) -> None:
        """Send load for *seconds*; then every client has had its last answer and is gone."""
        tasks = TaskSupervisor()
        end = time.monotonic() + seconds
        clients = [
            tasks.start(self._client(number, end), name=f"client {number}") for number in range(self._connections)
        ]
        await asyncio.gather(*clients)

    async def _client(self, number: int, end: float) -> None:
        random = Random(f"{self._seed} {number}")
        client: VerifyingClient | None = None
        for errand in errands(random, self._identities):
            if time.monotonic() >= end:
                break
            if client is None:
                client = await VerifyingClient.connect(self._port, receive_buffer=random.choice((0, 0, 0, 4096)))
            if not await self._run(errand, client):
                await client.gone()
                client = None
        if client is not None:
            await client.gone()

    async def _run(self, errand: Errand, client: VerifyingClient) -> bool:
        """Send one request and judge its answer; whether the connection can be used again."""
        probe = errand.probe
        if errand.leaves:
            self.left += 1
            message = probe.head() + probe.body()
            client.writer.write(message[: probe.identity * 997 % (len(message) + 1)])
            await asyncio.sleep(0.001 * (probe.identity % 20))
            client.reset()
            return False
        reused = client.asked > 0
        try:
            client.writer.write(probe.head() + probe.body())
            if errand.half_closes:
                client.writer.write_eof()
            answer = await client.receive(probe, pause=errand.pause)
        except (WrongAnswerError, AssertionError, OSError) as error:
            self.wrong.append(f"{probe}: {type(error).__name__}: {error}")
            return False
        if answer.outcome == "silent" and reused and "silent" not in errand.allowed:
            self.asked_again += 1
            return False
        self._count(errand, answer)
        return answer.reusable and not errand.half_closes

    def _count(self, errand: Errand, answer: Answer) -> None:
        self.outcomes[answer.outcome] += 1
        self.by_fault[errand.probe.fault, answer.outcome] += 1
        if answer.outcome not in errand.allowed:
            self.wrong.append(f"{errand.probe}: {answer.outcome} instead of {sorted(errand.allowed)}")
