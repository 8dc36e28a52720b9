"""The media types that a proxy treats in a way of their own, as values of Content-Type."""

from __future__ import annotations

import re
from typing import Final

_GRPC: Final = b"application/grpc"
_GRPC_LINE: Final = re.compile(rb"\r\n(?i:content-type):[\t ]*(?i:application/grpc)(?:[+; \t\r]|\Z)")
_UPGRADE_LINE: Final = re.compile(rb"\r\n(?i:upgrade):")
_AFTER_GRPC: Final = (b"", b"+", b";", b" ", b"\t")


def names_grpc(content_type: bytes) -> bool:
    """True when the value of Content-Type is ``application/grpc``, alone or with a ``+format`` or parameters."""
    media_type = content_type[: len(_GRPC)].lower()
    return media_type == _GRPC and content_type[len(_GRPC) : len(_GRPC) + 1] in _AFTER_GRPC


def looks_like_grpc(head: bytes) -> bool:
    """True when the text of a request's *head*, which may be malformed or unfinished, names gRPC as content type.

    Not where it asks for a tunnel.
    """
    head = head.partition(b"\r\n\r\n")[0]
    asks_for_tunnel = head.startswith(b"CONNECT ") or _UPGRADE_LINE.search(head) is not None
    return not asks_for_tunnel and _GRPC_LINE.search(head) is not None


def names_event_stream(content_type: bytes) -> bool:
    """True when the value of Content-Type is ``text/event-stream``, with whatever parameters."""
    return content_type.partition(b";")[0].strip(b" \t").lower() == b"text/event-stream"
