"""Whether readers agree, and where one of them is known to refuse what is a proper message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.robustness.message import Ending, Message, Reading

_LLHTTP_METHODS = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND "
    b"UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK "
    b"UNLINK SOURCE QUERY".split()
)


def _h11(message: Message) -> bool:
    return False


def _httptools(message: Message) -> bool:
    return message.method not in _LLHTTP_METHODS


def _nginx(message: Message) -> bool:
    path = message.target.partition(b"?")[0]
    return (
        re.fullmatch(rb"[A-Z_-]+", message.method) is None
        or message.method == b"TRACE"
        or re.search(rb"%(?![0-9A-Fa-f]{2})|%00", path) is not None
        or _climbs_out(path)
        or b".." in message.host
    )


def _climbs_out(path: bytes) -> bool:
    """Whether *path*, decoded once, has more ``..`` than segments at some place."""
    decoded = re.sub(rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), path)
    depth = 0
    for segment in re.sub(rb"/+", b"/", decoded).split(b"/")[1:]:
        if segment == b"..":
            depth -= 1
        elif segment != b".":
            depth += 1
        if depth < 0:
            return True
    return False


NARROWER: Mapping[str, Callable[[Message], bool]] = {"h11": _h11, "httptools": _httptools, "nginx": _nginx}
"""For each reader: whether it refuses this message although it is a proper one. httptools knows a list of methods.
nginx takes methods of upper-case letters, no TRACE, no host with two dots in a row, and no path that is badly encoded,
holds a NUL or leaves the root. A reader that refuses closes the connection: it sees nothing where there is something,
never something else.
"""


class Disagreement(AssertionError):  # noqa: N818 - it names what was found
    """Two readers see different messages in the same bytes."""


def agreed(readings: Mapping[str, Reading]) -> Reading:
    """What all *readings* of the same bytes have in common; raises :class:`Disagreement` when that is not all."""
    reference = readings["h11"]
    if reference.ending is Ending.REFUSED:
        raise Disagreement(f"h11 refuses what was sent on: {readings}")
    for name, reading in readings.items():
        if reading.ending is Ending.REFUSED:
            seen = len(reading.messages)
            further = [*reference.messages, *([reference.unfinished] if reference.unfinished else [])][seen:]
            if reading.messages != reference.messages[:seen] or not further or not NARROWER[name](further[0]):
                raise Disagreement(f"{name} refuses what was sent on: {readings}")
        elif (reading.messages, reading.ending) != (reference.messages, reference.ending):
            raise Disagreement(f"{name} sees other messages: {readings}")
        elif name != "nginx" and reading.unfinished != reference.unfinished:
            raise Disagreement(f"{name} sees another unfinished message: {readings}")
        if name != "nginx":  # which passes fields on, but not unchanged
            for ours, theirs in zip(reference.messages, reading.messages, strict=False):
                if (ours.fields, ours.trailers) != (theirs.fields, theirs.trailers):
                    raise Disagreement(f"{name} sees other fields: {ours.fields} {theirs.fields}")
    return reference
