"""Ways in which bytes may come in pieces."""

from __future__ import annotations

import random
from collections.abc import Iterator

BYTEWISE = 400
"""Bytes of the longest message that is sent byte by byte."""


def divisions(data: bytes) -> Iterator[list[bytes]]:
    """*data* cut at one, three and eight places, the same in every run, and between all bytes if it is short."""
    chance = random.Random(data)
    for count in (1, 3, 8):
        cuts = sorted(chance.sample(range(1, len(data)), min(count, len(data) - 1))) if data else []
        yield [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    if len(data) <= BYTEWISE:
        yield [bytes([value]) for value in data]
