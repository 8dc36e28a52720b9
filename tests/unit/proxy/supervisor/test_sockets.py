"""Listening sockets: bound for every slot, or reported."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from tests.support.ports import free_port
from vrata.proxy.supervisor.sockets import ListeningSockets

HAS_IPV6 = socket.has_ipv6


def run(scenario: Callable[[ListeningSockets], Awaitable[None]], slots: int = 3) -> list[str]:
    async def main() -> None:
        sockets = ListeningSockets(slots)
        try:
            await scenario(sockets)
        finally:
            sockets.close_except(())

    with capture_logs() as logs:
        asyncio.run(main())
    return [entry["event"] for entry in logs if entry["log_level"] == "error"]


def connects(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


def test_one_socket_for_every_slot_listens_and_does_not_block() -> None:
    port = free_port()

    async def scenario(sockets: ListeningSockets) -> None:
        assert await sockets.open([f"127.0.0.1:{port}"])
        (bound,) = sockets.bound
        assert len(bound.sockets) == 3
        for sock in bound.sockets:
            assert sock.getsockname() == ("127.0.0.1", port)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            assert not sock.getblocking()
            assert not sock.get_inheritable()
        assert not await sockets.open([f"127.0.0.1:{port}"])
        assert list(sockets.bound) == [bound]
        sockets.close_except(())
        assert not connects(port)

    assert run(scenario) == []


def test_a_port_of_somebody_else_is_noticed_even_if_it_could_be_shared() -> None:
    async def scenario(sockets: ListeningSockets) -> None:
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as foreign:
            taken, free = foreign.getsockname()[1], free_port()
            addresses = [f"127.0.0.1:{taken}", f"127.0.0.1:{free}"]
            assert await sockets.open(addresses)
            assert sockets.failures == {addresses[0]: "Address already in use"}
            assert [bound.address for bound in sockets.bound] == addresses[1:]
            assert not await sockets.open(addresses)
        assert await sockets.open(addresses)
        assert sockets.failures == {}

    # The same reason is not reported again.
    assert run(scenario) == ["cannot listen"]


def test_a_failure_is_forgotten_with_its_address() -> None:
    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open(["192.0.2.1:3000"])
        assert sockets.failures == {"192.0.2.1:3000": "Cannot assign requested address"}
        sockets.close_except(())
        assert sockets.failures == {}

    run(scenario)


def test_connections_in_time_wait_do_not_keep_the_port() -> None:
    port = free_port()

    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open([f"127.0.0.1:{port}"])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(5)
            (bound,) = sockets.bound
            await asyncio.sleep(0)
            for sock in bound.sockets:
                try:
                    accepted, _ = sock.accept()
                except BlockingIOError:
                    continue
                accepted.close()  # first: so TIME_WAIT is on this side
            assert client.recv(1) == b""
        sockets.close_except(())
        await sockets.open([f"127.0.0.1:{port}"])
        assert sockets.failures == {}

    run(scenario)


def test_a_port_can_move_from_one_of_our_addresses_to_another() -> None:
    port = free_port()

    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open([f"127.0.0.1:{port}"])
        await sockets.open([f"0.0.0.0:{port}"])
        assert sockets.failures == {}
        sockets.close_except([f"0.0.0.0:{port}"])
        assert connects(port)

    run(scenario)


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6")
def test_ipv6_addresses() -> None:
    port = free_port("::1")

    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open([f"[::1]:{port}"])
        assert sockets.failures == {}
        assert connects(port, "::1")
        assert not connects(port)

    run(scenario)


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6")
def test_the_unspecified_ipv6_address_takes_ipv4_too() -> None:
    port = free_port("::1")

    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open([f"[::]:{port}"])
        assert sockets.failures == {}
        assert connects(port, "::1")
        assert connects(port)

    run(scenario)


def test_a_host_name_prefers_ipv4() -> None:
    port = free_port()

    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open([f"localhost:{port}"])
        assert sockets.failures == {}
        assert connects(port)

    run(scenario)


def test_a_host_name_that_does_not_resolve_is_a_failure() -> None:
    async def scenario(sockets: ListeningSockets) -> None:
        await sockets.open(["does-not-exist.invalid:3000"])
        (reason,) = sockets.failures.values()
        assert "name" in reason.lower()

    run(scenario)
