"""A backend that answers one request with bytes of the test's choice, and all others as it should."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum

from tests.support.conditions import eventually_async
from vrata.observability.tasks import TaskSupervisor

CASE_TARGET = b"/case"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Then(Enum):
    """What the backend does when it has sent its bytes."""

    STAY = "keeps the connection open"
    CLOSE = "closes the connection"
    RESET = "resets the connection"


class ScriptedUpstream:
    """Listens on an ephemeral loopback port from :meth:`start` to :meth:`stop`.

    Requests for ``/case`` get :attr:`pieces`, each sent by itself, and then *then*. Other requests get their target,
    with the number of the connection in the field ``connection-number``.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.then = Then.STAY
        self.case_connection = -1
        """Number of the connection that ``/case`` was last asked for on."""
        self.cases = 0
        """How often ``/case`` was asked for."""
        self.open = 0
        self.port = 0
        self._connections = 0
        self._case_sock: socket.socket | None = None
        self._listener = socket.socket()
        self._tasks = TaskSupervisor()

    async def start(self) -> None:
        self._listener.setblocking(False)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self._tasks.start(self._accept(), name="scripted upstream")

    async def stop(self) -> None:
        await self._tasks.stop()
        self._listener.close()

    async def send(self, data: bytes) -> None:
        """Send *data*, unasked, on the connection that ``/case`` was last asked for on, and wait until it is closed."""
        assert self._case_sock is not None
        left = self.open - 1
        await asyncio.get_running_loop().sock_sendall(self._case_sock, data)
        await eventually_async(lambda: self.open == left, what="the connection is given up", interval=0)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._connections
            self._connections += 1
            self.open += 1
            self._tasks.start(self._serve(sock, number), name=f"scripted upstream {number}")

    async def _serve(self, sock: socket.socket, number: int) -> None:
        loop = asyncio.get_running_loop()
        received = b""
        try:
            while True:
                while (end := received.find(b"\r\n\r\n")) < 0:
                    data = await loop.sock_recv(sock, 1 << 16)
                    if not data:
                        return
                    received += data
                method, target, _ = received.split(b" ", 2)
                received = received[end + 4 :]
                if target == CASE_TARGET:
                    self.cases += 1
                    self.case_connection = number
                    self._case_sock = sock
                    for piece in self.pieces:
                        await loop.sock_sendall(sock, piece)
                        # Loopback has delivered by then, and the loop has polled.
                        await asyncio.sleep(0)
                        await asyncio.sleep(0)
                    if self.then is not Then.STAY:
                        if self.then is Then.RESET:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                        return
                else:
                    content = b"" if method == b"HEAD" else target
                    head = b"HTTP/1.1 200 OK\r\nConnection-Number: %d\r\nContent-Length: %d\r\n\r\n"
                    await loop.sock_sendall(sock, head % (number, len(target)) + content)
        except OSError:
            return  # the proxy has cut the connection
        finally:
            self.open -= 1
            sock.close()
