"""The cookies that keep a client where it is: an opaque session identifier, which names neither place nor client."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_IDENTIFIER = 128
"""Characters of a session identifier that is used as such."""

_OF_IDENTIFIERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class SessionCookie:
    """Name and attributes of one. Never changes."""

    __slots__ = ("_attributes", "_is_strict", "name")

    def __init__(self, name: str, ttl: float, is_strict: bool = False) -> None:
        """*ttl* in seconds is how long clients keep it.

        A *strict* one has no value that could not be one of ours: letters, digits, ``-`` and ``_``, 128 at most.
        """
        self.name = name.encode("ascii")
        self._is_strict = is_strict
        self._attributes = b"; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % int(ttl)

    def __repr__(self) -> str:
        return f"<SessionCookie {self.name.decode()}>"

    def value(self, fields: Iterable[bytes]) -> bytes:
        """Its first value in these values of Cookie (RFC 6265 §4.2.1) that is not empty; empty when there is none."""
        value = self._value(fields)
        if self._is_strict and (len(value) > LONGEST_IDENTIFIER or value.translate(None, _OF_IDENTIFIERS)):
            return b""
        return value

    def _value(self, fields: Iterable[bytes]) -> bytes:
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
