"""Rewriting: the target and authority that an upstream sees instead of the client's.

Conditions and patterns see the path percent-decoded, yet what goes upstream keeps the client's spelling wherever it
was not replaced. That works because every decoded byte stems from one piece of the raw path, the byte itself or one
``%XX``: a span of the decoded path is a span of the raw path. So ``/api%2Fa%20b`` with the prefix ``/api`` replaced
by ``/internal`` becomes ``/internal/a%20b``: what is sent decodes to what the decoded path would have become.

What the configuration puts in is encoded where a path cannot hold it (spaces, ``#``, non-ASCII as UTF-8); ``%`` stays,
so that it can hold escapes of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from vrata.expressions.pattern import compile_pattern
from vrata.model.rewrite import Rewrite as RewriteEntity
from vrata.proxy.routing.candidate import Match

_PATH_SAFE: Final = "/:@!$&'()*+,;=%~"
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_LEADING_SLASHES: Final = re.compile(rb"(?:/|%2[Ff])*")
_REFERENCE: Final = re.compile(r"\\(?:(?P<digit>[0-9])|\\)|\$(?:(?P<number>[0-9]+)|\{(?P<name>\w+)\}|\$)", re.ASCII)
_QUERY_DELIMITER: Final = re.compile(rb"[&=+;]")
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]+")


def raw_offset(raw: bytes, decoded: int) -> int:
    """Return where in the *raw* path the first *decoded* bytes of the decoded path end."""
    if b"%" not in raw:
        return decoded
    shift = 0
    for escape in _ESCAPE.finditer(raw):
        if escape.start() - shift >= decoded:
            break
        shift += 2
    return decoded + shift


class PathReplacement:
    """Replaces the matched part of the path and keeps the remainder.

    Exactly one slash joins the two: those that the remainder begins with, also as ``%2F``, make way for it. Where
    nothing remains, the text is all.
    """

    __slots__ = ("_head", "_text")

    def __init__(self, text: str) -> None:
        encoded = quote(text, safe=_PATH_SAFE).encode("ascii")
        self._text = encoded if encoded.startswith(b"/") else b"/" + encoded
        self._head = self._text.rstrip(b"/") + b"/"

    def apply(self, target: bytes, matched: int) -> bytes:
        """Return the new form of *target*, whose decoded path was matched in its first *matched* bytes."""
        raw, mark, query = target.partition(b"?")
        end = raw_offset(raw, matched)
        if end >= len(raw):
            return self._text + mark + query
        slashes = _LEADING_SLASHES.match(raw, end)
        assert slashes is not None
        return self._head + raw[slashes.end() :] + mark + query


class PathSubstitution:
    r"""Replaces every match of a pattern in the path, from left to right, without overlaps.

    The substitution may hold ``\N``, ``$N`` or ``${name}`` for what a group took (nothing when it took no part), and
    ``\\`` and ``$$`` for themselves. Its first ``?`` ends the path; what follows it becomes the head of the query, in
    front of the client's. Text of the path that comes to stand in the query cannot delimit parameters there: its
    ``&``, ``=``, ``+`` and ``;`` are encoded.
    """

    __slots__ = ("_parts", "_pattern")

    def __init__(self, pattern: str, substitution: str) -> None:
        """Raises ValueError when *pattern* is not valid RE2 or *substitution* refers to a group it does not have."""
        self._pattern = compile_pattern(pattern, capture=True)
        self._parts = _parse_substitution(substitution, self._pattern)

    def apply(self, target: bytes) -> bytes:
        """Return the new form of *target*."""
        raw, _, query = target.partition(b"?")
        path = unquote_to_bytes(raw) if b"%" in raw else raw
        offsets = _offsets(raw) if b"%" in raw else None
        pieces: list[bytes] = []
        in_query = False

        def keep(start: int, end: int) -> None:
            kept = raw[start:end] if offsets is None else raw[offsets[start] : offsets[end]]
            pieces.append(_QUERY_DELIMITER.sub(_percent, kept) if in_query else kept)

        at = 0
        last_end = -1
        for found in self._pattern.finditer(path):
            start, end = found.span()
            # An empty match is none right behind another match, nor inside a character.
            if start == end and (start == last_end or (start < len(path) and path[start] & 0xC0 == 0x80)):
                continue
            keep(at, start)
            for part in self._parts:
                if isinstance(part, bytes):
                    pieces.append(part)
                    in_query = in_query or b"?" in part
                else:
                    group_start, group_end = found.span(part)
                    if group_start >= 0:
                        keep(group_start, group_end)
            at = last_end = end
        if last_end < 0:
            return target
        keep(at, len(path))
        new_path, _, new_query = b"".join(pieces).partition(b"?")
        if not new_path.startswith(b"/"):
            new_path = b"/" + new_path
        queries = [each for each in (new_query, query) if each]
        return new_path + b"?" + b"&".join(queries) if queries else new_path


def _parse_substitution(substitution: str, pattern: Any) -> tuple[bytes | int, ...]:
    """Return the literal texts and the numbers of groups that *substitution* is made of."""
    parts: list[bytes | int] = []
    literal = ""
    at = 0
    names: dict[bytes, int] = pattern.groupindex
    for reference in _REFERENCE.finditer(substitution):
        literal += substitution[at : reference.start()]
        at = reference.end()
        number = reference["digit"] or reference["number"]
        name = reference["name"]
        if name is not None and name.isdigit():
            number, name = name, None
        if number is None and name is None:
            literal += substitution[at - 1]
            continue
        group = int(number) if number is not None else names.get(name.encode(), -1)
        if not 0 <= group <= pattern.groups:
            raise ValueError(
                f"invalid substitution {substitution!r}: {reference.group()} refers to a group that the pattern "
                "does not have"
            )
        if literal:
            parts.append(_encoded_literal(literal))
            literal = ""
        parts.append(group)
    literal += substitution[at:]
    if literal:
        parts.append(_encoded_literal(literal))
    return tuple(parts)


def _encoded_literal(text: str) -> bytes:
    return quote(text, safe=_PATH_SAFE + "?").encode("ascii")


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found.group()[0]


def _offsets(raw: bytes) -> list[int]:
    """Return where in *raw* each decoded byte begins, and the end."""
    offsets: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(raw):
        offsets += range(at, escape.start() + 1)
        at = escape.end()
    offsets += range(at, len(raw) + 1)
    return offsets


class Rewrite:
    """What one route rewrites; settings made once, asked for every request."""

    __slots__ = ("_auto_host", "_header", "_host", "_replacement", "_substitution")

    def __init__(self, entity: RewriteEntity) -> None:
        """Raises ValueError, naming the field, for a pattern or substitution that cannot be compiled."""
        self._replacement = PathReplacement(entity.path) if entity.path else None
        self._substitution: PathSubstitution | None = None
        if entity.path_regex is not None:
            try:
                self._substitution = PathSubstitution(entity.path_regex.pattern, entity.path_regex.substitution)
            except ValueError as error:
                raise ValueError(f"forward.rewrite.pathRegex: {error}") from error
        self._host = entity.host.encode()
        self._header = entity.host_from_header.lower()
        self._auto_host = entity.auto_host

    def target(self, received: bytes, path: str, match: Match[Any]) -> bytes:
        """Return the request target to send for the one *received*, whose decoded *path* gave the *match*.

        Only targets in origin form are rewritten (RFC 9112 §3.2.1): ``*`` has no path.
        """
        if not received.startswith(b"/"):
            return received
        if self._replacement is not None:
            return self._replacement.apply(received, match.end(path))
        if self._substitution is not None:
            return self._substitution.apply(received)
        return received

    def authority(self, received: bytes, header: Callable[[str], str | None], destination_host: str) -> bytes:
        """Return the Host to send for the one *received*.

        A request *header* that is absent, or holds what cannot be a host, changes nothing.
        """
        if self._host:
            return self._host
        if self._header:
            value = header(self._header)
            return value.encode("ascii") if value is not None and _AUTHORITY.fullmatch(value) else received
        if self._auto_host:
            host = f"[{destination_host}]" if ":" in destination_host else destination_host
            return host.encode()
        return received
