"""What expressions are evaluated on: the views that a caller gives of a request, or of a token's claims."""

from collections.abc import Mapping
from typing import Any, Protocol


class PeerCertificate(Protocol):
    """The certificate that the client has shown and that was verified."""

    @property
    def uris(self) -> tuple[str, ...]:
        """URI names of the subject alternative name."""

    @property
    def dns_names(self) -> tuple[str, ...]:
        """DNS names of the subject alternative name."""

    @property
    def subject(self) -> str:
        """Distinguished name, ``CN=a,O=b``."""

    @property
    def serial(self) -> str:
        """Serial number in lower-case hexadecimal digits, no separators."""


class RequestVariables(Protocol):
    """The variable ``request``. Only what an expression reads is asked for; every member may be computed then."""

    @property
    def method(self) -> str:
        """The method as received."""

    @property
    def path(self) -> str:
        """The decoded path, without the query."""

    @property
    def host(self) -> str:
        """The host without its port."""

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""

    @property
    def client_ip(self) -> str:
        """The client's address."""

    def header(self, name: str) -> str | None:
        """Return the first value of the header *name* (lower-case), None when there is none. There is no ``host``."""

    def header_values(self) -> Mapping[str, str]:
        """Return the first value of each header by its lower-case name, without ``host``."""

    def query_parameter(self, name: str) -> str | None:
        """Return the first value of the query parameter *name*, None when there is none."""

    def query_parameters(self) -> Mapping[str, str]:
        """Return the first value of each query parameter."""

    @property
    def body(self) -> bytes | None:
        """What was buffered of the body, cut at the limit; None when none was: ``request.body`` is absent."""

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        """The body as :func:`vrata.expressions.json_object` reads it; None: ``request.body.json`` is absent."""

    @property
    def certificate(self) -> PeerCertificate | None:
        """The client's certificate; None: ``request.tls`` is absent."""


class ClaimsVariables(Protocol):
    """The variables ``claims`` and ``now``."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims of a token, as :func:`vrata.expressions.json_object` reads them."""

    @property
    def now(self) -> int:
        """The time, in seconds since 1970."""
