from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import Resolver
from vrata.observability.tasks import TaskSupervisor


@contextmanager
def listening(address: str, family: int = socket.AF_INET, backlog: int = 16) -> Iterator[int]:
    with socket.socket(family) as sock:
        sock.bind((address, 0))
        sock.listen(backlog)
        yield sock.getsockname()[1]


class Hanging(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def connect(host: str, port: int, *, connect_timeout: float = 5, fallback_delay: float = 0.05) -> str:
    async def scenario() -> str:
        protocol = await dial(
            host,
            port,
            Hanging,
            resolver=Resolver(TaskSupervisor()),
            connect_timeout=connect_timeout,
            fallback_delay=fallback_delay,
        )
        protocol.transport.close()
        await asyncio.sleep(0)  # the transport closes its socket on the next turn
        return "connected"

    return asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_connects_to_literals_and_names(host: str) -> None:
    with listening("127.0.0.1") as port:
        assert connect(host, port) == "connected"


def test_connects_over_ipv6() -> None:
    with listening("::1", socket.AF_INET6) as port:
        assert connect("::1", port) == "connected"


def test_a_refused_connection_names_its_stage() -> None:
    with listening("127.0.0.1") as port:
        pass
    with pytest.raises(DialError) as failed:
        connect("127.0.0.1", port)
    assert failed.value.stage is DialStage.CONNECT


@pytest.mark.parametrize("host", ["name.invalid", "bad..name", "x" * 300])
def test_a_name_that_does_not_resolve_names_its_stage(host: str) -> None:
    with pytest.raises(DialError) as failed:
        connect(host, 80)
    assert failed.value.stage is DialStage.RESOLVE


def test_a_connection_that_is_never_accepted_times_out() -> None:
    # A full accept queue makes Linux drop further SYNs, which is what an unreachable host looks like.
    with listening("127.0.0.1", backlog=0) as port:
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            with pytest.raises(DialError) as failed:
                connect("127.0.0.1", port, connect_timeout=0.3)
            assert failed.value.stage is DialStage.TIMEOUT
        finally:
            for filler in fillers:
                filler.close()
