"""Real processes for the black-box tests: one Vrata for the session, backends, an nginx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import tls_upstream
from tests.support.gateway import Document, Gateway
from tests.support.grpc_client import Client, channel, configure, http2_destination
from tests.support.interop_service import InteropServer
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend

SEEN_OF_A_BODY = 4096
"""Bytes that expressions see of a body, in the Vrata that all tests share."""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A Vrata with two workers that all tests share; each configures what it needs.

    When the session ends it must stop in order, and must not have failed inside.
    """
    proxy = {"celBodyMaxSize": SEEN_OF_A_BODY, "admin": {"address": f"127.0.0.1:{free_port()}"}}
    sections: dict[str, Document] = {"log": {"format": "json"}, "proxy": proxy}
    with Gateway(tmp_path_factory.mktemp("gateway"), **sections) as running:
        yield running
        assert running.process.terminate(40) == 0
        log = running.process.text()
        assert "Traceback" not in log, log
        assert "background task failed" not in log, log


@pytest.fixture(scope="session")
def port() -> int:
    """The port of the listener that most tests use."""
    return free_port()


@pytest.fixture
def backend() -> Iterator[RecordingBackend]:
    with RecordingBackend() as running:
        yield running


@pytest.fixture
def other() -> Iterator[RecordingBackend]:
    """A second backend."""
    with RecordingBackend("other") as running:
        yield running


@pytest.fixture(scope="session")
def interop_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, InteropServer]]:
    """The service of the interop cases of gRPC without TLS, and with it."""
    directory = tmp_path_factory.mktemp("interop")
    with InteropServer(directory) as plain, InteropServer(directory, tls_upstream.certificate()) as secured:
        yield {False: plain, True: secured}


@pytest.fixture
def grpc_client(gateway: Gateway, port: int, interop_servers: dict[bool, InteropServer]) -> Iterator[Client]:
    """A client of gRPC without TLS on the way; its test may configure the gateway otherwise."""
    configure(gateway, port, http2_destination(interop_servers[False].port))
    with channel(port) as opened:
        yield Client(opened, interop_servers[False])
