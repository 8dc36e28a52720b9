"""The file of an access log: opened, opened again, and appended to in whole lines. Everything here blocks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
from collections.abc import Sequence

STANDARD = {"stdout": 1, "/dev/stdout": 1, "stderr": 2, "/dev/stderr": 2}
"""Paths that mean what the process was started with: it stays the process's, and is neither opened nor closed."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
_ATOMIC = select.PIPE_BUF
"""Bytes that a pipe takes at once, so that lines of others cannot come between."""


class LogFile:
    """Where lines of one path go. Not for more than one thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = STANDARD["stdout"]
        self._is_ours = False
        self._is_regular = False

    def __repr__(self) -> str:
        return f"<LogFile {self._path!r} on {self._descriptor}>"

    @property
    def is_open(self) -> bool:
        """Whether lines go to a file of its own."""
        return self._is_ours

    def open(self) -> None:
        """Open the path, which is created if it does not exist (mode 0644), and let go of what was open.

        Raises :class:`OSError` and goes on with what was open: at first standard output.
        """
        descriptor = STANDARD.get(self._path)
        if descriptor is None:
            try:
                # Without O_NONBLOCK a named pipe that nobody reads would be waited for.
                descriptor = os.open(self._path, _FLAGS | os.O_NONBLOCK, 0o644)
            except ValueError:  # a NUL within
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None
            os.set_blocking(descriptor, True)
        self.close()
        self._is_ours = self._path not in STANDARD
        self._descriptor = descriptor
        self._is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)

    def close(self) -> None:
        """Let go of it."""
        if self._is_ours:
            os.close(self._descriptor)
        self._is_ours = False
        self._descriptor = STANDARD["stdout"]

    def append(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Write *lines*; return how many were written whole, and what prevented more.

        All processes that write the same file may do so at once: a line is written whole, or not at all.
        """
        if self._is_ours and self._is_regular:
            return self._append_to_file(lines)
        if self._is_regular:
            return self._append_each([b"".join(lines)], [len(lines)])
        return self._append_each(*_packed(lines))

    def _append_to_file(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Write to a file of our own, under a lock: what a full disk has cut can be taken back only by who is alone."""
        content = b"".join(lines)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            return 0, error
        try:
            before = os.fstat(self._descriptor).st_size
            written, failure = _write(self._descriptor, content)
            if failure is None:
                return len(lines), None
            whole = content.rfind(b"\n", 0, written) + 1
            # Whoever truncates files that are written to (copytruncate) may have been here meanwhile.
            if written > whole and os.fstat(self._descriptor).st_size == before + written:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, before + whole)
            return content.count(b"\n", 0, whole), failure
        except OSError as error:
            return 0, error
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _append_each(self, contents: Sequence[bytes], counts: Sequence[int]) -> tuple[int, OSError | None]:
        """Write *contents* one after the other, of which each has so many lines."""
        lines = 0
        for content, count in zip(contents, counts, strict=True):
            written, error = _write(self._descriptor, content)
            if error is not None:
                return lines + content.count(b"\n", 0, written), error
            lines += count
        return lines, None


def _packed(lines: Sequence[bytes]) -> tuple[list[bytes], list[int]]:
    """Put as many *lines* together as a pipe takes at once; return the pieces, and how many lines each has."""
    pieces: list[bytes] = []
    counts: list[int] = []
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > _ATOMIC:
            pieces.append(b"".join(piece))
            counts.append(len(piece))
            piece = []
            size = 0
        piece.append(line)
        size += len(line)
    if piece:
        pieces.append(b"".join(piece))
        counts.append(len(piece))
    return pieces, counts


def _write(descriptor: int, content: bytes) -> tuple[int, OSError | None]:
    """Write *content*; return how much of it was written, and what prevented the rest."""
    rest = memoryview(content)
    try:
        while rest:
            try:
                written = os.write(descriptor, rest)
            except BlockingIOError:
                # Standard output is shared, and somebody may have made it so.
                poll = select.poll()
                poll.register(descriptor, select.POLLOUT)
                poll.poll()
                continue
            if not written:
                return len(content) - len(rest), OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[written:]
    except OSError as error:
        return len(content) - len(rest), error
    return len(content), None
