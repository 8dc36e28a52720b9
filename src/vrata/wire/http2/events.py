"""What a session has to tell after it has received bytes.

An event is a tuple of four: what happened, on which stream (0: on none), bytes, and a number. Plain tuples, since there
are several for each request.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Event: TypeAlias = tuple[int, int, bytes, int]

HEAD: Final = 1
"""A request, or the final response: the text of an HTTP/1 head, and 1 when nothing follows it, else 0.

A message of unknown length, which something follows, has ``transfer-encoding: chunked`` in that text. A request for a
tunnel (RFC 8441) is the upgrade to WebSocket that it stands for.
"""
INFORMATIONAL: Final = 2
"""A 1xx response: the text of its head."""
CONTENT: Final = 3
"""A part of the content, perhaps empty, and 1 when it is the last and no trailers follow, else 0."""
TRAILERS: Final = 4
"""The trailer lines that may go on, each with its CRLF; nothing follows them."""
RESET: Final = 5
"""The peer has ended the stream, with that error code."""
STREAM_ERROR: Final = 6
"""The peer broke a rule, and the stream has been reset with that code: the bytes say why, for the log.

The stream may be one that no ``HEAD`` was told of, because its head was what was wrong.
"""
GOAWAY: Final = 7
"""The peer ends the connection, with that code: of our streams, those above the one named here were not acted on."""
SETTINGS: Final = 8
"""The peer's settings have come, the first time or anew."""
PONG: Final = 9
"""The answer to a ping: its eight bytes."""
FAILED: Final = 10
"""The peer broke a rule of the connection, which is over: the bytes say why. A GOAWAY with that code is to be sent yet.

It is the last event.
"""
