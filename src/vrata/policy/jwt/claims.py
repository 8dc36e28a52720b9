"""What the claims of a token have to say (RFC 7519 §4.1) for it to be accepted, and how long it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Any

from vrata.policy.jwt.refusal import Fault, TokenRefused


class VerifiedClaims:
    """The claims of a token whose signature is good, and when it is accepted; times in seconds since 1970."""

    __slots__ = ("begins", "claims", "ends", "lines")

    def __init__(self, claims: dict[str, Any], begins: float, ends: float) -> None:
        self.claims = claims
        """Shared by all requests that bring the token: nobody changes them."""
        self.begins = begins
        self.ends = ends
        """The last second that counts."""
        self.lines: bytes | None = None
        """What becomes of them in requests, for whoever lets the token in: header lines, each with its CRLF; None = not
        known yet, or not always the same."""

    def __repr__(self) -> str:
        return f"<VerifiedClaims from {self.begins} to {self.ends}>"

    def hold_at(self, now: int) -> bool:
        """Tell whether the token is accepted at the time *now*."""
        return self.begins <= now <= self.ends


class ClaimRules:
    """Who has to have made a token, for whom, and when."""

    __slots__ = ("_audiences", "_issuer", "_skew")

    def __init__(self, issuer: str, audiences: Collection[str], skew: float) -> None:
        """Without *audiences* the claim ``aud`` is not looked at; *skew* is how far clocks may differ, in seconds."""
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._skew = skew

    def verified(self, claims: dict[str, Any], now: int) -> VerifiedClaims:
        """Return the claims as those of a good token at the time *now*, in seconds since 1970. Raises TokenRefused."""
        if claims.get("iss") != self._issuer:
            raise _refused(f"the issuer is {_shown(claims.get('iss'))}")
        if self._audiences and not self._is_among_audiences(claims.get("aud")):
            raise _refused(f"it is for {_shown(claims.get('aud'))}")
        expiry = _time(claims, "exp")
        if expiry is None:
            raise _refused("it does not say when it expires")
        start = _time(claims, "nbf")
        begins = -inf if start is None else start - self._skew
        verified = VerifiedClaims(claims, begins, expiry + self._skew)
        if now > verified.ends:
            raise _refused(f"it expired at {expiry}")
        if now < begins:
            raise _refused(f"it is not to be used before {start}")
        return verified

    def _is_among_audiences(self, audience: object) -> bool:
        if isinstance(audience, str):
            return audience in self._audiences
        return isinstance(audience, list) and any(
            isinstance(each, str) and each in self._audiences for each in audience
        )


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    # A bool would be a number to Python. What is no number at all says nothing that could be kept to.
    if value is not None and type(value) is not int and type(value) is not float:
        raise _refused(f"its {name} is no number")
    return value


def _refused(detail: str) -> TokenRefused:
    return TokenRefused(Fault.VALIDATION, detail)


def _shown(value: object) -> str:
    return repr(value)[:100]
