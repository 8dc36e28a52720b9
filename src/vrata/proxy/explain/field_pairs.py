"""Header fields as explanations show them: pairs of name and value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vrata.proxy.explain.entry import Document, shown

Pair = list[str]
"""Name and value."""


def field_pairs(lines: Iterable[bytes]) -> list[Pair]:
    """Return the fields of *lines*, in which no CRLF is."""
    split = (line.partition(b":") for line in lines)
    return [_pair(name, value.strip(b" \t")) for name, _, value in split]


def pairs_of_text(text: bytes) -> list[Pair]:
    """Return the fields of a *text* of lines, each with its CRLF."""
    return field_pairs(line for line in text.split(b"\r\n") if line)


def pairs_told(fields: Iterable[tuple[bytes, bytes]], made_identifier: bytes) -> list[Pair]:
    """Return *fields* that another service is told, but for an identifier that is another one for every request."""
    return without_made([_pair(name, value) for name, value in fields], made_identifier)


def without_made(pairs: list[Pair], made_identifier: bytes) -> list[Pair]:
    """Return *pairs* but for X-Request-Id where it is *made_identifier*, which nobody has set; empty for none."""
    made = made_identifier.decode("ascii")
    return [pair for pair in pairs if pair[0].lower() != "x-request-id" or pair[1] != made]


def changes(before: Sequence[bytes], after: Sequence[bytes], made_identifier: bytes) -> Document:
    """Say what has become of the field lines *before*: which are ``set``, and the names of those that are ``removed``.

    Those that are set are without X-Request-Id as :func:`without_made` has it.
    """
    earlier, later = (
        {(name.lower(), value): [name, value] for name, value in field_pairs(lines)} for lines in (before, after)
    )
    added = without_made([pair for key, pair in later.items() if key not in earlier], made_identifier)
    replaced = {name.lower() for name, _ in added}
    lost = dict.fromkeys(name for name, value in earlier if (name, value) not in later and name not in replaced)
    return edits(added, list(lost))


def not_set(names: Iterable[bytes], added: Iterable[Pair]) -> list[str]:
    """Return those of *names*, in lower case, that are no name in *added*."""
    told = {name.lower() for name, _ in added}
    return [name for name in (each.decode("ascii") for each in names) if name not in told]


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


def _pair(name: bytes, value: bytes) -> Pair:
    return [name.decode("latin-1"), shown(value.decode("utf-8", "surrogateescape"))]
