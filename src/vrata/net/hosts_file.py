"""The hosts file: names whose addresses the system's administrator has laid down. They win over the DNS."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import structlog

from vrata.net.cached_name import Family

HOSTS = Path("/etc/hosts")

_log = structlog.get_logger("vrata.net")

Addresses = dict[Family, tuple[str, ...]]

_LOOPBACK: Addresses = {Family.V6: ("::1",), Family.V4: ("127.0.0.1",)}


class HostsFile:
    """Names and their addresses; read again when the file has changed."""

    def __init__(self, path: Path = HOSTS) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._names: dict[str, Addresses] = {}

    def __repr__(self) -> str:
        return f"<HostsFile {self._path}, {len(self._names)} names>"

    def addresses(self, name: str) -> Addresses | None:
        """The addresses of *name*, by family; None when the file has none of either.

        ``localhost`` and what is below it is this machine, whatever the file says or leaves out (RFC 6761 §6.3).
        """
        self._review()
        name = name.lower().removesuffix(".")
        found = self._names.get(name)
        if found is None and (name == "localhost" or name.endswith(".localhost")):
            return _LOOPBACK
        return found

    def _review(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._names = parse(self._path.read_text("utf-8", "replace"))
                self._stamp = stamp
        except FileNotFoundError:
            self._names, self._stamp = {}, None
        except OSError as error:
            # What was read stays: a file that cannot be read for a moment has not become empty.
            _log.warning("hosts file cannot be read", path=str(self._path), reason=str(error))


def parse(text: str) -> dict[str, Addresses]:
    """Names, in lower case, with their addresses in the order of the file; what is no address is passed over."""
    names: dict[str, Addresses] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) < 2:
            continue
        try:
            address = ipaddress.ip_address(fields[0])
        except ValueError:
            continue
        if "%" in fields[0]:
            continue  # of one interface only: there is no way to say which
        family = Family.V6 if address.version == 6 else Family.V4
        for name in fields[1:]:
            found = names.setdefault(name.lower().removesuffix("."), {})
            if str(address) not in found.get(family, ()):
                found[family] = (*found.get(family, ()), str(address))
    return names
