"""From a supposed request to what the data path would see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vrata.model.question import SupposedRequest
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.hop import Hop, address_of
from vrata.proxy.listener.memory_connection import MemoryConnection
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.secure_connection import uris_of
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.seen_body import SeenBody
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import MAX_HEAD, MAX_REQUEST_LINE, RequestHead, parse_request_head


@dataclass(frozen=True)
class ChosenListener:
    """The listener that takes a request."""

    settings: ListenerSettings
    scheme: str
    """``http`` or ``https``: that of its connections."""
    metrics_path: str
    """The path that it answers with metrics; empty for none."""
    client_auth: str
    """Whether it asks clients for certificates: ``none``, ``optional`` or ``require``."""
    is_traced: bool
    """Whether upstreams are told of a trace."""

    @property
    def port(self) -> str:
        """The port that it is bound to."""
        return self.settings.address.rpartition(":")[2]


@dataclass(frozen=True)
class ReadRequest:
    """A request as it was read, on the connection that it came over."""

    request: DownstreamRequest
    connection: MemoryConnection
    body: bytes | None
    """All of it; None where the head announces one that was not given."""
    made_identifier: bytes
    """What the proxy has made for X-Request-Id; empty when the client's is taken."""


def choose_listener(supposed: SupposedRequest, listeners: Sequence[ChosenListener]) -> ChosenListener | None:
    """Return the listener that is named, else the one with the URL's port, else the first with its scheme, else None.

    The answer is None as well when the named one is not among *listeners*.
    """
    if supposed.listener:
        return next((each for each in listeners if each.settings.listener_id == supposed.listener), None)
    scheme = parts_of(supposed)[0]
    port = stated_port(supposed) or {"http": "80", "https": "443"}.get(scheme, "")
    fitting = [each for each in listeners if scheme in ("", each.scheme)]
    exact = [each for each in fitting if each.port == port]
    return next(iter(exact or fitting), None)


def stated_port(supposed: SupposedRequest) -> str:
    """Return the port that the URL, or the host, of *supposed* names; empty when it names none."""
    _, colon, port = parts_of(supposed)[1].rpartition(":")
    return port if colon and port.isdecimal() and port.isascii() else ""


def parts_of(supposed: SupposedRequest) -> tuple[str, str, str]:
    """Return scheme, authority and target of *supposed*, each as given; the first two may be empty."""
    if not supposed.url:
        return supposed.scheme.lower(), supposed.host, supposed.path or "/"
    scheme, _, rest = supposed.url.partition("://")
    cut = min((at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest))
    target = rest[cut:]
    return scheme.lower(), rest[:cut], target if target.startswith("/") else "/" + target


def read(supposed: SupposedRequest, listener: ChosenListener | None, cel_body_max_size: int) -> ReadRequest:
    """Read *supposed* as *listener* would. Expressions see so many bytes of its body.

    A body that is announced and not given is still to come. Raises MalformedMessage for what the listener refuses.
    """
    scheme = listener.scheme if listener is not None else parts_of(supposed)[0] or "http"
    settings = listener.settings if listener is not None else None
    head = _head_of(wire_form(supposed), settings)
    certificate = supposed.client_certificate
    hop = Hop(
        address_of(supposed.client_address),
        scheme.encode("ascii"),
        settings.address if settings is not None else "",
        settings.trusted_proxies if settings is not None else None,
        uris_of({"subjectAltName": [("URI", uri) for uri in certificate.uris]}) if certificate is not None else b"",
        certificate,
    )
    connection = MemoryConnection(hop, settings.answers if settings is not None else FailureAnswers("standard"))
    request = DownstreamRequest(connection, head)
    made = (
        b"" if head.request_id in [value.strip(b" \t") for value in head.values(b"x-request-id")] else head.request_id
    )
    body = supposed.body.encode()
    if not body and head.has_body:
        return ReadRequest(request, connection, None, made)
    whole = len(body) <= cel_body_max_size
    request.seen(SeenBody(body if whole else body[:cel_body_max_size], whole))
    return ReadRequest(request, connection, body, made)


def wire_form(supposed: SupposedRequest) -> bytes:
    """Return *supposed* as a client would send it, up to the end of the head."""
    _, authority, target = parts_of(supposed)
    lines = [f"{supposed.method} {target} HTTP/1.1"]
    names = {name.lower() for name, _ in supposed.headers}
    if authority and "host" not in names:
        lines.append(f"Host: {authority}")
    lines += [f"{name}: {value}" for name, value in supposed.headers]
    if supposed.body and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(supposed.body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _head_of(data: bytes, settings: ListenerSettings | None) -> RequestHead:
    head = parse_request_head(data, settings.max_head if settings is not None else MAX_HEAD + MAX_REQUEST_LINE)
    if head is None:
        # The reader waits for the end of what nobody goes on with.
        raise MalformedMessage(400, "malformed request head")
    if settings is not None:
        settings.admit(head)
    return head
