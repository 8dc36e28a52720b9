"""PEM text out of files, and into files: the ssl module loads certificates with their keys from files only."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

MOST_BYTES = 1 << 20
"""Of a PEM file. The largest bundles of authorities have a quarter of it."""

_BEGIN = "-----BEGIN"


def read(path: Path) -> str:
    """The PEM text of a file, from where it begins: what other programs write before it, such as names, is left out.

    Only a regular file is read, because a device or a pipe could go on without end. Raises ``OSError`` or
    ``ValueError`` with the reason.
    """
    # Not to wait for the other end, should it be a pipe.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a regular file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"is larger than {MOST_BYTES} bytes")
    # What stands between the blocks may be in any encoding.
    text = content.decode("utf-8", "replace")
    begin = text.find(_BEGIN)
    if begin < 0:
        raise ValueError("holds no PEM text")
    return text[begin:]


@contextlib.contextmanager
def as_file(text: str) -> Iterator[Path]:
    """A file with *text* for the time inside the context: in memory, so that no key gets onto a disk."""
    descriptor = os.memfd_create("vrata-pem", os.MFD_CLOEXEC)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield Path(f"/proc/self/fd/{descriptor}")


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have *context* present the certificate in one file, with its chain, and the private key in another.

    Raises ``OSError`` (``ssl.SSLError`` among them) or ``ValueError`` if they cannot be used.
    """
    context.load_cert_chain(certificate, key, password=_no_passphrase)


def _no_passphrase() -> NoReturn:
    # Without this, OpenSSL would ask for it on the terminal, and wait.
    raise ValueError("the private key has a passphrase")
