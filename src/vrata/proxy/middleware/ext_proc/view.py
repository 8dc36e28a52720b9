"""What a processor sees of heads."""

from __future__ import annotations

from vrata.policy.header_rules import HeaderRules
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.message import REQUEST_HEADERS, RESPONSE_HEADERS, Fields, Shown
from vrata.wire.http1.head import RequestHead, ResponseHead

_UNSEEN = frozenset(
    (
        # Of this hop alone (RFC 9110 §7.6.1), or seen as pseudo headers.
        *(b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"),
        *(b"transfer-encoding", b"proxy-authorization", b"http2-settings", b"expect"),
        # Claims of the client that do not go on as they are.
        *(b"forwarded", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-server"),
        *(b"x-forwarded-client-cert", b"x-vrata-attempt-count", b"x-request-attempt-count"),
        # Replaced by what goes upstream, below.
        b"x-request-id",
    )
)


def shown_request(request: ClientRequest, rules: HeaderRules, end: bool, *, observed: bool) -> Shown:
    """Return what is shown of the head of *request*: its fields as far as *rules* allow them; *end*: it has no body."""
    head = request.head
    pseudo = (
        (b":method", head.method),
        (b":path", head.target),
        (b":authority", head.authority),
        (b":scheme", request.scheme.encode("ascii")),
    )
    allows_all = rules.allow_all
    fields: list[tuple[bytes, bytes]] = []
    for line in head.lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name not in _UNSEEN and (allows_all or rules.allow(name)):
            fields.append((name, value.strip(b" \t")))
    if allows_all or rules.allow(b"x-request-id"):
        fields.append((b"x-request-id", request.request_id.encode("ascii")))
    return Shown(REQUEST_HEADERS, pseudo, fields, end=end, observed=observed)


def shown_response(head: ResponseHead, rules: HeaderRules, end: bool, *, observed: bool) -> Shown:
    """Return what is shown of *head*, the head of a response, as :func:`shown_request` does it."""
    fields = [field for field in fields_of(head.passed) if rules.allow(field[0])]
    if head.content_length >= 0 and rules.allow(b"content-length"):
        fields.append((b"content-length", b"%d" % head.content_length))
    if head.server is not None and rules.allow(b"server"):
        fields.append((b"server", head.server))
    return Shown(RESPONSE_HEADERS, ((b":status", b"%d" % head.status),), fields, end=end, observed=observed)


def fields_of(lines: list[bytes]) -> Fields:
    """Return names, in lower case, and values of field *lines*, in which no CRLF is."""
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def lines_of(trailers: bytes) -> list[bytes]:
    """Return the lines of *trailers*, each of which has a CRLF there, without it."""
    return trailers.split(b"\r\n")[:-1]


def names_in_request(head: RequestHead) -> set[bytes]:
    """Return the names, in lower case, of the fields of a request."""
    return {line[: line.index(b":")].lower() for line in head.lines}


def names_in_response(head: ResponseHead) -> set[bytes]:
    """Return the names, in lower case, of the fields of a response that may be changed."""
    names = {line[: line.index(b":")].lower() for line in head.passed}
    return names if head.server is None else names | {b"server"}
