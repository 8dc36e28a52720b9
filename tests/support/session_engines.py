"""The two engines of HTTP/2, and frames to feed them with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from hpack import Encoder

from tests.support import http2_frames
from tests.support.http2_frames import END_HEADERS, END_STREAM, FrameReader, Kind, frame
from vrata.wire.http2 import events
from vrata.wire.http2.contract import PREFACE, Session, SessionLimits
from vrata.wire.http2.events import Event
from vrata.wire.http2.interpreted_session import InterpretedSession

Fields = Sequence[tuple[bytes, bytes]]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = Kind.DATA, Kind.HEADERS, Kind.PRIORITY, Kind.RST_STREAM, Kind.SETTINGS
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = Kind.PUSH_PROMISE, Kind.PING, Kind.GOAWAY, Kind.WINDOW_UPDATE
CONTINUATION = Kind.CONTINUATION

GET: Fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.test"))
POST: Fields = ((b":method", b"POST"), *GET[1:])
OK: Fields = ((b":status", b"200"),)
TUNNEL: Fields = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:])


@dataclass(frozen=True)
class Engine:
    """One of the two."""

    name: str
    make: Any

    def server(self, limits: SessionLimits | None = None, upgraded: bytes | None = None) -> Session:
        session: Session = self.make(limits or SessionLimits(), is_client=False, upgraded=upgraded)
        return session

    def client(self, limits: SessionLimits | None = None, scheme: bytes = b"http") -> Session:
        session: Session = self.make(limits or SessionLimits(), is_client=True, scheme=scheme)
        return session

    def ready_server(self, limits: SessionLimits | None = None) -> Session:
        """A server that has met its client, and has nothing to say."""
        session = self.server(limits)
        session.receive(PREFACE + settings())
        while session.outgoing():
            pass
        return session

    def ready_client(self, limits: SessionLimits | None = None) -> Session:
        """A client that has met its server, which takes tunnels."""
        session = self.client(limits)
        session.receive(settings((8, 1)))
        while session.outgoing():
            pass
        return session


HYPER_H2 = Engine("hyper-h2", InterpretedSession)
COMPILED = "vrata.wire.http2.compiled_session"
NGHTTP2 = Engine("nghttp2", import_module(COMPILED).CompiledSession) if find_spec(COMPILED) else None

ENGINES = [
    pytest.param(engine, id=name, marks=() if engine else pytest.mark.skip(reason="nghttp2 was not at hand"))
    for name, engine in (("hyper-h2", HYPER_H2), ("nghttp2", NGHTTP2))
]
PAIRS = [
    pytest.param(
        client,
        server,
        id=f"{client_name}-to-{server_name}",
        marks=() if client and server else pytest.mark.skip(reason="nghttp2 was not at hand"),
    )
    for client_name, client in (("hyper-h2", HYPER_H2), ("nghttp2", NGHTTP2))
    for server_name, server in (("hyper-h2", HYPER_H2), ("nghttp2", NGHTTP2))
]
"""Client and server."""


def settings(*entries: tuple[int, int]) -> bytes:
    return http2_frames.settings(dict(entries))


def block(fields: Fields) -> bytes:
    """A field block that needs no state: every field is written out."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in fields)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    size -= 127
    prefix = bytearray((127,))
    while size >= 128:
        prefix.append(size & 127 | 128)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + text


def head(stream: int, fields: Fields, *, end: bool = False, cut: int = 0) -> bytes:
    """HEADERS; with *cut*, CONTINUATION frames of so many bytes each follow."""
    data = block(fields)
    size = cut or 16384
    pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    flags = END_STREAM if end else 0
    frames = frame(HEADERS, flags | (END_HEADERS if len(pieces) == 1 else 0), stream, pieces[0])
    for number, piece in enumerate(pieces[1:], 2):
        frames += frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece)
    return frames


def compressed_head(encoder: Encoder, stream: int, fields: Fields, *, end: bool = False) -> bytes:
    """HEADERS of a peer that compresses."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, encoder.encode(list(fields)))


_KEY = re.compile(rb"sec-websocket-key: [^\r]*")


def observed(happened: Iterable[Event]) -> list[Event]:
    """*happened* in a form that does not depend on how the bytes were cut, nor on words or chance."""
    seen: list[Event] = []
    for kind, stream, data, number in happened:
        if kind in (events.STREAM_ERROR, events.FAILED):
            assert data, "nothing for the log"
            seen.append((kind, stream, b"", number))
        else:
            seen.append((kind, stream, _KEY.sub(b"sec-websocket-key: (one)", data), number))
    return joined(seen)


def joined(happened: Iterable[Event]) -> list[Event]:
    """*happened* with parts of content that follow each other as one."""
    seen: list[Event] = []
    for event in happened:
        last = seen[-1] if seen else None
        if event[0] == events.CONTENT and last and last[:2] == event[:2] and not last[3]:
            seen[-1] = (*event[:2], last[2] + event[2], event[3])
        else:
            seen.append(event)
    return seen


def exchange(client: Session, server: Session) -> tuple[list[Event], list[Event]]:
    """Carry bytes between the two until neither has any: what happened at the client, and at the server."""
    at_client: list[Event] = []
    at_server: list[Event] = []
    for _ in range(1000):
        to_server, to_client = client.outgoing(), server.outgoing()
        if not to_server and not to_client:
            return observed(at_client), observed(at_server)
        if to_server:
            at_server += server.receive(to_server)
        if to_client:
            at_client += client.receive(to_client)
    raise AssertionError("they never come to an end")


def output(session: Session) -> list[tuple[int, int, int, bytes]]:
    """The frames that a session sends now: kind, flags, stream and payload."""
    reader = FrameReader()
    while piece := session.outgoing():
        reader.feed(piece)
    found = []
    while one := reader.next():
        found.append((one.kind, one.flags, one.stream, one.payload))
    return found
