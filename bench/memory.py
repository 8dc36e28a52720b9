"""Memory of a worker: bodies of a gibibyte past slow readers, and ten thousand idle connections.

    python -m bench.memory [--mebibytes 1024] [--connections 10000]

One worker, everything on the loopback address. The reader of a body takes some of it, then nothing until the sender has
come to a stop, and so on; every byte is checked. Prints how much the worker's resident memory grew at its peak, and
what an idle connection that has had one request takes of it. Exit code 0 when both stay under their limits, else 1.
"""

from __future__ import annotations

import argparse
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import peak_resident, reset_peak, resident
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port

MEBIBYTE = 1 << 20
MAX_GROWTH = 32.0
"""MiB by which a body of any size may let a worker grow."""
MAX_PER_CONNECTION = 10.0
"""KiB of an idle connection."""
BURST = 32 * MEBIBYTE
"""Bytes that a slow reader takes before it pauses."""
STALLED = 0.02
"""Seconds without progress after which a sender counts as stopped."""
SOCKET_BUFFER = 65536
PORTS_PER_ADDRESS = 20_000
"""Connections from one of the client's addresses; the kernel has some 28,000 ports for each."""

_BLOCK = b"".join(b"%07x." % number for number in range(8192))
_TWICE = memoryview(_BLOCK + _BLOCK)


@dataclass(slots=True)
class Progress:
    """How far the sender of a body has got."""

    sent: int = 0
    failed: str = ""

    def until_stalled(self) -> None:
        """Wait until nothing more is sent, because nobody reads."""
        seen = -1
        while seen != self.sent:
            seen = self.sent
            time.sleep(STALLED)


def send_body(sock: socket.socket, size: int, framing: str, progress: Progress) -> None:
    """Send *size* bytes of the pattern."""
    while progress.sent < size:
        piece = _BLOCK[: size - progress.sent]
        sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
        progress.sent += len(piece)
    if framing == "chunked":
        sock.sendall(b"0\r\n\r\n")


class BodyReader:
    """Reads the pattern from a socket, in bursts; *buffered* is what was read of it with the head."""

    def __init__(self, sock: socket.socket, buffered: bytes, progress: Progress) -> None:
        self._sock = sock
        self._data = memoryview(buffered)
        self._progress = progress
        self._burst = BURST
        self.received = 0
        self.pauses = 0

    def read(self, size: int | None) -> None:
        """Read a body of *size* bytes, or one in chunks."""
        if size is not None:
            self._take(size)
            return
        while length := int(self._line(), 16):
            self._take(length)
            assert self._line() == b""
        assert self._line() == b""

    def _take(self, size: int) -> None:
        while size:
            if not self._data:
                self._fill()
            part = self._data[:size]
            at = self.received % len(_BLOCK)
            for start in range(0, len(part), len(_BLOCK)):
                piece = part[start : start + len(_BLOCK)]
                assert piece == _TWICE[at : at + len(piece)], f"another byte at {self.received}"
            self.received += len(part)
            self._data = self._data[len(part) :]
            size -= len(part)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            if not self._data:
                self._fill()
            end = bytes(self._data[:20]).find(b"\n") + 1
            line += bytes(self._data[: end or 20])
            self._data = self._data[end or 20 :]
        return line[:-2]

    def _fill(self) -> None:
        if self.received > self._burst:
            self._burst += BURST
            self.pauses += 1
            self._progress.until_stalled()
        data = self._sock.recv(1 << 18)
        assert data, f"the body ends after {self.received} bytes"
        self._data = memoryview(data)


def read_head(sock: socket.socket) -> tuple[str, int | None, bytes]:
    """First line, the body's length (None when it is in chunks), and what was read behind the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        assert more, f"the head breaks off: {data!r}"
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(text.split(": ", 1) for text in lines)
    size = None if "transfer-encoding" in fields else int(fields.get("content-length", "0"))
    return line, size, rest


class BulkBackend:
    """Answers ``GET /<framing>/<size>`` with as much of the pattern, and reads what is sent; a context manager."""

    def __init__(self, size: int) -> None:
        self.progress = Progress()
        """Of whoever sends the present body."""
        self.pauses = 0
        self._size = size
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while True:
                    self._exchange(sock)
            except (OSError, AssertionError) as error:
                self.progress.failed = str(error)

    def _exchange(self, sock: socket.socket) -> None:
        line, size, rest = read_head(sock)
        if line.startswith("get /idle"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        elif line.startswith("get"):
            framing = line.split("/")[1]
            fields = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {self._size}"
            sock.sendall(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode())
            send_body(sock, self._size, framing, self.progress)
        else:
            reader = BodyReader(sock, rest, self.progress)
            reader.read(size)
            self.pauses = reader.pauses
            answer = b"%d" % reader.received
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def download(port: int, backend: BulkBackend, size: int, framing: str) -> int:
    """Read a body slowly; how often the reader paused."""
    backend.progress = Progress()
    with connected(port) as sock:
        sock.sendall(f"GET /{framing}/body HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        line, length, rest = read_head(sock)
        assert " 200 " in line, line
        reader = BodyReader(sock, rest, backend.progress)
        reader.read(length)
    assert reader.received == size, reader.received
    return reader.pauses


def upload(port: int, backend: BulkBackend, size: int, framing: str) -> int:
    """Send a body that is read slowly; how often the reader paused."""
    backend.progress = Progress()
    with connected(port) as sock:
        fields = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {size}"
        sock.sendall(f"POST /body HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode())
        send_body(sock, size, framing, backend.progress)
        line, length, rest = read_head(sock)
        assert " 200 " in line, (line, backend.progress.failed)
        while len(rest) < (length or 0):
            rest += sock.recv(100)
    assert rest == b"%d" % size, rest
    return backend.pauses


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A client's connection with a small receive buffer."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", port))
        yield sock


@dataclass(frozen=True, slots=True)
class Growth:
    """Of a worker's resident memory, in MiB, while a body passed through it."""

    name: str
    mebibytes: float
    seconds: float
    pauses: int


