"""Header fields as explanations show them: pairs of name and value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vrata.proxy.explain.entry import Document, shown

Pair = list[str]
"""Name and value."""


def field_pairs(lines: Iterable[bytes]) -> list[Pair]:
    """Return the fields of *lines*, in which no CRLF is."""
    pairs = []
    for line in lines:
        name, _, value = line.partition(b":")
        pairs.append([name.decode("latin-1"), shown(value.strip(b" \t").decode("utf-8", "surrogateescape"))])
    return pairs


def pairs_of_text(text: bytes) -> list[Pair]:
    """Return the fields of a *text* of lines, each with its CRLF."""
    return field_pairs(line for line in text.split(b"\r\n") if line)


def changes(before: Sequence[bytes], after: Sequence[bytes], left_out: bytes) -> Document:
    """Say what has become of the field lines *before*: which are ``set``, and the names of those that are ``removed``.

    The field x-request-id with the value *left_out* is none that anybody has set.
    """
    earlier, later = (
        {(name.lower(), value): [name, value] for name, value in field_pairs(lines)} for lines in (before, after)
    )
    made = ("x-request-id", left_out.decode("ascii"))
    added = [pair for key, pair in later.items() if key not in earlier and key != made]
    replaced = {name.lower() for name, _ in added}
    lost = dict.fromkeys(name for name, value in earlier if (name, value) not in later and name not in replaced)
    return edits(added, list(lost))


def edits(added: list[Pair], removed: list[str]) -> Document:
    """Return the document of what is done to fields; empty when that is nothing."""
    return ({"set": added} if added else {}) | ({"removed": removed} if removed else {})


def in_words(document: Document) -> list[str]:
    """The document of :func:`edits` for people."""
    words = []
    if "set" in document:
        words.append("sets " + ", ".join(f"{name}: {value}" for name, value in document["set"]))
    if "removed" in document:
        words.append("removes " + ", ".join(document["removed"]))
    return words
