"""Tokens that were found to be good, so that the next request with one need not verify it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from vrata.policy.jwt.claims import VerifiedClaims

MOST_TOKENS: Final = 10_000
MOST_BYTES: Final = 32 * 1024 * 1024
"""Of all that is kept, as estimated."""

_OF_AN_ENTRY: Final = 1536
_OF_A_BYTE: Final = 8
"""What claims take as Python objects for each byte of the token: usual ones 3, numbers with short names 7."""


class VerifiedTokens:
    """The claims of tokens by the tokens' digests; beyond the limits, those that were not asked for the longest go.

    A token itself is not kept: who can read the memory finds none to use. Good is what was signed by a key that is
    still valid: whoever changes the keys clears this.
    """

    __slots__ = ("_bytes", "_kept")

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[VerifiedClaims, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"<VerifiedTokens {len(self._kept)}, about {self._bytes} bytes>"

    def find(self, digest: bytes, now: int) -> VerifiedClaims | None:
        """Return the claims of the token with *digest* if it is kept and accepted at the time *now*."""
        found = self._kept.get(digest)
        if found is None:
            return None
        claims, size = found
        if not claims.hold_at(now):
            del self._kept[digest]
            self._bytes -= size
            return None
        self._kept.move_to_end(digest)
        return claims

    def add(self, digest: bytes, claims: VerifiedClaims, length: int) -> None:
        """Keep the *claims* of the token with *digest*, which is not kept yet and has *length* bytes."""
        size = _OF_AN_ENTRY + _OF_A_BYTE * length
        self._kept[digest] = (claims, size)
        self._bytes += size
        while self._bytes > MOST_BYTES or len(self._kept) > MOST_TOKENS:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self._bytes = 0
