"""The last good snapshot on disk, so that a proxy restarted without a control plane serves."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import structlog

from vrata.proxy.supervisor.document import MalformedSnapshot, SnapshotDocument

_log = structlog.get_logger("vrata.proxy")

FILE_NAME = "snapshot.json"


class SnapshotCache:
    """One file below the proxy's state directory. It may hold resolved secrets, so only its owner can read it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self._is_writable = True
        self._kept = b""  # digest of what the file holds, as far as we know

    def load(self) -> SnapshotDocument | None:
        """Return what :meth:`store` kept; None, after one warning, if it is missing, unreadable or damaged."""
        try:
            document = SnapshotDocument.read(self.path.read_bytes())
            self._kept = document.digest
            return document
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("the cached snapshot cannot be read", path=str(self.path), reason=error.strerror)
        except MalformedSnapshot as error:
            _log.warning("the cached snapshot is damaged and ignored", path=str(self.path), reason=str(error))
        return None

    def store(self, document: SnapshotDocument) -> None:
        """Replace the file as a whole: after a crash at any point it holds the old document or the new one.

        Blocks on the disk. A failure is logged (once, until it works again) and changes nothing else: a proxy that
        cannot write serves all the same.
        """
        if document.digest == self._kept:
            return
        try:
            self._replace(document.content())
        except OSError as error:
            if self._is_writable:
                _log.warning(
                    "the snapshot cannot be kept on disk: a restart will need the control plane",
                    path=str(self.path),
                    reason=error.strerror,
                )
            self._is_writable = False
        else:
            self._is_writable = True
            self._kept = document.digest

    def _replace(self, content: bytes) -> None:
        directory = self.path.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = directory / f"{FILE_NAME}.{os.getpid()}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        # The rename itself is on disk only when the directory is.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
