"""Reviews of TLS material: files read in, everything checked, and what was good kept while what is new is not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vrata.model.listener import Listener
from vrata.model.tls import ListenerTls
from vrata.net.server_tls import TlsMaterialError, files_of, listener_context, with_files_read
from vrata.proxy import amendments
from vrata.proxy.status import EntityProblem
from vrata.proxy.supervisor.document import ListenerEntry

Stamps = Mapping[Path, tuple[int, ...]]
"""What tells whether a file has changed; nothing for a file that is not there."""


@dataclass(frozen=True, slots=True)
class TlsReview:
    """What a document's listeners serve with. Equal to another one that comes to the same."""

    material: Mapping[str, ListenerTls] = field(default_factory=dict, repr=False)
    """By listener ID, no files in it."""
    problems: tuple[EntityProblem, ...] = ()
    """Listeners whose material cannot be used: left out, or served with the last good one."""
    left_out: frozenset[str] = frozenset()
    """Addresses of the listeners that have nothing to serve with."""
    amendments: bytes = field(default=b"", repr=False)
    """For the workers (:mod:`vrata.proxy.amendments`)."""
    stamps: Stamps = field(default_factory=dict, compare=False)
    """Of the files as they were before they were read."""


def review(listeners: Iterable[ListenerEntry], last: TlsReview) -> TlsReview:
    """Look at the material of *listeners*; *last* is what is served with now. Reads files, so it may take a while."""
    material: dict[str, ListenerTls] = {}
    amended: dict[str, ListenerTls | None] = {}
    problems: list[EntityProblem] = []
    left_out: set[str] = set()
    stamps: dict[Path, tuple[int, ...]] = {}
    for listener in listeners:
        if listener.tls is None:
            continue
        stamps.update((path, stamp_of(path)) for path in files_of(listener.tls))
        kept = last.material.get(listener.id)
        try:
            found = with_files_read(listener.tls)
            if found != kept:
                listener_context(found)  # OpenSSL has the last word
        except TlsMaterialError as error:
            consequence = "not served" if kept is None else "still served with the last good certificate"
            problems.append(EntityProblem(Listener.kind, listener.id, listener.name, f"{error} ({consequence})"))
            if kept is None:
                left_out.add(listener.address)
                amended[listener.id] = None
                continue
            found = kept
        material[listener.id] = found
        if found != listener.tls:
            amended[listener.id] = found
    return TlsReview(material, tuple(problems), frozenset(left_out), amendments.encode(amended), stamps)


def have_changed(stamps: Stamps) -> bool:
    """Whether any of the files is another one than it was."""
    return any(stamp_of(path) != stamp for path, stamp in stamps.items())


def stamp_of(path: Path) -> tuple[int, ...]:
    """What changes with every change of the file, links followed; empty when it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
