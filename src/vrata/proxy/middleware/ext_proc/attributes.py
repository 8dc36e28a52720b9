"""What a processor is told beside what it is shown: Envoy's attributes of requests, connections and responses.

Names, types and forms are those that Envoy has for them (its "Attributes" reference); what is not known of a request is
left out, as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from vrata.model.middleware.ext_proc import header_attribute
from vrata.policy import grpc_status
from vrata.proxy.contracts import ClientRequest
from vrata.wire.http1.head import RequestHead, ResponseHead
from vrata.wire.protobuf_struct import StructWriter

_TEXTS = (
    *("request.path", "request.url_path", "request.query", "request.host", "request.scheme", "request.method"),
    *("request.referer", "request.useragent", "request.id", "request.protocol", "request.time"),
    *("source.address", "destination.address"),
    *("connection.subject_peer_certificate", "connection.uri_san_peer_certificate"),
    "connection.dns_san_peer_certificate",
)


class Attributes:
    """Those that one middleware sends with one direction."""

    __slots__ = ("_headers", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        """*names* are as the model accepts them."""
        self._names: list[str] = []
        self._headers: list[tuple[str, bool, bytes]] = []
        for name in names:
            header = header_attribute(name)
            if header is None:
                self._names.append(name)
            else:
                self._headers.append((name, header[0] == "request", header[1].encode()))

    def __repr__(self) -> str:
        return f"<Attributes {self._names + [name for name, _, _ in self._headers]}>"

    def __bool__(self) -> bool:
        return bool(self._names or self._headers)

    def of(self, request: ClientRequest, response: ResponseHead | None) -> bytes:
        """Return what they are for *request* and, when it is there, *response*: a ``google.protobuf.Struct``."""
        struct = StructWriter()
        for name in self._names:
            if name in _TEXTS:
                text = _text(name, request)
                if text is not None:
                    struct.text(name, text)
            elif name == "connection.mtls":
                struct.truth(name, request.certificate is not None)
            else:
                number = _number(name, request, response)
                if number >= 0:
                    struct.number(name, number)
        for name, is_of_request, field in self._headers:
            head: RequestHead | ResponseHead | None = request.head if is_of_request else response
            if head is None:
                continue
            values = head.values(field)
            if values:
                struct.text(name, b",".join(values).decode("utf-8", "replace"))
        return struct.finished()


def _text(name: str, request: ClientRequest) -> str | None:
    """The text of an attribute; None when there is none."""
    head = request.head
    if name == "request.path":
        return head.target.decode("ascii")
    if name == "request.url_path":
        return head.raw_path.decode("ascii")
    if name == "request.query":
        return head.query.decode("ascii")
    if name == "request.host":
        return head.authority.decode("utf-8", "replace")
    if name == "request.scheme":
        return request.scheme
    if name == "request.method":
        return request.method
    if name == "request.referer":
        return request.header("referer")
    if name == "request.useragent":
        return request.header("user-agent")
    if name == "request.id":
        return request.request_id
    if name == "request.protocol":
        return request.protocol
    if name == "request.time":
        return datetime.now(UTC).isoformat(timespec="microseconds")
    if name == "source.address":
        return _source(request)
    if name == "destination.address":
        return request.listener_address
    certificate = request.certificate
    if certificate is None:
        return None
    if name == "connection.subject_peer_certificate":
        return certificate.subject
    names = certificate.uris if name == "connection.uri_san_peer_certificate" else certificate.dns_names
    return names[0] if names else None


def _number(name: str, request: ClientRequest, response: ResponseHead | None) -> int:
    """The number of an attribute; negative when there is none."""
    if name == "request.size":
        head = request.head
        return head.content_length if head.has_body else 0
    if name == "source.port":
        return request.peer_port or -1
    if name == "destination.port":
        port = request.listener_address.rpartition(":")[2]
        return int(port) if port.isdigit() else -1
    if response is None:
        return -1
    if name == "response.code":
        return response.status
    if name == "response.size":
        return response.content_length
    return grpc_status.read_code(response.values(b"grpc-status"))  # of a response that is all in its head


def _source(request: ClientRequest) -> str:
    address = request.peer.decode("ascii", "replace")
    if not request.peer_port:
        return address
    return f"[{address}]:{request.peer_port}" if ":" in address else f"{address}:{request.peer_port}"
