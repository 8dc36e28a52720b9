"""Request targets and authorities: what a request is about (RFC 9112 §3.2, RFC 3986 §3)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_to_bytes

from vrata.wire.http1.errors import MalformedMessage

# RFC 3986 §3.2.2 host, without user information (RFC 9110 §4.2.4), and RFC 9110 §7.2 port.
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%\-]+)(?::([0-9]{0,5}))?")


def settled(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """*target* in origin form (or ``*``), and the authority that it brought along (RFC 9112 §3.2).

    Raises :class:`MalformedMessage`.
    """
    if method == b"CONNECT":
        # Whatever its target: an upstream that took it for a tunnel would see the next request as tunnelled bytes.
        raise MalformedMessage(501, "CONNECT is not offered here")
    if target.startswith(b"/"):
        if b"#" in target:
            raise MalformedMessage(400, "fragment in the request target")  # RFC 3986 §3.5: never sent
        return target, None
    if target == b"*":
        if method != b"OPTIONS":
            raise MalformedMessage(400, "asterisk form without OPTIONS")  # RFC 9112 §3.2.4
        return target, None
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https") or b"#" in rest:
        raise MalformedMessage(400, "malformed request target")
    cut = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    path = rest[cut:]
    if not path.startswith(b"/"):
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return path, checked_authority(rest[:cut])


def decoded_path(raw: bytes) -> str:
    """*raw* percent-decoded once; bytes that are not UTF-8 become lone surrogates."""
    return (unquote_to_bytes(raw) if b"%" in raw else raw).decode("utf-8", "surrogateescape")


def is_plain_path(raw: bytes, merges_slashes: bool) -> bool:
    """Whether nothing in *raw* can keep it from being in normal form; with *merges_slashes* slashes in a row do.

    False says only that it has to be looked at (:mod:`vrata.wire.http1.path`).
    """
    if b"%" in raw or b"\\" in raw or b"/." in raw:
        return False
    # A segment that has nothing but parameters is an empty one to who cuts them off.
    return not (merges_slashes and (b"//" in raw or b"/;" in raw))


def first_parameters(query: bytes) -> dict[str, str]:
    """The first value of every parameter of *query*, decoded."""
    parameters: dict[str, str] = {}
    for key, value in parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="replace"):
        parameters.setdefault(key, value)
    return parameters


def host_of(authority: bytes) -> str:
    """The host part of *authority* (RFC 3986 §3.2): lower case, no port, no trailing dot, IPv6 in brackets."""
    if authority.startswith(b"["):
        host = authority[: authority.find(b"]") + 1]
    else:
        host = authority.partition(b":")[0]
    return host.decode("ascii").lower().removesuffix(".")


def checked_authority(authority: bytes) -> bytes:
    """*authority* if it is one; raises :class:`MalformedMessage`."""
    # An http URI has a non-empty host (RFC 9110 §4.2.1).
    if _AUTHORITY.fullmatch(authority) is None:
        raise MalformedMessage(400, "malformed Host")
    return authority
