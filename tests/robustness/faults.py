"""Faults that make two readers of a message disagree, and the pieces that the corpus consists of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from tests.robustness.case import SMUGGLED
from tests.support.mutation import SNIPPETS

LONGEST_PIECE = 2000
"""Bytes of a piece of the corpus that is worth combining with others."""
_CHARACTERS = [
    bytes([value]) for value in b"\x00\t\n\x0b\x0c\r\x1b \"#%&'(),-./:;<=>?@[\\]_`{|}~\x7f\x80\x85\xa0\xff+09AFGafgx"
]
_SNIPPETS = [
    *SNIPPETS,
    *(b"\r\n0\r\n\r\n", SMUGGLED, b"\nTransfer-Encoding: chunked", b"\rContent-Length: 9", b";\n", b"0x", b"%0a"),
]

_SEPARATORS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\r",
    b"\x00",
    b"\x0b",
    b"\r\n ",
    b"\r\n\t",
    b"\n\n",
    b"\r\r\n",
    b"\x85",
    b", ",
    b";",
]
"""What some reader takes for the end of a line, or for none."""
_WEIGHTY = [b"Transfer-Encoding: chunked", b"Content-Length: 0", b"Content-Length: 5", b"X: 1", b"Host: evil.test"]
"""Lines that change what a message is."""


def split_heads(messages: Iterable[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """First lines, field lines and what follows the heads of *messages*, each once."""
    first: dict[bytes, None] = {}
    fields: dict[bytes, None] = {}
    behind: dict[bytes, None] = {}
    for data in messages:
        head, _, rest = data.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        for piece, found in [(line, first), (rest, behind), *((each, fields) for each in lines)]:
            if len(piece) <= LONGEST_PIECE:
                found[piece] = None
    return list(first), list(fields), list(behind)


@st.composite
def faulty(draw: st.DrawFn, data: bytes, lines: Sequence[bytes]) -> bytes:
    """*data* with up to three faults, mostly where something begins or ends; *lines* are some of what is inserted."""
    hidden = st.tuples(st.sampled_from(_SEPARATORS), st.sampled_from([*lines, *_WEIGHTY]))
    inserted = st.one_of(st.sampled_from(_CHARACTERS), st.sampled_from(_SNIPPETS), hidden.map(b"".join))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        marks = [found.start() for found in re.finditer(rb"[\r\n:, ;]", data)]
        at = draw(st.one_of(st.sampled_from(marks or [0]), st.integers(0, len(data))))
        match draw(st.sampled_from(["insert", "insert", "delete", "replace", "repeat", "flip", "move"])):
            case "insert":
                data = data[:at] + draw(inserted) + data[at:]
            case "delete":
                data = data[:at] + data[at + draw(st.integers(1, 4)) :]
            case "replace":
                new = draw(inserted)
                data = data[:at] + new + data[at + len(new) :]
            case "repeat":
                data = data[:at] + data[at : at + draw(st.integers(1, 40))] + data[at:]
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
            case "move":
                end, to = at + draw(st.integers(1, 30)), draw(st.integers(0, at))
                data = data[:to] + data[at:end] + data[to:at] + data[end:]
    return data
