"""Questions: a request that is only supposed, and the snapshots that are asked what they would do with it."""

import ipaddress
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Strict, WithJsonSchema, model_validator

from vrata.model.document import Document
from vrata.model.errors import Problem, broken
from vrata.model.part import ListOf, Part
from vrata.model.text import Id, NonEmpty

ACTIVE = "active"
STAGED = "staged"
SCHEMES = ("http", "https")

_HEADERS_SCHEMA = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        },
    ],
    "default": [],
}


def _pairs(headers: Any) -> Any:
    return [[name, value] for name, value in headers.items()] if isinstance(headers, dict) else headers


def _one_line(text: str) -> str:
    # What follows would be another line, or another request, and not a part of this one.
    if "\r" in text or "\n" in text:
        raise ValueError("must not contain line breaks")
    return text


def _field_name(text: str) -> str:
    if ":" in text:
        raise ValueError('must not contain ":"')
    return _one_line(text)


def _ip_address(text: str) -> str:
    try:
        # The zone of an IPv6 address could be any text; interfaces are called by visible ASCII characters.
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError(f'must be an IP address, got "{text[:60]}"') from None


Line = Annotated[str, AfterValidator(_one_line)]
"""A text without line breaks."""
Pair = Annotated[tuple[Annotated[str, AfterValidator(_field_name)], Line], Strict(False)]
"""Name and value of one header line."""
Headers = Annotated[ListOf[Pair], BeforeValidator(_pairs), WithJsonSchema(_HEADERS_SCHEMA)]


class ClientCertificate(Part):
    """What a verified client certificate says."""

    uris: ListOf[Line] = ()
    """URIs among the alternative names of its subject."""
    dns_names: ListOf[Line] = ()
    """DNS names among the alternative names of its subject."""
    subject: str = ""
    """Distinguished name of its subject, such as `CN=a,O=b`."""
    serial: str = ""
    """Serial number, in lower-case hexadecimal digits."""


class SupposedRequest(Part):
    """A request as a client would send it. Only what the proxy itself refuses is refused."""

    method: Line = "GET"
    """Method."""
    url: Line = ""
    """Absolute URL, as `https://host:port/path?query`, instead of `scheme`, `host` and `path`."""
    scheme: Line = ""
    """`http` or `https`; absent = that of the listener."""
    host: Line = ""
    """Host header."""
    path: Line = ""
    """Path and query, as they stand in the request line; absent = `/`."""
    headers: Headers = ()
    """Header lines in order, as pairs of name and value; or an object. A `Host` among them wins."""
    body: str = ""
    """Body."""
    client_address: Annotated[str, AfterValidator(_ip_address)] = "127.0.0.1"
    """IP address that the TCP connection comes from."""
    client_certificate: ClientCertificate | None = None
    """The client's verified certificate; absent = none."""
    listener: Id = ""
    """ID of the listener that takes the request; absent = the one with the URL's port, or the first with its scheme."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems: list[Problem] = []
        if self.url:
            scheme, separator, _ = self.url.partition("://")
            if not separator or scheme.lower() not in SCHEMES:
                problems.append(Problem("url", "must begin with http:// or https://"))
            problems += [
                Problem(name, "must not be given together with url")
                for name, value in (("scheme", self.scheme), ("host", self.host), ("path", self.path))
                if value
            ]
        elif self.scheme and self.scheme.lower() not in SCHEMES:
            problems.append(Problem("scheme", 'must be "http" or "https"'))
        if problems:
            raise broken(*problems)
        return self


class SnapshotSource(Part):
    """Which configuration is asked."""

    source: NonEmpty = ACTIVE
    """`active`, `staged` for what would be captured now, or the ID of a snapshot."""


class Question(Document):
    """What would become of this request?"""

    always_shown: ClassVar[frozenset[str]] = frozenset({"snapshot"})

    request: SupposedRequest
    """The request."""
    snapshot: SnapshotSource = SnapshotSource()
    """The configuration that is asked."""
    compare_with: SnapshotSource | None = None
    """Another configuration that is asked as well, to say what differs."""
    all: bool = False
    """List the routes that the path alone rules out, too."""
