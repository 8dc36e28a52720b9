"""Reviews of TLS material: files read in, everything checked, and what was good kept while what is new is not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from vrata.model.destination import Destination
from vrata.model.listener import Listener
from vrata.model.pem import certificate_facts
from vrata.model.tls import DestinationTls, ListenerCertificate, ListenerTls
from vrata.net import upstream_tls
from vrata.net.server_tls import (
    certificate_context,
    certificate_with_files_read,
    default_with_files_read,
    files_of,
    listener_context,
)
from vrata.net.tls_material import TlsMaterialError
from vrata.proxy import amendments
from vrata.proxy.status import CertificateStatus, EntityProblem, TlsStatus
from vrata.proxy.supervisor.document import ListenerEntry, SecuredDestination, SnapshotDocument

Stamps = Mapping[Path, tuple[int, ...]]
"""What tells whether a file has changed; nothing for a file that is not there."""

_NOT_SERVED = "not served"
_LEFT_OUT = "left out"
_KEPT = "still served with the last good certificate"
_STILL_USED = "the last good one is still used"


@dataclass(frozen=True, slots=True)
class TlsReview:
    """What a document's listeners and destinations are secured with. Equal to another one that comes to the same."""

    material: Mapping[str, ListenerTls] = field(default_factory=dict, repr=False)
    """By listener ID, no files in it."""
    destinations: Mapping[str, DestinationTls] = field(default_factory=dict, repr=False)
    """By destination ID, no files in it; of those that are spoken to over TLS, and that there is something for."""
    problems: tuple[EntityProblem, ...] = ()
    """Listeners and destinations with material that cannot be used: it is left out, or what was good before is kept."""
    left_out: frozenset[str] = frozenset()
    """Addresses of the listeners that have nothing to serve with."""
    amendments: bytes = field(default=b"", repr=False)
    """For the workers (:mod:`vrata.proxy.amendments`)."""
    stamps: Stamps = field(default_factory=dict, compare=False)
    """Of the files as they were before they were read."""
    certificates: Mapping[str, Mapping[ListenerCertificate, ListenerCertificate]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """By listener ID: of each further certificate that is in use, as the document states it, the texts of its files."""
    status: Mapping[str, TlsStatus] = field(default_factory=dict, compare=False)
    """By listener ID."""


def review(document: SnapshotDocument, last: TlsReview) -> TlsReview:
    """Look at the material of *document*; *last* is what is in use now. Reads files, so it may take a while."""
    listeners = _ReviewedListeners(document.listeners, last)
    destinations = _ReviewedDestinations(document.secured_destinations, last.destinations)
    return TlsReview(
        listeners.material,
        destinations.material,
        (*listeners.problems, *destinations.problems),
        frozenset(listeners.left_out),
        amendments.encode(listeners.amended, destinations.amended),
        listeners.stamps | destinations.stamps,
        listeners.certificates,
        listeners.status,
    )


class _ReviewedListeners:
    """The material of all listeners, by ID."""

    def __init__(self, listeners: Iterable[ListenerEntry], last: TlsReview) -> None:
        self.material: dict[str, ListenerTls] = {}
        self.certificates: dict[str, Mapping[ListenerCertificate, ListenerCertificate]] = {}
        self.status: dict[str, TlsStatus] = {}
        self.amended: dict[str, ListenerTls | None] = {}
        self.problems: list[EntityProblem] = []
        self.left_out: set[str] = set()
        self.stamps: dict[Path, tuple[int, ...]] = {}
        for listener in listeners:
            if listener.tls is not None:
                self._add(listener, listener.tls, last)

    def _add(self, listener: ListenerEntry, stated: ListenerTls, last: TlsReview) -> None:
        self.stamps.update((path, stamp_of(path)) for path in files_of(stated))
        kept = last.material.get(listener.id)
        found = _ReviewedListener(stated, kept, last.certificates.get(listener.id, {}))
        self.problems += (EntityProblem(Listener.kind, listener.id, listener.name, reason) for reason in found.problems)
        if found.material is None:
            self.left_out.add(listener.address)
            self.amended[listener.id] = None
        else:
            self.material[listener.id] = found.material
            self.certificates[listener.id] = found.certificates
            if found.material != stated:
                self.amended[listener.id] = found.material
        self.status[listener.id] = _status(found, kept, last.status.get(listener.id))


class _ReviewedDestinations:
    """The material of all destinations that are spoken to over TLS, by ID."""

    def __init__(self, destinations: Iterable[SecuredDestination], last: Mapping[str, DestinationTls]) -> None:
        self.material: dict[str, DestinationTls] = {}
        self.amended: dict[str, DestinationTls | None] = {}
        self.problems: list[EntityProblem] = []
        self.stamps: dict[Path, tuple[int, ...]] = {}
        # Those with the same settings share a context for as long as one of them has it.
        self._made: list[upstream_tls.UpstreamTls] = []
        for destination in destinations:
            self._add(destination, last.get(destination.id))
        self._made.clear()

    def _add(self, destination: SecuredDestination, kept: DestinationTls | None) -> None:
        stated = destination.tls
        self.stamps.update((path, stamp_of(path)) for path in upstream_tls.files_of(stated))
        found: DestinationTls | None
        try:
            found = upstream_tls.with_files_read(stated)
            if found != kept:
                self._made.append(upstream_tls.upstream_tls(found, destination.host))  # OpenSSL has the last word
        except TlsMaterialError as error:
            reason = f"options.{error} ({_LEFT_OUT if kept is None else _STILL_USED})"
            self.problems.append(EntityProblem(Destination.kind, destination.id, destination.name, reason))
            found = kept
        if found is not None:
            self.material[destination.id] = found
        if found != stated:
            self.amended[destination.id] = found


class _ReviewedListener:
    """The material of one listener: what *stated* says, and where that is no good, what was served with before."""

    def __init__(
        self,
        stated: ListenerTls,
        kept: ListenerTls | None,
        kept_certificates: Mapping[ListenerCertificate, ListenerCertificate],
    ) -> None:
        self.problems: list[str] = []
        self._owners: dict[str, int] = {}
        """Which certificate has a name, by its index in the document."""
        self.certificates: dict[ListenerCertificate, ListenerCertificate] = {}
        self.material: ListenerTls | None = None
        """None when there is nothing to serve with."""
        try:
            found = _alone(default_with_files_read(stated))
            is_new = kept is None or found != _alone(kept)
            if is_new:
                listener_context(found)  # OpenSSL has the last word
        except TlsMaterialError as error:
            self.problems.append(f"{error} ({_NOT_SERVED if kept is None else _KEPT})")
            self.material = kept
            self.certificates.update(kept_certificates)
            return
        for index, certificate in enumerate(stated.certificates):
            self._add(found, is_new, index, certificate, kept_certificates.get(certificate))
        further = tuple(self.certificates.values())
        if further:
            found = found.model_copy(update={"certificates": further})
        # As the document has it where that comes to the same: then there is nothing to amend.
        self.material = stated if found == stated else found

    def _add(
        self,
        default: ListenerTls,
        is_new: bool,
        index: int,
        stated: ListenerCertificate,
        kept: ListenerCertificate | None,
    ) -> None:
        """One certificate that is no good leaves the others as they are. *default* is what they share, if that *is_new*
        all are checked again."""
        member = f"certificates[{index}]"
        try:
            read = certificate_with_files_read(stated, member)
            if is_new or read != kept:
                certificate_context(default, read, member)
            for name in self._taken_names(read):
                reason = f'"{name}" is a name of certificates[{self._owners[name]}] as well'
                raise TlsMaterialError(f"tls.{member}: {reason}")
        except TlsMaterialError as error:
            # What others have taken meanwhile, it cannot have back.
            usable = None if kept is None or self._taken_names(kept) else kept
            self.problems.append(f"{error} ({_LEFT_OUT if usable is None else _KEPT})")
            if usable is None:
                return
            read = usable
        self.certificates[stated] = read
        self._owners.update(dict.fromkeys(read.server_names or (), index))

    def _taken_names(self, certificate: ListenerCertificate) -> list[str]:
        return [name for name in certificate.server_names or () if name in self._owners]


def _alone(tls: ListenerTls) -> ListenerTls:
    """*tls* without the further certificates."""
    return tls.model_copy(update={"certificates": ()}) if tls.certificates else tls


def _status(found: _ReviewedListener, before: ListenerTls | None, status: TlsStatus | None) -> TlsStatus:
    if found.material is None:
        return TlsStatus(None, (), tuple(found.problems))
    loaded_at = datetime.now(UTC)
    if status is not None and status.loaded_at is not None and found.material == before:
        loaded_at = status.loaded_at
    default = certificate_facts(found.material.cert)
    further = (
        CertificateStatus(certificate.server_names or (), certificate_facts(certificate.cert).not_after)
        for certificate in found.material.certificates
    )
    certificates = (CertificateStatus(default.names, default.not_after, is_default=True), *further)
    return TlsStatus(loaded_at, certificates, tuple(found.problems))


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
