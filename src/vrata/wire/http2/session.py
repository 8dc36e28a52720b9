"""One HTTP/2 connection without its transport, by nghttp2 where that was compiled in, else by hyper-h2."""

from __future__ import annotations

from vrata.wire.http2.contract import HIGH, LOW, PREFACE, Session, SessionLimits, StreamsExhausted
from vrata.wire.http2.interpreted_session import InterpretedSession

__all__ = [
    "HIGH",
    "LOW",
    "PREFACE",
    "Session",
    "SessionLimits",
    "StreamsExhausted",
    "client_session",
    "server_session",
]


def server_session(limits: SessionLimits, upgraded: bytes | None = None) -> Session:
    """The session of a server.

    *upgraded* is what HTTP2-Settings held, decoded, when the connection began with an upgrade (RFC 7540 §3.2): stream 1
    then waits for its response, without an event. Raises :class:`ValueError` when it is malformed.
    """
    return InterpretedSession(limits, is_client=False, upgraded=upgraded)


def client_session(limits: SessionLimits, scheme: bytes) -> Session:
    """The session of a client, whose requests all have *scheme*."""
    return InterpretedSession(limits, is_client=True, scheme=scheme)
