"""Files of access logs: whole lines, whatever happens to the disk and to the file."""

from __future__ import annotations

import array
import fcntl
import os
import resource
import stat
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from vrata.proxy.middleware.log_file import LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def opened(path: Path | str) -> LogFile:
    file = LogFile(str(path))
    file.open()
    return file


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """For this process the disk is full once a file has *size* bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_appends_to_what_is_there(path: Path) -> None:
    path.write_bytes(b"before\n")
    file = opened(path)
    assert file.append([b"a\n", b"b\n"]) == (2, None)
    assert path.read_bytes() == b"before\na\nb\n"
    file.close()


def test_creates_the_file_for_others_to_read(path: Path) -> None:
    before = os.umask(0o022)
    try:
        opened(path).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_writes_to_the_new_file_once_it_is_opened_again(path: Path) -> None:
    file = opened(path)
    file.append([b"a\n"])
    moved = path.rename(path.with_suffix(".1"))
    file.append([b"b\n"])
    file.open()
    file.append([b"c\n"])
    assert (moved.read_bytes(), path.read_bytes()) == (b"a\nb\n", b"c\n")
    file.close()


def test_goes_on_with_the_old_file_where_there_can_be_no_new_one(path: Path) -> None:
    file = opened(path)
    moved = path.rename(path.with_suffix(".1"))
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        file.open()
    assert file.append([b"a\n"]) == (1, None)
    assert moved.read_bytes() == b"a\n"
    file.close()


@pytest.mark.parametrize("path", ["/nowhere/access.log", "/", "/a\0b"])
def test_tells_why_it_cannot_be_opened(path: str) -> None:
    with pytest.raises(OSError, match=r"No such file|Is a directory|Invalid argument"):
        opened(path)


@pytest.mark.parametrize("name", ["stdout", "/dev/stdout", "stderr", "/dev/stderr"])
def test_leaves_what_the_process_was_started_with_open(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    file = opened(name)
    assert file.append([b"a\n", b"b\n"]) == (2, None)
    file.close()
    captured = capfd.readouterr()
    assert (captured.err if "err" in name else captured.out) == "a\nb\n"
    os.fstat(2 if "err" in name else 1)


def test_a_full_disk_cuts_no_line(path: Path) -> None:
    file = opened(path)
    with files_no_longer_than(15):
        written, error = file.append([b"first\n", b"second\n", b"third\n"])
        assert (written, error is not None) == (2, True)
        assert path.read_bytes() == b"first\nsecond\n"
        # Another line does not fit; nothing of it stays either.
        written, error = file.append([b"third\n"])
        assert (written, error is not None) == (0, True)
        assert path.read_bytes() == b"first\nsecond\n"
    assert file.append([b"fourth\n"]) == (1, None)
    assert path.read_bytes() == b"first\nsecond\nfourth\n"
    file.close()


def test_tells_what_a_device_without_room_says() -> None:
    file = opened("/dev/full")
    written, error = file.append([b"a\n"])
    assert written == 0
    assert error is not None
    assert error.strerror == "No space left on device"
    file.close()


def test_lines_of_several_writers_stay_whole(path: Path) -> None:
    """Each opens the file for itself, as workers do, and all are short of room now and then."""
    lines = 400

    def write(name: bytes) -> None:
        file = opened(path)
        for number in range(lines):
            text = name * 50 + b" %d\n" % number
            assert file.append([text, text]) == (2, None)
        file.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = path.read_bytes().splitlines()
    assert len(written) == 3 * 2 * lines
    for name in (b"a", b"b", b"c"):
        own = [line for line in written if line.startswith(name)]
        assert own == [name * 50 + b" %d" % number for number in range(lines) for _ in range(2)]


def test_a_pipe_gets_whole_lines_and_tells_when_nobody_reads(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="No such device or address"):
        opened(fifo)  # at once: nobody reads
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = opened(fifo)
    sent = [b"%d" % number * 300 + b"\n" for number in range(10, 60)]
    assert sum(map(len, sent)) > 2 * 4096
    assert file.append(sent) == (len(sent), None)
    assert os.read(reader, 65536) == b"".join(sent)
    os.close(reader)
    written, error = file.append([b"a\n"])
    assert (written, isinstance(error, BrokenPipeError)) == (0, True)
    file.close()


def test_waits_for_a_reader_of_standard_output_that_does_not_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    monkeypatch.setitem(LogFile.__init__.__globals__["STANDARD"], "stdout", writer)
    file = opened("stdout")
    outcome: list[tuple[int, OSError | None]] = []
    sent = [b"x" * 4000 + b"\n" for _ in range(50)]
    thread = threading.Thread(target=lambda: outcome.append(file.append(sent)))
    thread.start()
    eventually(lambda: _unread(reader) >= 60_000, what="the pipe is full")
    assert not outcome
    read = b""
    while len(read) < 50 * 4001:
        read += os.read(reader, 65536)
    thread.join()
    assert outcome == [(50, None)]
    assert read == b"".join(sent)
    os.close(reader)
    os.close(writer)


def _unread(descriptor: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]
