"""A real Redis of the test's own, that can be stopped, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.conditions import eventually
from tests.support.ports import free_port


class RedisServer:
    """One ``redis-server`` that keeps nothing on disk; a context manager that leaves nothing running."""

    def __init__(self, directory: Path, *, password: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self._password = password
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it empty, and return when it answers."""
        found = shutil.which("redis-server")
        if found is None:
            raise FileNotFoundError("redis-server is not installed; `make test` installs what .ci/apt-packages lists")
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        arguments += ["--save", "", "--appendonly", "no"]
        if self._password:
            arguments += ["--requirepass", self._password]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([found, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._answers, what="redis-server answers")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Have it answer nothing, and keep its connections."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def ask(self, *command: str | bytes, db: int = 0) -> bytes:
        """What it replies to *command*, in its protocol."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            reading = connection.makefile("rb")
            if self._password:
                connection.sendall(_packed("AUTH", self._password))
                assert reading.readline() == b"+OK\r\n"
            if db:
                connection.sendall(_packed("SELECT", str(db)))
                assert reading.readline() == b"+OK\r\n"
            connection.sendall(_packed(*command))
            connection.shutdown(socket.SHUT_WR)
            return reading.read()

    def value(self, key: str) -> bytes | None:
        """What it has under *key*."""
        reply = self.ask("GET", key)
        return None if reply == b"$-1\r\n" else reply.split(b"\r\n")[1]

    def stored(self) -> set[bytes]:
        """Everything that it has something under."""
        return set(self.ask("KEYS", "*").split(b"\r\n")[2::2])

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self._directory / "redis.log").read_text())
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def _packed(*command: str | bytes) -> bytes:
    words = [word.encode() if isinstance(word, str) else word for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
