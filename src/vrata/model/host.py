"""Hosts: IP addresses and host names, and their text together with a port."""

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator

from vrata.model.reference import unless_reference

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253
_AUTHORITY = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\]|(?P<name>[^:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?"
)


@lru_cache(maxsize=4096)
def check_host(text: str) -> None:
    """Demand an IP address (IPv6 without brackets) or a host name (RFC 1123, underscores allowed).

    Raises:
        ValueError: with the demand.

    """
    if not _is_ip_address(text) and not _is_host_name(text):
        hint = ""
        if "://" in text or "/" in text:
            hint = ", without a scheme or a path"
        elif text.startswith("["):
            hint = ", IPv6 without brackets"
        elif not text.isascii():
            hint = " in its ASCII (punycode) form"
        raise ValueError(f'must be an IP address or a host name{hint}, got "{text[:60]}"')


def check_authority(text: str) -> None:
    """Demand what can stand in a Host field: a host, an IPv6 address in brackets, with or without a port.

    Raises:
        ValueError: with the demand.

    """
    found = _AUTHORITY.fullmatch(text)
    port = found["port"] if found is not None else None
    if found is None or (port is not None and not 0 < int(port) < 65536):
        raise ValueError(f'must be a host, or a host and a port as in "example.com:8080", got "{text[:60]}"')
    check_host(found["address"] or found["name"])


def check_hostname_condition(text: str) -> None:
    """Demand a pattern of hosts: a host without port, `*.` before a name for all names below it, or `*` for every host.

    Raises:
        ValueError: with the demand.

    """
    if text == "*":
        return
    below = text.removeprefix("*.")
    if "*" in below or (below != text and _is_ip_address(below)):
        raise ValueError(f'must be a host name, "*." followed by one, or "*" for every host, got "{text[:60]}"')
    text = below
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        check_host(bare)
    except ValueError:
        raise ValueError(f'must be a host name or an IP address without a port, got "{text[:60]}"') from None


def check_server_name(text: str) -> None:
    """Demand a name that a client can ask for in a handshake (RFC 6066 §3): a host name, or `*.` before one for each
    name with one more label.

    Raises:
        ValueError: with the demand.

    """
    name = text.removeprefix("*.")
    # No IP address passes: as a host name, its last label would be a number or have a colon in it.
    if not _is_host_name(name):
        hint = " in its ASCII (punycode) form" if not text.isascii() else ""
        raise ValueError(f'must be a host name{hint}, or "*." followed by one, got "{text[:60]}"')


def check_network(text: str) -> None:
    """Demand an IP address, or a range of them in CIDR notation.

    Raises:
        ValueError: with the demand.

    """
    try:
        if "%" in text:
            raise ValueError("a zone means nothing here")
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'must be an IP address or a CIDR range such as "10.0.0.0/8", got "{text[:60]}"') from None


def host_and_port(host: str, port: int) -> str:
    """Write `host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_ip_address(text: str) -> bool:
    if "%" in text:
        # The zone of an IPv6 address may be any text, line breaks included, and means nothing to another machine.
        return False
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    if len(text) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    # A name whose last label is a number would be read as a (broken) IPv4 address by resolvers.
    return not labels[-1].isdigit()


Host = Annotated[str, AfterValidator(unless_reference(check_host))]
"""An IP address or a host name."""
Authority = Annotated[str, AfterValidator(unless_reference(check_authority))]
"""A host, with a port or without."""
HostnameCondition = Annotated[str, AfterValidator(unless_reference(check_hostname_condition))]
"""A host that requests may be for, or `*`."""
ServerName = Annotated[str, AfterValidator(unless_reference(check_server_name))]
"""A name that a client asks for in a TLS handshake, or `*.` before one."""
Network = Annotated[str, AfterValidator(unless_reference(check_network))]
"""An IP address or a CIDR range."""
