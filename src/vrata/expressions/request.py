"""What expressions are evaluated on: the views that a caller gives of a request, or of a token's claims."""

from collections.abc import Mapping
from typing import Any, Protocol


class PeerCertificate(Protocol):
    """The certificate that the client has shown and that was verified."""

    @property
    def uris(self) -> tuple[str, ...]:
        """URI names of the subject alternative name."""
        ...

    @property
    def dns_names(self) -> tuple[str, ...]:
        """DNS names of the subject alternative name."""
        ...

    @property
    def subject(self) -> str:
        """Distinguished name, ``CN=a,O=b``."""
        ...

    @property
    def serial(self) -> str:
        """Serial number in lower-case hexadecimal digits, no separators."""
        ...


class RequestVariables(Protocol):
    """The variable ``request``. Only what an expression reads is asked for; every member may be computed then."""

    @property
    def method(self) -> str:
        """As received."""
        ...

    @property
    def host(self) -> str:
        """Authority without port, in lower case, without trailing dot, IPv6 in brackets; empty without one."""
        ...

    @property
    def path(self) -> str:
        """Percent-decoded once, not normalised, without the query; bytes that are not UTF-8 are surrogate escapes."""
        ...

    @property
    def scheme(self) -> str:
        """``http`` or ``https``: what a trusted proxy says that its client used, else by the listener."""
        ...

    @property
    def client_ip(self) -> str:
        """The address of the client: the peer's, unless that is a trusted proxy."""
        ...

    def header(self, name: str) -> str | None:
        """First value of the field *name* (lower case); None when absent. ``host`` always is: it has its own member."""
        ...

    def header_values(self) -> Mapping[str, str]:
        """Every field that :meth:`header` knows, by its name in lower case."""
        ...

    def query_parameter(self, name: str) -> str | None:
        """First value of the parameter *name*, decoded; None when absent."""
        ...

    def query_parameters(self) -> Mapping[str, str]:
        """Every parameter that :meth:`query_parameter` knows."""
        ...

    @property
    def body(self) -> bytes | None:
        """What was buffered of the body, cut at the limit; None, and then absent, when it is empty or none was."""
        ...

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        """The body as :func:`vrata.expressions.json_object` reads it; None when it says to be something else, is none,
        or was not read whole."""
        ...

    @property
    def certificate(self) -> PeerCertificate | None:
        """The client's verified certificate; None without one: ``request.tls`` is absent."""
        ...


class ClaimsVariables(Protocol):
    """The variables ``claims`` and ``now``."""

    @property
    def claims(self) -> Mapping[str, Any]:
        """The claims of a token, as :func:`vrata.expressions.json_object` reads them."""
        ...

    @property
    def now(self) -> int:
        """The time, in seconds since 1970."""
        ...
