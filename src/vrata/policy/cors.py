"""Cross-origin resource sharing: whose pages may read answers, and what they are told (Fetch Standard §3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vrata.expressions.pattern import compile_pattern
from vrata.model.middleware.cors import Cors

REPLACED: Final = (
    b"access-control-allow-origin",
    b"access-control-allow-credentials",
    b"access-control-allow-methods",
    b"access-control-allow-headers",
    b"access-control-expose-headers",
    b"access-control-max-age",
)
"""What an upstream says of the same makes way: of two answers a browser takes neither."""


class CorsPolicy:
    """What one configuration allows. Asked for every request; made once."""

    __slots__ = ("_allows_any", "_answer", "_origins", "_patterns", "_preflight")

    def __init__(self, settings: Cors) -> None:
        """Raises InvalidPattern for a regular expression that is none."""
        self._allows_any = any(origin.is_any for origin in settings.allow_origins)
        self._origins = frozenset(origin.value for origin in settings.allow_origins if not origin.regex)
        # A pattern stands for whole origins: found anywhere, one for `example\.com` would let example.com.evil.test in.
        self._patterns: list[Any] = [compile_pattern(origin.value) for origin in settings.allow_origins if origin.regex]
        credentials = b"access-control-allow-credentials: true\r\n" if settings.allow_credentials else b""
        self._answer = credentials + _list_line(b"access-control-expose-headers", settings.expose_headers)
        self._preflight = b"".join(
            (
                credentials,
                _list_line(b"access-control-allow-methods", settings.allow_methods),
                _list_line(b"access-control-allow-headers", settings.allow_headers),
                b"access-control-max-age: %d\r\n" % settings.max_age if settings.max_age > 0 else b"",
            )
        )

    def __repr__(self) -> str:
        return f"<CorsPolicy for {sorted(self._origins)} and {len(self._patterns)} patterns>"

    @property
    def allows_any(self) -> bool:
        """True when every origin is allowed, so that all of them get the same answer."""
        return self._allows_any

    def allows(self, origin: str) -> bool:
        """Tell whether pages of *origin*, as browsers write it, may read answers."""
        if self._allows_any or origin in self._origins:
            return True
        if not self._patterns:
            return False
        text = origin.encode("utf-8", "surrogateescape")
        return any(pattern.fullmatch(text) is not None for pattern in self._patterns)

    def answer_lines(self, origin: str) -> bytes:
        """Return the lines, each with its CRLF, that an answer to a page of the allowed *origin* gets."""
        return self._origin_line(origin) + self._answer

    def preflight_lines(self, origin: str) -> bytes:
        """Return the lines that answer the question of the allowed *origin* whether it may send a request."""
        return self._origin_line(origin) + self._preflight

    def _origin_line(self, origin: str) -> bytes:
        # "*" goes with credentials in no answer, and no configuration allows both.
        allowed = b"*" if self._allows_any else origin.encode("utf-8", "surrogateescape")
        return b"access-control-allow-origin: %s\r\n" % allowed


def varies_by_origin(values: Sequence[bytes]) -> bool:
    """Tell whether one of the *values* of Vary says that the answer depends on the origin (RFC 9110 §12.5.5)."""
    for value in values:
        for member in value.lower().split(b","):
            name = member.strip(b" \t")
            if name in (b"origin", b"*"):
                return True
    return False


def _list_line(name: bytes, members: Sequence[str]) -> bytes:
    return b"%s: %s\r\n" % (name, ", ".join(members).encode("ascii")) if members else b""
