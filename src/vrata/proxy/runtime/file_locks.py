"""Locks on single offsets of a file, which belong to an open file and end with it, however its process ends.

The bytes at these offsets have nothing to do with it; they need not even exist. Unlike POSIX locks these do not belong
to the process (``F_OFD_SETLK``), so two open files of one process exclude each other like those of two.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator


@contextlib.contextmanager
def locked(descriptor: int, offset: int) -> Iterator[None]:
    """Wait for the lock on *offset* of the open file behind *descriptor*, and hold it meanwhile."""
    lock(descriptor, offset, wait=True)
    try:
        yield
    finally:
        unlock(descriptor, offset)


def lock(descriptor: int, offset: int, *, wait: bool) -> bool:
    """Lock *offset* of the open file behind *descriptor*; false if another has it and this is not to *wait*."""
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    try:
        fcntl.fcntl(descriptor, command, _flock(fcntl.F_WRLCK, offset))
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int, offset: int) -> None:
    """Give the lock on *offset* back."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, offset))


def _flock(kind: int, offset: int) -> bytes:
    """A ``struct flock`` of one byte at *offset*."""
    return struct.pack("@hhqqi4x", kind, os.SEEK_SET, offset, 1, 0)
