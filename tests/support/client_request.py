"""A client's request that came over no connection, for what chooses by it."""

from __future__ import annotations

from tests.support.request_message import accepted, message
from vrata.proxy.failures import FailureAnswers
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.memory_connection import MemoryConnection
from vrata.proxy.listener.request import DownstreamRequest


def client_request(
    *fields: bytes, line: bytes = b"GET /", peer: str = "192.0.2.1", scheme: str = "http"
) -> DownstreamRequest:
    """A request with these header *fields*, from *peer*."""
    hop = Hop(peer.encode(), scheme.encode(), "127.0.0.1:80", None)
    return DownstreamRequest(
        MemoryConnection(hop, FailureAnswers("standard")), accepted(message(*fields, line=line + b" HTTP/1.1"))
    )
