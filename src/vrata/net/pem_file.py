"""PEM text as a file, for the ssl module, which loads certificates with their keys from files only."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def as_file(text: str) -> Iterator[Path]:
    """A file with *text* that only this user can read, for the time inside the context."""
    with tempfile.NamedTemporaryFile("w", prefix="vrata-", suffix=".pem") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)
