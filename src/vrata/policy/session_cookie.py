"""The cookies that keep a client where it is: an opaque session identifier, which names neither place nor client."""

from __future__ import annotations

from collections.abc import Iterable


class SessionCookie:
    """Name and attributes of one. Never changes."""

    __slots__ = ("_attributes", "name")

    def __init__(self, name: str, ttl: float) -> None:
        """*ttl* in seconds is how long clients keep it."""
        self.name = name.encode("ascii")
        self._attributes = b"; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % int(ttl)

    def __repr__(self) -> str:
        return f"<SessionCookie {self.name.decode()}>"

    def value(self, fields: Iterable[bytes]) -> bytes:
        """Its first value in these values of Cookie (RFC 6265 §4.2.1) that is not empty; empty when there is none."""
        name = self.name
        for field in fields:
            if name in field:
                for pair in field.split(b";"):
                    key, _, value = pair.partition(b"=")
                    value = value.strip(b' \t"')
                    if value and key.strip(b" \t") == name:
                        return value
        return b""

    def line(self, value: bytes, *, secure: bool) -> bytes:
        """The line that sets it (RFC 6265 §4.1.1), with its CRLF; *secure* keeps it off plain connections."""
        return b"set-cookie: %s=%s%s%s\r\n" % (self.name, value, self._attributes, b"; Secure" if secure else b"")