def measure_bodies(port: int, backend: BulkBackend, worker: int, size: int) -> Iterator[Growth]:
    """A body of *size* bytes down and up, with a length and in chunks."""
    for name, transfer in (("down", download), ("up", upload)):
        for framing in ("length", "chunked"):
            reset_peak(worker)
            before, start = resident(worker), time.monotonic()
            pauses = transfer(port, backend, size, framing)
            yield Growth(f"{name}, {framing}", peak_resident(worker) - before, time.monotonic() - start, pauses)


def measure_idle(port: int, worker: int, count: int) -> float:
    """KiB of the worker's resident memory per connection, with *count* of them idle after one request."""
    request = b"GET /idle HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
    before = resident(worker)
    clients: list[socket.socket] = []
    try:
        for number in range(count):
            sock = socket.socket()
            clients.append(sock)
            sock.settimeout(20)
            sock.bind((f"127.0.0.{1 + number // PORTS_PER_ADDRESS}", 0))
            sock.connect(("127.0.0.1", port))
            sock.sendall(request)
            assert sock.recv(1000).endswith(b"ok")
        return (resident(worker) - before) * 1024 / count
    finally:
        for sock in clients:
            sock.close()


@contextmanager
def one_worker(directory: Path, size: int) -> Iterator[tuple[int, BulkBackend, int]]:
    """A Vrata with one worker before a :class:`BulkBackend`; its port, the backend, and the worker's id."""
    backend, port = BulkBackend(size), free_port()
    try:
        with Gateway(directory, proxy={"workers": 1}, log={"level": "warn"}) as gateway:
            unlimited = {"request": "0s", "responseHeader": "0s"}
            gateway.configure(
                listeners=[listener(port, timeouts={"clientRequest": "0s", "clientResponse": "0s"})],
                destinations=[destination("bulk", backend.port, timeouts=unlimited)],
                routes=[route("all", forward=forward("bulk"))],
            )
            (worker,) = gateway.workers()
            measure_idle(port, worker, 100)  # what the first requests of a worker load is no growth
            yield port, backend, worker
    finally:
        backend.close()


def allow_descriptors(wanted: int) -> int:
    """Raise the limit of open files as far as it may go; how many connections it leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - 500)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mebibytes", type=int, default=1024, help="size of each body")
    parser.add_argument("--connections", type=int, default=10_000, help="idle connections")
    arguments = parser.parse_args()
    size = arguments.mebibytes * MEBIBYTE
    connections = allow_descriptors(arguments.connections)
    good = True
    with tempfile.TemporaryDirectory(prefix="vrata-memory-") as scratch:
        with one_worker(Path(scratch) / "bodies", size) as (port, backend, worker):
            print(f"worker: {resident(worker):.1f} MiB resident")
            print(f"{arguments.mebibytes:>5} MiB      {'growth MiB':>12} {'seconds':>9} {'pauses':>7}")
            for growth in measure_bodies(port, backend, worker, size):
                print(f"{growth.name:<14} {growth.mebibytes:>12.1f} {growth.seconds:>9.1f} {growth.pauses:>7}")
                good = good and growth.mebibytes < MAX_GROWTH
        # Another worker: what bodies have left behind could be used again.
        with one_worker(Path(scratch) / "idle", size) as (port, backend, worker):
            kibibytes = measure_idle(port, worker, connections)
            print(f"{connections} idle connections: {kibibytes:.2f} KiB each")
            good = good and kibibytes <= MAX_PER_CONNECTION
    print(f"memory: {'good' if good else 'FAILED'} (limits {MAX_GROWTH:g} MiB and {MAX_PER_CONNECTION:g} KiB)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
