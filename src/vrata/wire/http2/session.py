"""One HTTP/2 connection without its transport, by nghttp2 where that was compiled in, else by hyper-h2."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from vrata.compilation import INTERPRETED
from vrata.wire.http2.contract import HIGH, LOW, PREFACE, Session, SessionLimits, StreamsExhausted
from vrata.wire.http2.interpreted_session import InterpretedSession

if TYPE_CHECKING or INTERPRETED:
    EngineSession = InterpretedSession
    ENGINE: str = f"hyper-h2 {version('h2')}: no compiled modules run"
else:
    try:
        from vrata.wire.http2.compiled_session import VERSION
        from vrata.wire.http2.compiled_session import CompiledSession as EngineSession

        ENGINE = f"nghttp2 {VERSION}"
    except ImportError as error:
        # It is compiled where nghttp2's header is at hand, and runs where its library is.
        EngineSession = InterpretedSession
        ENGINE = f"hyper-h2 {version('h2')}: " + (
            "nghttp2 was not at hand when this was compiled" if isinstance(error, ModuleNotFoundError) else str(error)
        )

__all__ = [
    "ENGINE",
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
    return EngineSession(limits, is_client=False, upgraded=upgraded)


def client_session(limits: SessionLimits, scheme: bytes) -> Session:
    """The session of a client, whose requests all have *scheme*."""
    return EngineSession(limits, is_client=True, scheme=scheme)
