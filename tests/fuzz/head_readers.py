"""The two readers of heads, and what is asked of both for requests and responses alike."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from vrata.wire.http1 import interpreted_head
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import MAX_HEAD

try:
    TWINS = (import_module("vrata.wire.http1.compiled_head"), interpreted_head)
except ImportError:  # no compiler was at hand: the one twin is still held to h11 and to itself
    TWINS = (interpreted_head, interpreted_head)


def agreed_verdict(parser: str, data: bytes) -> int | None:
    """What both twins' function *parser* says of *data*, under any limit and of any beginning.

    It is the size of the head, None while it is unfinished, minus the status of a refusal. Raises ``AssertionError``
    where they differ.
    """
    parsers = [getattr(twin, parser) for twin in TWINS]

    def verdict(parse: Callable[[bytes, int], Any], data: bytes, limit: int = MAX_HEAD) -> int | None:
        try:
            head = parse(data, limit)
        except MalformedMessage as refusal:
            return -refusal.status
        return None if head is None else int(head.size)

    digest = zlib.crc32(data)
    limit = 32 + digest % 512
    assert verdict(parsers[0], data, limit) == verdict(parsers[1], data, limit)
    whole = verdict(parsers[0], data)
    for parse in parsers:
        for cut in (digest % (len(data) + 1), len(data) // 2, len(data) - 1):
            _check_beginning(verdict(parse, data[: max(cut, 0)]), whole)
    return whole


def _check_beginning(beginning: int | None, whole: int | None) -> None:
    """What is said of the beginning of a message must hold for all of it; what is wrong with it may become more."""
    if beginning is not None:
        assert whole is not None
        assert whole == beginning if beginning > 0 else whole < 0
