"""TLS of the connection between control plane and clients: certificates and keys as text or as files."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vrata.model.errors import Problem
from vrata.model.pem import certificate_failure, is_pem, key_failure, pair_failure


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM material: the text itself, or the file that holds it. A file may be replaced while the program runs."""

    text: str | None = field(default=None, repr=False)
    path: Path | None = None

    @classmethod
    def parse(cls, value: str) -> "Pem":
        """Tell PEM text, which begins with `-----BEGIN` after trimming, from the path of a file."""
        return cls(text=value) if is_pem(value) else cls(path=Path(value))

    def read(self) -> str:
        """Return the PEM text as it is now.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is no text.

        """
        if self.path is not None:
            return self.path.read_text(encoding="utf-8")
        return self.text or ""


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """TLS of a server."""

    cert: Pem
    key: Pem
    ca: Pem | None
    """Authorities of client certificates."""
    client_auth: Literal["none", "optional", "require"]


@dataclass(frozen=True, slots=True)
class ClientTLS:
    """TLS of a client."""

    cert: Pem | None
    """The client's certificate, for mutual TLS."""
    key: Pem | None
    ca: Pem | None
    """Authorities of the server's certificate; None = those of the system."""


def material_problems(tls: ServerTLS | ClientTLS, block: str) -> Iterator[Problem]:
    """Load everything that a block names and say what cannot be used, by the path of the block."""
    cert = key = None
    for name, pem, failure in (
        ("cert", tls.cert, certificate_failure),
        ("key", tls.key, key_failure),
        ("ca", tls.ca, certificate_failure),
    ):
        if pem is None:
            continue
        place = f"{pem.path}: " if pem.path is not None else ""
        try:
            text = pem.read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not a text file"
            yield Problem(f"{block}.{name}", f"{place}{reason}")
            continue
        if (reason := failure(text)) is not None:
            yield Problem(f"{block}.{name}", f"{place}{reason}")
        elif name == "cert":
            cert = text
        elif name == "key":
            key = text
    if cert is not None and key is not None and (reason := pair_failure(cert, key)) is not None:
        yield Problem(f"{block}.key", reason)
