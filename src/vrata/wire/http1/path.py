"""Paths in their normal form (RFC 3986 §6.2.2), so that the proxy and whatever is behind it take a path for the same.

What stays ambiguous, because servers differ in when they decode, is refused rather than guessed.
"""

from __future__ import annotations

import re
from typing import Final

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead
from vrata.wire.http1.target import decoded_path

_UNRESERVED: Final = re.compile(rb"%(4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa]|3[0-9]|2[DdEe]|5[Ff]|7[Ee])")
"""Encoded letters, digits, ``-``, ``.``, ``_`` and ``~`` (RFC 3986 §2.3)."""
_REFUSED: Final = re.compile(rb"\\|%5[Cc]|%00|%(?![0-9A-Fa-f]{2})")
"""What servers take for a slash, for the path's end, or for an escape that others do not see."""
_HIDDEN: Final = re.compile(rb"%2[Ff]|;|%3[Bb]")
"""What may hide the end of a segment: an encoded slash, and what begins its parameters."""
_DOTS: Final = frozenset((b".", b".."))
_BAD_REQUEST: Final = 400


class PathNormalization:
    """Gives the targets of requests paths in normal form, or refuses them."""

    __slots__ = ("_merges_slashes",)

    def __init__(self, *, merges_slashes: bool) -> None:
        """With *merges_slashes* several slashes in a row are one."""
        self._merges_slashes = merges_slashes

    def __repr__(self) -> str:
        return f"<PathNormalization {'merges' if self._merges_slashes else 'keeps'} slashes>"

    def settle(self, head: RequestHead) -> None:
        """Give *head*, of which nothing has been asked yet, its target in normal form; the query stays as it is.

        Raises :class:`~vrata.wire.http1.errors.MalformedMessage` for a path that has none.
        """
        if not head.has_plain_path(self._merges_slashes):
            path, mark, query = head.target.partition(b"?")
            if path.startswith(b"/"):
                head.target = normal_path(path, merges_slashes=self._merges_slashes) + mark + query


def normal_path(path: bytes, *, merges_slashes: bool) -> bytes:
    """Return *path*, which begins with a slash, in normal form.

    Unreserved characters are decoded, dot segments removed (RFC 3986 §5.2.4), and several slashes in a row made one
    where that is wanted. Other escapes stay as they are spelt.

    Raises :class:`~vrata.wire.http1.errors.MalformedMessage` for backslashes, NUL and broken escapes, and for a path
    that would have dot segments, or slashes to merge, if what it encodes were decoded, or parameters of segments
    (``..;a``) cut off.
    """
    refused = _REFUSED.search(path)
    if refused is not None:
        what = refused[0].decode("ascii")
        raise MalformedMessage(_BAD_REQUEST, f'the path has no normal form: "{what}" in it')
    path = _UNRESERVED.sub(_decoded, path)
    segments: list[bytes] = []
    parts = path.split(b"/")[1:]
    last = len(parts) - 1
    for at, part in enumerate(parts):
        if part in _DOTS:
            if part == b".." and segments:
                segments.pop()
            if at == last:
                segments.append(b"")
        elif part or at == last or not merges_slashes:
            segments.append(part)
    path = b"/" + b"/".join(segments)
    if _HIDDEN.search(path) is not None:
        _check_decoded(path, merges_slashes)
    return path


def _check_decoded(path: bytes, merges_slashes: bool) -> None:
    segments = decoded_path(path).split("/")[1:]
    for at, segment in enumerate(segments):
        name, parameters, _ = segment.partition(";")
        if name in (".", ".."):
            raise MalformedMessage(_BAD_REQUEST, "the path has no normal form: a hidden dot segment in it")
        if merges_slashes and not name and (parameters or at < len(segments) - 1):
            raise MalformedMessage(_BAD_REQUEST, "the path has no normal form: hidden slashes in a row in it")


def _decoded(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))
