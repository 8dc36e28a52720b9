"""Every fault of a backend, and exactly what the client sees of it; whatever it was, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from itertools import count
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.fault_load import BREAKS_OFF, REFUSED, RESET, TIMEOUT
from tests.support.faults import CHUNKS, FAULTS, FRAMINGS, INFORMATIONAL, STATUS_LINES
from tests.support.faulty_backend import DeadPorts, FaultyBackend
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.verifying_client import Answer, Probe, VerifyingClient, WrongAnswerError

PATIENT = {"connect": "10s", "responseHeader": "10s", "request": "20s", "expectContinue": "10s"}
"""For what ends by itself, however late a backend on a busy machine is."""
HASTY = {**PATIENT, "responseHeader": "150ms", "request": "300ms", "idleConnection": "100ms"}
"""For what has no head. A connection that came about too late for its request is not kept for long."""
ENDING = {**PATIENT, "request": "1s"}
"""For what has a head and then no end."""
LARGE = 1 << 20
FRAMED = ("length", "chunked")

NO_ANSWER = {
    **{f"{how}{point}": RESET for how in ("reset", "close") for point in ("", "-at-head", "-mid-head")},
    **{f"stall{point}": TIMEOUT for point in ("", "-at-head", "-mid-head")},
    "garbage": RESET,
    "endless-head": RESET,
    "informational-only": TIMEOUT,
}
"""Faults before there is a head."""
BROKEN = tuple(f"{how}-{point}" for how in ("reset", "close", "stall") for point in ("after-head", "mid-body"))
"""Faults within a body."""
HARMLESS = ("ok", "garbage-after", "second-response", "late-garbage", "doom-close", "doom-reset", "close-after")
"""Faults that do not touch the answer, but end the connection that it came on."""

identities = count(1)


def probe(fault: str, **fields: Any) -> Probe:
    return Probe(next(identities), fault, **fields)


async def forward_all(proxy: InProcessProxy, port: int, limits: dict[str, str]) -> None:
    await proxy.apply(
        route("all", forward=forward("backend")),
        destinations=[destination("backend", port, timeouts=limits)],
    )


async def asked(proxy: InProcessProxy, found: Probe) -> Answer:
    """Ask on a connection of its own."""
    client = await VerifyingClient.connect(proxy.port)
    try:
        return await client.ask(found)
    finally:
        await client.gone()


async def nothing_is_left(proxy: InProcessProxy, backend: FaultyBackend, *, idle: int = 0) -> None:
    """Only *idle* connections to the backend are open, and only they are watched."""

    def left() -> tuple[int, int, int, int]:
        status = proxy.data_plane.status()
        return status.connections, status.in_flight, proxy.watched, backend.open

    with contextlib.suppress(AssertionError):
        await eventually_async(lambda: left() == (0, 0, idle, idle), what="nothing is left")
    assert left() == (0, 0, idle, idle), "connections, requests, watches, connections of the backend"
    (pool,) = proxy.data_plane._registry._pools.values()
    assert pool.connections == idle
    assert not backend.tally.strange


@pytest.mark.parametrize("fault", NO_ANSWER)
@on_each_loop
async def test_no_answer(proxy: InProcessProxy, fault: str) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, HASTY if NO_ANSWER[fault] == TIMEOUT else PATIENT)
        probes = [probe(fault), probe(fault, method="POST", upload=1000), probe(fault, method="HEAD")]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        status = NO_ANSWER[fault].partition(" ")[0]
        assert [answer.outcome for answer in answers] == [NO_ANSWER[fault], NO_ANSWER[fault], status]
        await nothing_is_left(proxy, backend)


@pytest.mark.parametrize("fault", BROKEN)
@on_each_loop
async def test_an_answer_that_breaks_off(proxy: InProcessProxy, fault: str) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, ENDING if fault.startswith("stall") else PATIENT)
        probes = [probe(fault, framing=framing, size=size) for framing in FRAMED for size in (100, 100_000)]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        assert {answer.outcome for answer in answers} <= BREAKS_OFF
        await nothing_is_left(proxy, backend)


@on_each_loop
async def test_an_answer_without_framing_breaks_off(proxy: InProcessProxy) -> None:
    """A reset is no end; a close is one, and nobody could tell that the backend meant to say more."""
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        answer = await asked(proxy, probe("reset-mid-body", framing="close", size=100_000))
        assert answer.outcome in BREAKS_OFF
        with pytest.raises(WrongAnswerError, match="bytes of content, and not the 100000"):
            await asked(proxy, probe("close-mid-body", framing="close", size=100_000))
        await nothing_is_left(proxy, backend)


@pytest.mark.parametrize("how", ["reset", "close", "stall"])
@on_each_loop
async def test_an_answer_that_breaks_off_while_the_client_sends(proxy: InProcessProxy, how: str) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, ENDING if how == "stall" else PATIENT)
        probes = [
            probe(
                f"{how}-mid-upload", method="POST", framing=framing, size=20_000, upload=LARGE, upload_chunked=chunked
            )
            for framing in FRAMED
            for chunked in (False, True)
        ]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        # A reset may overtake what was sent before it: then it comes before any head.
        assert {answer.outcome for answer in answers} <= (BREAKS_OFF if how == "stall" else BREAKS_OFF | {RESET})
        await nothing_is_left(proxy, backend)


@pytest.mark.parametrize(
    ("fault", "choices"), [("status-line", len(STATUS_LINES)), ("framing", len(FRAMINGS)), ("bad-chunk", len(CHUNKS))]
)
@on_each_loop
async def test_nonsense(proxy: InProcessProxy, fault: str, choices: int) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        probes = [probe(fault, framing="chunked") for _ in range(choices)]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        expected = BREAKS_OFF if fault == "bad-chunk" else {RESET}
        found = {found: answer.outcome for found, answer in zip(probes, answers, strict=True)}
        assert not {found for found, outcome in found.items() if outcome not in expected}
        await nothing_is_left(proxy, backend)


@pytest.mark.parametrize("fault", HARMLESS)
@on_each_loop
async def test_a_fault_that_is_not_the_answers(proxy: InProcessProxy, fault: str) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, {**PATIENT, "idleConnection": "100ms"})
        client = await VerifyingClient.connect(proxy.port)
        for framing in FRAMED:
            for found in (probe(fault, framing=framing), probe(fault, framing=framing, method="HEAD")):
                assert await client.ask(found) == Answer("whole", reusable=True)
                if fault == "late-garbage":  # what comes with the next request cannot be told from its answer
                    await eventually_async(lambda: backend.open == 0, what="the connection is given up")
                assert await client.ask(probe("ok")) == Answer("whole", reusable=True)
        await client.gone()
        await nothing_is_left(proxy, backend)


@pytest.mark.parametrize("fault", ["doom-close", "doom-reset"])
@on_each_loop
async def test_a_pooled_connection_that_ends_under_a_request(proxy: InProcessProxy, fault: str) -> None:
    """What may be sent twice is sent once more, on a new connection; anything else is an error."""
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        for found, expected in (
            (probe("ok"), "whole"),
            (probe("ok", method="HEAD"), "whole"),
            (probe("ok", method="PUT"), "whole"),
            (probe("ok", method="PUT", upload=LARGE), RESET),
            (probe("ok", method="POST"), RESET),
            (probe("ok", method="POST", upload=LARGE), RESET),
            (probe("ok", method="POST", upload=LARGE, upload_chunked=True), RESET),
        ):
            assert (await asked(proxy, probe(fault))).outcome == "whole"
            await eventually_async(lambda: proxy.watched == 1, what="the connection is in the pool")
            assert (await asked(proxy, found)).outcome == expected, found
        await eventually_async(lambda: proxy.watched == backend.open, what="what is left is in the pool")


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@on_each_loop
async def test_a_trickle(proxy: InProcessProxy, framing: str) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        whole, cut = await asyncio.gather(
            asked(proxy, probe("trickle", framing=framing, size=20)),
            asked(proxy, probe("trickle-cut", framing="length" if framing == "close" else framing, size=20)),
        )
        assert whole.outcome == "whole"
        assert cut.outcome in BREAKS_OFF
        await nothing_is_left(proxy, backend, idle=0 if framing == "close" else 1)


@on_each_loop
async def test_a_flood_of_interim_responses(proxy: InProcessProxy) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        # Every other one is a 100, which this client has not asked for.
        assert await asked(proxy, probe("informational")) == Answer("whole", True, informational=INFORMATIONAL // 2)
        found = probe("informational", method="POST", upload=10, fields=("Expect: 100-continue",))
        assert await asked(proxy, found) == Answer("whole", True, informational=INFORMATIONAL)
        await nothing_is_left(proxy, backend, idle=1)


@pytest.mark.parametrize("fault", ["early", "early-close", "early-unread"])
@pytest.mark.parametrize("chunked", [False, True])
@on_each_loop
async def test_an_answer_before_the_request_was_read(proxy: InProcessProxy, fault: str, chunked: bool) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, {**PATIENT, "idleConnection": "100ms"})
        found = probe(fault, method="POST", upload=8 * LARGE, upload_chunked=chunked)
        client = await VerifyingClient.connect(proxy.port)
        client.writer.write(found.head() + found.body())
        # The label says that the backend had seen nothing of the body.
        answer = await client.receive(dataclasses.replace(found, upload=0))
        assert answer.outcome == "whole"
        assert not (fault == "early-unread" and answer.reusable)  # the others may be read faster than they answer
        await client.gone()
        await nothing_is_left(proxy, backend)


@on_each_loop
async def test_a_backend_that_reads_no_body(proxy: InProcessProxy) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, HASTY)
        probes = [probe("unread", method="POST", upload=8 * LARGE, upload_chunked=chunked) for chunked in (False, True)]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        assert [answer.outcome for answer in answers] == [TIMEOUT] * 2
        await nothing_is_left(proxy, backend)


@on_each_loop
async def test_a_backend_that_reads_slowly(proxy: InProcessProxy) -> None:
    with FaultyBackend() as backend:
        await forward_all(proxy, backend.port, PATIENT)
        probes = [probe("slow-read", method="POST", upload=LARGE, upload_chunked=chunked) for chunked in (False, True)]
        answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
        assert [answer.outcome for answer in answers] == ["whole"] * 2
        await nothing_is_left(proxy, backend, idle=2)


@on_each_loop
async def test_no_connection(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead, FaultyBackend() as backend:
        for port, expected in ((dead.refused, REFUSED), (dead.full, TIMEOUT)):
            await forward_all(proxy, port, {**PATIENT, "connect": "150ms"})
            probes = [probe("ok"), probe("ok", method="POST", upload=LARGE)]
            answers = await asyncio.gather(*(asked(proxy, found) for found in probes))
            assert [answer.outcome for answer in answers] == [expected] * 2
            await nothing_is_left(proxy, backend)


def test_no_fault_is_forgotten() -> None:
    seen = {*NO_ANSWER, *BROKEN, *HARMLESS, "status-line", "framing", "bad-chunk", "trickle", "trickle-cut"}
    seen |= {"informational", "early", "early-close", "early-unread", "unread", "slow-read"}
    seen |= {f"{how}-mid-upload" for how in ("reset", "close", "stall")}
    assert set(FAULTS) == seen
