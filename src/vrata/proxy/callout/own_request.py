"""The request for whose sake a callout is made where it is the proxy's own and no client's."""

from __future__ import annotations

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.memory_connection import MemoryConnection
from vrata.proxy.listener.request import DownstreamRequest
from vrata.wire.http1.head import parse_request_head


def own_request() -> ClientRequest:
    """Return a request that says nothing to those who choose by requests: it has no field, no cookie, no address."""
    head = parse_request_head(b"GET / HTTP/1.0\r\n\r\n")
    assert head is not None
    return DownstreamRequest(MemoryConnection(Hop(b"", b"http", "", None), FailureAnswers("standard")), head)
