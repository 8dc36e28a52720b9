from __future__ import annotations

import socket

import pytest

from vrata.config import Address
from vrata.net.listening import ListenError, listen


def close(sockets: list[socket.socket]) -> None:
    for open_socket in sockets:
        open_socket.close()


def test_an_empty_host_means_every_address() -> None:
    (listening,) = listen(Address("", 0))
    port = listening.getsockname()[1]
    socket.create_connection(("127.0.0.1", port)).close()
    close([listening])


def test_a_host_name_means_all_its_addresses() -> None:
    sockets = listen(Address("localhost", 0))
    assert sockets
    for listening in sockets:
        socket.create_connection(listening.getsockname()[:2]).close()
    close(sockets)


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as refused:
            listen(Address("127.0.0.1", port))
        assert str(refused.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"
        with pytest.raises(ListenError):
            listen(Address("", port))


def test_a_foreign_address_is_refused() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:8080: Cannot assign requested address"):
        listen(Address("192.0.2.1", 8080))
