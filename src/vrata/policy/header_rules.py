"""Which headers another service may see or change, by their names."""

from __future__ import annotations

from collections.abc import Iterable

UNTOUCHABLE = frozenset(
    (
        # Framing, and what is this hop's alone (RFC 9110 §7.6.1, RFC 9112 §6).
        *(b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"proxy-connection", b"te"),
        *(b"trailer", b"upgrade", b"http2-settings", b"expect"),
        # What a request is for has been decided by the time that somebody else sees it.
        b"host",
        # What the upstream is told of the client's connection.
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"x-forwarded-server", b"x-forwarded-client-cert", b"x-vrata-attempt-count", b"x-request-attempt-count"),
    )
)
"""Fields that only the proxy itself writes."""


def is_untouchable(name: bytes) -> bool:
    """True when nobody but the proxy itself may change *name* (lower case), which may be a pseudo header.

    A name with underscores is to some backends the one with hyphens (RFC 3875 §4.1.18).
    """
    return name.replace(b"_", b"-") in UNTOUCHABLE or name.startswith(b":")


class HeaderPatterns:
    """Names of headers, and beginnings of names: a ``*`` at the end of a pattern stands for any rest."""

    __slots__ = ("_names", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        """*patterns* are in any spelling; what they are compared with is in lower case."""
        written = [pattern.lower().encode() for pattern in patterns]
        self._names = frozenset(pattern for pattern in written if not pattern.endswith(b"*"))
        self._prefixes = tuple(pattern[:-1] for pattern in written if pattern.endswith(b"*"))

    def __repr__(self) -> str:
        return f"<HeaderPatterns {sorted(self._names)} {self._prefixes}>"

    def __bool__(self) -> bool:
        return bool(self._names or self._prefixes)

    def match(self, name: bytes) -> bool:
        """True when one of them is *name* (lower case), or begins it."""
        return name in self._names or name.startswith(self._prefixes)


class HeaderRules:
    """Names that are allowed and names that are denied. A denied one is denied even where it is allowed."""

    __slots__ = ("_allowed", "_allows_all", "_denied")

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        """Both are patterns as :class:`HeaderPatterns` has them. Nothing in *allow* allows all."""
        self._allowed = HeaderPatterns(allow)
        self._denied = HeaderPatterns(deny)
        self._allows_all = not self._allowed

    def __repr__(self) -> str:
        return f"<HeaderRules allow {self._allowed!r} deny {self._denied!r}>"

    @property
    def allow_all(self) -> bool:
        """True when there is no name that is not allowed."""
        return self._allows_all and not self._denied

    def allow(self, name: bytes) -> bool:
        """True when *name* (lower case) is allowed."""
        return (self._allows_all or self._allowed.match(name)) and not self._denied.match(name)
