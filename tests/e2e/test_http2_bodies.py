"""Bodies over HTTP/2: of any size without being kept, held up by whoever does not read, each without the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket

import pytest

from bench.memory import BURST, MAX_GROWTH, MEBIBYTE, BulkBackend, Progress
from bench.processes import peak_resident, reset_peak, resident
from tests.support import http2_frames as frames
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_frames import INITIAL_WINDOW, MAX_FRAME_SIZE, Frame, Kind, Setting
from tests.support.http2_peer import Http2Peer
from tests.support.ports import free_port

SIZE = 100 * MEBIBYTE
UNDER_WAY = 12 * MEBIBYTE
"""What the kernel's buffers may hold of a body between a sender and a reader, by far."""
BLOCK = b"".join(b"%07x." % number for number in range(8192))
TWICE = BLOCK + BLOCK


class BulkPeer(Http2Peer):
    """A client whose streams take nothing before they are told to, and that keeps nothing of the pattern."""

    def __init__(self, sock: socket) -> None:
        super().__init__(sock)
        self.renews = False
        self.taken: dict[int, int] = {}
        """Bytes of the pattern that have come, by stream."""
        self.room: dict[int, int] = {0: INITIAL_WINDOW}
        """Bytes that may be sent, by stream; 0 is the connection."""

    def begin(self, stream: int, path: str, method: str = "GET") -> None:
        self.room[stream] = self.settings.get(Setting.INITIAL_WINDOW_SIZE, INITIAL_WINDOW)
        self.request(stream, method=method, path=path, end=method == "GET")

    def take(self, stream: int, size: int) -> None:
        """Let *size* bytes more of the pattern come, and read them."""
        aim = self.taken.setdefault(stream, 0) + size
        self.send(frames.window_update(0, size), frames.window_update(stream, size))
        self.await_that(lambda: self.taken[stream] >= aim, f"{size} bytes")

    def upload(self, stream: int, progress: Progress) -> None:
        """Send the pattern as the windows allow."""
        while progress.sent < SIZE:
            self.await_that(lambda: min(self.room[0], self.room[stream]) > 0, "a window")
            at = progress.sent % len(BLOCK)
            part = min(SIZE - progress.sent, MAX_FRAME_SIZE, self.room[0], self.room[stream])
            self.send(frames.data(stream, TWICE[at : at + part], end=progress.sent + part == SIZE))
            self.room[0] -= part
            self.room[stream] -= part
            progress.sent += part

    def small(self, stream: int) -> None:
        """A request with a small answer, which has to come whatever becomes of the others."""
        self.request(stream, path="/idle")
        self.send(frames.window_update(0, 10), frames.window_update(stream, 10))
        message = self.await_message(stream)
        assert (message.status, message.content) == (200, b"ok")

    def _take(self, found: Frame) -> None:
        if found.kind == Kind.WINDOW_UPDATE:
            self.received.pop()  # there are many
            self.room[found.stream] = self.room.get(found.stream, 0) + int.from_bytes(found.payload, "big")
        elif found.kind == Kind.DATA and found.stream in self.taken:
            self.received.pop()
            at = self.taken[found.stream] % len(BLOCK)
            piece = found.payload
            assert piece == TWICE[at : at + len(piece)], f"another byte at {self.taken[found.stream]}"
            self.taken[found.stream] += len(piece)
            self.message(found.stream).ended |= found.ends_stream
        else:
            super()._take(found)


@contextmanager
def connected(port: int) -> Iterator[BulkPeer]:
    with BulkPeer.connect(port) as peer:
        peer.start({Setting.INITIAL_WINDOW_SIZE: 0})
        yield peer


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, BulkBackend, int]]:
    """The port of a Vrata with one worker, the backend, and the worker's id."""
    backend, port = BulkBackend(SIZE), free_port()
    try:
        with Gateway(tmp_path_factory.mktemp("bodies"), proxy={"workers": 1}, log={"level": "warn"}) as gateway:
            unlimited = {"request": "0s", "responseHeader": "0s"}
            gateway.configure(
                listeners=[listener(port, http2=True, timeouts={"clientRequest": "0s", "clientResponse": "0s"})],
                destinations=[destination("bulk", backend.port, timeouts=unlimited)],
                routes=[route("all", forward=forward("bulk"))],
            )
            (worker,) = gateway.workers()
            with connected(port) as client:
                for stream in range(1, 200, 2):
                    client.small(stream)  # what the first requests of a worker load is no growth
            yield port, backend, worker
    finally:
        backend.close()


@contextmanager
def growing_at_most(worker: int, mebibytes: float) -> Iterator[None]:
    reset_peak(worker)
    before = resident(worker)
    yield
    assert peak_resident(worker) - before < mebibytes


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_download_waits_for_its_client(serving: tuple[int, BulkBackend, int], framing: str) -> None:
    port, backend, worker = serving
    backend.progress = Progress()
    with growing_at_most(worker, MAX_GROWTH), connected(port) as client:
        client.begin(1, f"/{framing}/body")
        taken = 0
        for small in range(3, 13, 2):
            backend.progress.until_stalled()
            assert taken <= backend.progress.sent < min(taken + UNDER_WAY, SIZE)
            client.small(small)
            for _ in range(20):
                client.take(1, MEBIBYTE)
            taken += 20 * MEBIBYTE
        assert taken == SIZE
        assert client.await_message(1).reset is None


def test_an_upload_waits_for_its_backend(serving: tuple[int, BulkBackend, int]) -> None:
    port, backend, worker = serving
    backend.progress = progress = Progress()
    with growing_at_most(worker, MAX_GROWTH), connected(port) as client, connected(port) as other:
        client.begin(1, "/body", "POST")
        sender = threading.Thread(target=client.upload, args=(1, progress))
        sender.start()
        stream = 1
        while sender.is_alive():
            other.small(stream)
            stream += 2
        client.send(frames.window_update(1, 100))
        assert client.await_message(1).content == b"%d" % SIZE
    assert backend.pauses >= SIZE // BURST - 1, "the backend was to be slow"


def test_an_upload_that_nobody_reads_holds_no_other_stream_up(serving: tuple[int, BulkBackend, int]) -> None:
    port, backend, worker = serving
    backend.progress = progress = Progress()
    with growing_at_most(worker, MAX_GROWTH), connected(port) as client:
        client.begin(1, "/body", "POST")
        for small in range(3, 203, 2):
            part = min(MAX_FRAME_SIZE, client.room[0], client.room[1])
            if part:
                client.send(frames.data(1, TWICE[:part]))
                client.room[0] -= part
                client.room[1] -= part
                progress.sent += part
            client.small(small)


def test_streams_that_nobody_reads_keep_a_bounded_amount(serving: tuple[int, BulkBackend, int]) -> None:
    port, backend, worker = serving
    backend.progress = Progress()
    streams = range(1, 201, 2)
    # 64 KiB for each of them, and what was read at once.
    with growing_at_most(worker, len(streams) * (0.0625 + 0.25) + MAX_GROWTH / 2), connected(port) as client:
        for stream in streams:
            client.begin(stream, "/length/body")
        for stream in streams:
            assert client.await_head(stream).status == 200
        backend.progress.until_stalled()
        for small in range(201, 301, 2):
            client.small(small)
