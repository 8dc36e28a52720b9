"""An HTTP/1 backend behind a listener with HTTP/2, for each engine, and clients of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.http2.case import Client
from tests.conformance.http2.held import Held
from tests.conformance.http2.misdeeds import Gateway
from tests.conformance.http2.server import SERVERS, Server, made
from tests.support.http2_engines import running
from tests.support.http2_peer import Http2Peer
from tests.support.recording_backend import RecordingBackend
from tests.support.session_engines import ENGINES
from tests.support.threaded_proxy import ThreadedProxy


@dataclass(frozen=True)
class Bystander:
    """A client that has done nothing wrong, and whose connection lasts as long as the server."""

    peer: Http2Peer

    def check(self) -> None:
        """It is served as if it were alone."""
        stream = max(self.peer.messages, default=-1) + 2
        message = self.peer.exchange(stream)
        assert message.status == 200, message


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What is tested."""
    directory: Path = tmp_path_factory.mktemp("server")
    over = threading.Event()
    with (
        RecordingBackend() as backend,
        RecordingBackend("unread", lambda exchange: _wait(over), reads_bodies=False) as unread,
        made(request.param, directory, backend, unread) as found,
    ):
        yield found
        over.set()


def _wait(over: threading.Event) -> None:
    over.wait(600)


@pytest.fixture(scope="session")
def bystander(server: Server) -> Iterator[Bystander]:
    with Http2Peer.connect(server.port) as peer:
        peer.start()
        yield Bystander(peer)


@pytest.fixture
def backend(server: Server, bystander: Bystander) -> Iterator[RecordingBackend]:
    """With nothing recorded yet; afterwards a bystander is served, and nothing was logged as an error."""
    server.backend.forget()
    yield server.backend
    server.backend.forget()
    bystander.check()
    assert not server.complaints()


@pytest.fixture
def held(backend: RecordingBackend) -> Iterator[Held]:
    """The backend answers only when it is told to."""
    found = Held(backend)
    yield found
    found.release()


@pytest.fixture
def silent_client(server: Server, backend: RecordingBackend) -> Iterator[Client]:
    """A client that has sent nothing yet."""
    with Client.connect(server.port) as found:
        found.backend = backend
        yield found


@pytest.fixture
def client(silent_client: Client) -> Client:
    """A client whose connection has begun."""
    silent_client.start()
    return silent_client


@pytest.fixture(scope="module", params=ENGINES)
def threaded(request: pytest.FixtureRequest) -> Iterator[ThreadedProxy]:
    with running(request.param), ThreadedProxy() as found:
        yield found


@pytest.fixture
def gateway(threaded: ThreadedProxy) -> Iterator[Gateway]:
    yield Gateway(threaded)
    assert not threaded.complaints()
