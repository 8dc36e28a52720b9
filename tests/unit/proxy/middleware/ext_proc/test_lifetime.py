"""Transactions hold bodies, and so none of them is left to the garbage collector, which workers run hardly ever."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import (
    DIE,
    PROCESSORS,
    Do,
    EnvoyProcessor,
    Processor,
    Reject,
    Reply,
    Script,
    VrataProcessor,
)
from tests.support.recording_backend import RecordingBackend
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

BOTH = {"requestBody": "buffered", "responseBody": "streamed"}


def of_transactions() -> list[str]:
    """What there is of them, by the names of classes."""
    names = (type(each).__name__ for each in gc.get_objects())
    parts = (
        "Transaction",
        "Observation",
        "_RequestFlow",
        "_ResponseFlow",
        "GrpcChannel",
        "HttpChannel",
    )
    return [name for name in names if name in parts]


def at(phase: str, reply: Reply) -> Script:
    return lambda seen: reply if seen.phase == phase else Do()


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize(
    ("script", "settings"),
    [
        (at("", Do()), {}),
        (at("", Do()), {"observeMode": {"enabled": True}}),
        (at("requestBody", Reject(403)), {}),
        (at("responseHeaders", Reject(403)), {}),
        (at("responseHeaders", Do(body=b"other", last=True)), {}),
        (at("requestBody", DIE), {"allowOnError": True}),
        (at("responseBody", DIE), {}),
    ],
)
def test_that_none_is_left(kind: type[Processor], script: Script, settings: dict[str, Any]) -> None:
    @on_our_loop
    async def scenario(proxy: InProcessProxy) -> None:
        with RecordingBackend() as backend, kind(script) as found:
            await process(proxy, found, backend.port, phases=BOTH, **settings)
            for _ in range(3):
                client = await proxy.connect()
                with suppress(ConnectionError, EOFError):  # where the response is cut
                    await client.exchange("POST /", body=b"12345")
                client.close()
            await eventually_async(
                lambda: not of_transactions(), timeout=5, what="all that was of transactions is gone"
            )

    gc.collect()
    gc.disable()
    try:
        scenario()
    finally:
        gc.enable()


async def half(connection: StagedConnection) -> None:
    await connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    await connection.gone()


@pytest.mark.parametrize("kind", [VrataProcessor, EnvoyProcessor])
@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize(
    "phases",
    [
        {},
        {"responseHeaders": "skip"},
        {"requestBody": "streamed"},
        {"requestHeaders": "skip", "responseBody": "bufferedPartial", "maxBodyBytes": 1},
    ],
)
@on_our_loop
async def test_that_a_stream_ends_when_nothing_will_be_shown(
    proxy: InProcessProxy, kind: type[Processor], observed: bool, phases: dict[str, Any]
) -> None:
    async with StagedBackend(half) as backend:
        with kind() as found:
            await process(proxy, found, backend.port, phases=phases, observeMode={"enabled": observed})
            client = await proxy.connect()
            client.send(request("POST /", "Content-Length: 5") + b"12345")
            await client.read_head()
            await eventually_async(lambda: found.ended == 1, timeout=5, what="the stream has ended")
            assert found.cancelled == 0
            assert proxy.data_plane.status().in_flight == 1


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("phases", [{}, {"requestHeaders": "skip"}])
@on_our_loop
async def test_that_a_transaction_outlives_its_configuration(
    proxy: InProcessProxy, kind: type[Processor], phases: dict[str, Any]
) -> None:
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def wait(connection: StagedConnection) -> None:
        await connection.read_request()
        asked.set()
        await let_go.wait()
        connection.respond(b"ok")

    async with StagedBackend(wait) as backend:
        with kind(at("responseHeaders", Do({"x-seen": "yes"}))) as found:
            await process(proxy, found, backend.port, phases=phases)
            client = await proxy.connect()
            client.send(request("GET /"))
            await asked.wait()
            await proxy.apply()
            let_go.set()
            response = await client.read_response()
            assert (response.status, response["x-seen"]) == (200, "yes")
