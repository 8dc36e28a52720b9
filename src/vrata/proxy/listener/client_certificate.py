"""A client's verified certificate, as expressions see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

_SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""The names that RFC 4514 §3 lists, by those that OpenSSL uses."""
# RFC 4514 §2.4: what ends or changes a value, a number sign or space before it, a space behind it.
_SPECIAL = re.compile(r'[",+;<>\\]|^[ #]| $')


class ClientCertificate:
    """Implements :class:`vrata.expressions.PeerCertificate`. What nobody asks for is not looked up."""

    def __init__(self, certificate: Mapping[str, Any]) -> None:
        """*certificate* is as ``SSLSocket.getpeercert`` describes one that was verified."""
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"<ClientCertificate {self.subject}>"

    @cached_property
    def uris(self) -> tuple[str, ...]:
        """URI names of the subject alternative name."""
        return self._names("URI")

    @cached_property
    def dns_names(self) -> tuple[str, ...]:
        """DNS names of the subject alternative name."""
        return self._names("DNS")

    @cached_property
    def subject(self) -> str:
        """The distinguished name, the last part first, in the form of RFC 4514."""
        parts = reversed(self._certificate.get("subject", ()))
        return ",".join("+".join(_attribute(name, value) for name, value in part) for part in parts)

    @cached_property
    def serial(self) -> str:
        """The serial number in lower-case hexadecimal digits, without leading zeros."""
        return format(int(self._certificate["serialNumber"], 16), "x")

    def _names(self, wanted: str) -> tuple[str, ...]:
        return tuple([value for kind, value in self._certificate.get("subjectAltName", ()) if kind == wanted])


def _attribute(name: str, value: str) -> str:
    escaped = _SPECIAL.sub(r"\\\g<0>", value).replace("\0", "\\00")
    return f"{_SHORT_NAMES.get(name, name)}={escaped}"
