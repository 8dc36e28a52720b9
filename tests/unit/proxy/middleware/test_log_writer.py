"""The writer of an access log: never waits, loses lines in order, and says so."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from vrata.net.event_loop import new_event_loop
from vrata.proxy.meters import MiddlewareMeter
from vrata.proxy.middleware import log_writer
from vrata.proxy.middleware.log_writer import COST_OF_LINE, LogWriter, LogWriters


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def on_loop(test: Callable[[LogWriters], Coroutine[Any, Any, None]]) -> list[Any]:
    """Run *test*, and return what was logged."""

    async def run() -> None:
        await test(LogWriters(asyncio.get_running_loop()))

    with capture_logs() as logs, asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())
    return logs


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def moved_away(path: Path) -> Path:
    return path.rename(path.with_suffix(".1"))


def make_room(path: Path) -> None:
    path.parent.mkdir()


def meter() -> MiddlewareMeter:
    return MiddlewareMeter((1.0,))


def threads_of(path: Path) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"access log {path}"]


def test_lines_are_written_in_their_order_and_all_at_a_flush(path: Path) -> None:
    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(path))
        for number in range(5000):
            writer.write(b"%d\n" % number, None)
        assert await writers.flush(10)
        assert content(path) == b"".join(b"%d\n" % number for number in range(5000))

    assert on_loop(test) == []


def test_lines_are_written_without_being_asked_for(path: Path) -> None:
    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(path))
        writer.write(b"a\n", None)
        await eventually_async(lambda: content(path) == b"a\n", what="the line is there")

    on_loop(test)


def test_who_writes_to_the_same_path_shares_a_writer_and_it_ends_with_the_last(path: Path) -> None:
    async def test(writers: LogWriters) -> None:
        writer: LogWriter | None = writers.writer(str(path))
        assert writers.writer(str(path)) is writer
        assert len(threads_of(path)) == 1
        assert writer is not None
        writer.write(b"last words\n", None)
        del writer
        await eventually_async(lambda: not threads_of(path), what="the thread has ended")
        assert content(path) == b"last words\n"
        assert await writers.flush(1)
        assert repr(writers) == "<LogWriters []>"

    on_loop(test)


def test_the_new_file_gets_what_comes_after_it_was_asked_for(path: Path) -> None:
    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(path))
        writer.write(b"a\n", None)
        assert await writers.flush(10)
        moved = moved_away(path)
        writer.write(b"b\n", None)
        writers.reopen()
        writer.write(b"c\n", None)
        assert await writers.flush(10)
        assert (content(moved), content(path)) == (b"a\nb\n", b"c\n")

    assert on_loop(test) == []


def test_without_a_file_lines_go_to_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing" / "access.log"

    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(path))
        writer.write(b"a\n", None)
        assert await writers.flush(10)
        writers.reopen()
        assert await writers.flush(10)
        make_room(path)
        writers.reopen()
        writer.write(b"b\n", None)
        assert await writers.flush(10)

    logged, again = on_loop(test)
    # Nothing was open that could be written on.
    assert again["effect"] == logged["effect"] == "its lines go to standard output"
    assert logged["event"] == "access log cannot be opened"
    assert (logged["path"], logged["reason"]) == (str(path), "No such file or directory")
    assert capfd.readouterr().out == "a\n"
    assert content(path) == b"b\n"


def test_a_full_disk_loses_lines_that_are_counted_and_told_once(path: Path) -> None:
    path.symlink_to("/dev/full")
    counted = meter()

    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(path))
        for _ in range(3):
            writer.write(b"a\n", counted)
            writer.write(b"b\n", None)
            assert await writers.flush(10)
        moved_away(path)
        writers.reopen()  # now there is room
        writer.write(b"c\n", counted)
        assert await writers.flush(10)
        await asyncio.sleep(0)

    first, last, again = on_loop(test)
    assert counted.dropped_lines == {"write_error": 3}
    assert content(path) == b"c\n"
    assert first["event"] == last["event"] == "lines of an access log are lost"
    assert first["reason"] == "No space left on device"
    assert first["write_error"] + last["write_error"] == 6
    assert again["event"] == "access log is written again"


def test_a_file_that_is_too_slow_loses_lines_and_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "COLLECTED_FOR", 0.0)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    line = b"x" * 999 + b"\n"
    most = 200 * (len(line) + COST_OF_LINE)
    counted = meter()

    async def test(writers: LogWriters) -> None:
        del writers  # this one is bounded otherwise
        writer = LogWriter(str(fifo), asyncio.get_running_loop(), most)
        sent = 0
        while not counted.dropped_lines:
            writer.write(line, counted)
            sent += 1
            await asyncio.sleep(0)
        # As much waits as may, beside what the pipe holds.
        assert 200 <= sent <= 200 + 64 + 1
        for _ in range(49):
            writer.write(line, counted)
        assert counted.dropped_lines == {"queue_full": 50}
        read = 0
        while read < (sent - 1) * len(line):
            try:
                read += len(os.read(reader, 65536))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        assert read == (sent - 1) * len(line)
        await eventually_async(lambda: ", 0 bytes waiting" in repr(writer), what="everything is written")
        writer.write(line, counted)
        await eventually_async(lambda: _read(reader) == line, what="lines are written again")

    logs = on_loop(test)
    assert counted.dropped_lines == {"queue_full": 50}
    assert [entry["queue_full"] for entry in logs] == [1]  # the others within ten seconds
    os.close(reader)


def test_a_flush_gives_up_on_a_file_that_hangs(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    async def test(writers: LogWriters) -> None:
        writer = writers.writer(str(fifo))
        for _ in range(40):
            writer.write(b"x" * 4000 + b"\n", None)
        assert not await writers.flush(0.05)
        while not await writers.flush(0.01):
            _read(reader)

    on_loop(test)
    os.close(reader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return b""
