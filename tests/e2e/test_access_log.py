"""Access logs of real processes: files that are moved away while workers write, drain, and are replaced."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.middlewares import middleware
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

FIELDS = {"path": "${request.path}", "status": "${response.status}"}


class SlowBackend(RecordingBackend):
    """Answers ``/slow`` when it is told to."""

    def __init__(self) -> None:
        self.is_to_answer = threading.Event()
        super().__init__(script=self._answer)

    def _answer(self, exchange: Exchange) -> None:
        if exchange.target == "/slow":
            self.is_to_answer.wait(30)
        exchange.respond(body=b"ok")


@pytest.fixture
def slow() -> Iterator[SlowBackend]:
    with SlowBackend() as running:
        yield running


def configure(gateway: Gateway, port: int, backend: RecordingBackend, *logs: Document) -> None:
    attached = {"middlewareIds": [log["id"] for log in logs]}
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("backend", backend.port)],
        routes=[{**route("all", forward=forward("backend")), **attached}],
        middlewares=logs,
    )


def log_to(path: Path | str, **settings: object) -> Document:
    return middleware("log", "accessLog", path=str(path), json=True, onResponse={"fields": FIELDS}, **settings)


def paths_in(log: Path) -> list[str]:
    """What was asked for, by the lines of the log; each line is whole."""
    return [json.loads(line)["path"] for line in log.read_text().splitlines()] if log.exists() else []


def ask(port: int, beginning: str, count: int = 12) -> set[str]:
    """Send requests over connections of their own, so that every worker gets some."""
    paths = {f"/{beginning}{number}" for number in range(count)}
    for path in paths:
        with Connection(port) as client:
            assert client.exchange("GET", path).status == 200
    return paths


def test_files_that_are_moved_away_are_opened_again_by_all_workers(
    gateway: Gateway, port: int, slow: SlowBackend, tmp_path: Path
) -> None:
    log, first, second = tmp_path / "access.log", tmp_path / "access.log.1", tmp_path / "access.log.2"
    configure(gateway, port, slow, log_to(log))
    before = gateway.workers()
    asked = ask(port, "a")
    eventually(lambda: set(paths_in(log)) == asked, what="the first file has the first lines")
    log.rename(first)
    gateway.process.signal(signal.SIGUSR1)
    eventually(log.exists, what="there is a new file")
    asked_again = ask(port, "b")
    eventually(lambda: set(paths_in(log)) | set(paths_in(first)) == asked | asked_again, what="no line is lost")
    # A worker that was told later may have written to the first file, but in the end none does.
    eventually(lambda: _writers(gateway, first) == 0, what="the first file is closed")
    assert gateway.workers() == before

    # Now everybody is replaced; one worker still has a request to answer.
    with Connection(port) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: any(request.target == "/slow" for request in slow.requests), what="the request is under way")
        log.rename(second)
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: not set(before) & set(_serving(gateway)), what="the workers are replaced")
        assert set(before) & set(gateway.workers()), "one drains"
        eventually(lambda: _writers(gateway, second) == 0, what="the second file is closed")
        slow.is_to_answer.set()
        assert client.read_response("GET").status == 200
    asked_last = ask(port, "c")
    eventually(lambda: set(paths_in(log)) >= {*asked_last, "/slow"}, what="the last file has the last lines")
    lines = [*paths_in(first), *paths_in(second), *paths_in(log)]
    assert sorted(lines) == sorted([*asked, *asked_again, *asked_last, "/slow"])


def test_a_file_that_cannot_be_opened_is_reported(
    gateway: Gateway, port: int, slow: SlowBackend, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "access.log"
    configure(gateway, port, slow, log_to(log))

    def problems() -> list[tuple[str, str]]:
        found = gateway.proxies()[0]["lastApply"]["problems"]
        return [(problem["kind"], problem["id"]) for problem in found]

    assert problems() == [("middleware", "log")]
    configure(gateway, port, slow, log_to(log))
    assert problems() == [("middleware", "log")]
    # Every worker has it, twice; it is told once.
    assert gateway.process.text().count("entity does not act as configured") == 1
    log.parent.mkdir()
    gateway.process.signal(signal.SIGUSR1)
    eventually(lambda: problems() == [], 20, what="the file is open, and that is reported")


def test_lines_on_standard_output_are_whole(gateway: Gateway, port: int, slow: SlowBackend) -> None:
    configure(gateway, port, slow, log_to("stdout"))
    asked = ask(port, "stdout")

    def found() -> set[str]:
        lines = [line for line in gateway.process.text().splitlines() if "/stdout" in line]
        return {json.loads(line)["path"] for line in lines}

    eventually(lambda: found() == asked, what="every line is there")


def _serving(gateway: Gateway) -> list[int]:
    found = gateway.proxies()[0]["workers"]
    return [worker["pid"] for worker in found if worker["state"] == "serving"]


def _writers(gateway: Gateway, path: Path) -> int:
    """How many workers have the file open."""
    return sum(
        any(_points_to(descriptor, path) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
        for pid in gateway.workers()
    )


def _points_to(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.readlink() == path
    except OSError:
        return False
