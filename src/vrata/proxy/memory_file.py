"""Memory files: bytes that several processes share through a descriptor, and that nobody can change."""

from __future__ import annotations

import fcntl
import os

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def create(name: str, content: bytes) -> int:
    """Return the descriptor of a sealed file that holds *content*; *name* shows in ``/proc``. The caller closes it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> bytes:
    """Return the whole content, without moving the file's position, which all its holders share."""
    size = os.fstat(descriptor).st_size
    pieces: list[bytes] = []
    position = 0
    while position < size and (piece := os.pread(descriptor, size - position, position)):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)
