"""What a tap makes of packets, and what counts as an attempt."""

from __future__ import annotations

import asyncio
import socket

import pytest

from bench.faults.tap import Sight, Tap, attempts
from tests.support.conditions import eventually_async


def test_a_connection_counts_by_its_requests_or_once_without_any() -> None:
    sights = [
        Sight(1.0, 5001, "connect"),
        Sight(1.1, 5001, "request"),
        Sight(1.2, 5001, "request"),
        Sight(2.0, 5002, "connect"),
        Sight(3.0, 5003, "connect"),
        Sight(3.1, 5003, "probe"),
    ]
    assert sorted(attempts(sights)) == [1.1, 1.2, 2.0]


def test_a_tap_sees_connections_requests_and_probes_once_each() -> None:
    async def watch() -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as listening, Tap(listening.getsockname()[1]) as tap:
            with socket.create_connection(listening.getsockname()) as client:
                source = client.getsockname()[1]

                def kinds() -> list[str]:
                    # On another address of loopback the port may be that of somebody else's connection.
                    return [sight.kind for sight in tap.sights if sight.source == source]

                client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
                await eventually_async(lambda: len(kinds()) >= 2, what="the first request is seen")
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                await eventually_async(lambda: len(kinds()) >= 3, what="the second request is seen")
            return kinds()

    try:
        seen = asyncio.run(watch())
    except PermissionError:
        pytest.skip("needs CAP_NET_RAW")
    assert seen == ["connect", "probe", "request"]
