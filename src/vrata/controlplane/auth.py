"""API keys: who may speak to the control plane at all. Every key may do everything."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256

MISSING = "missing authorization header"
NOT_BEARER = "authorization header must use Bearer scheme"
INVALID = "invalid API key"

_PREFIX = b"Bearer "


class RefusedError(Exception):
    """The request carries no valid key; the text is the answer's error text."""


class Authenticator:
    """Knows the configured keys, as pairs of name and key; without any, every request is let in."""

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        # Digests have one length: comparing them tells nothing about a key's length either.
        self._digests = tuple((name, sha256(key.encode()).digest()) for name, key in keys)

    def __repr__(self) -> str:
        return f"<Authenticator {len(self._digests)} keys>"

    @property
    def is_open(self) -> bool:
        """Whether no key is configured, so that nothing is checked."""
        return not self._digests

    def authenticate(self, authorization: bytes | None) -> str:
        """The name of the key in the value of an ``Authorization`` header.

        The scheme is case-sensitive and exactly one space follows it. Raises :class:`RefusedError`. Takes the same
        time whichever key matches, if any does.
        """
        if authorization is None:
            raise RefusedError(MISSING)
        if not authorization.startswith(_PREFIX):
            raise RefusedError(NOT_BEARER)
        presented = sha256(authorization.removeprefix(_PREFIX)).digest()
        matched = None
        for name, digest in self._digests:
            if hmac.compare_digest(presented, digest):
                matched = name
        if matched is None:
            raise RefusedError(INVALID)
        return matched
