"""Signed tokens in the compact form (RFC 7515 §3.1), read strictly and not verified yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from vrata.expressions import unambiguous_json_object
from vrata.policy.jwt.base64url import decoded_base64url
from vrata.policy.jwt.refusal import Fault, TokenRefused

LONGEST_TOKEN: Final = 16_384
"""Bytes. A longer one is not read."""

_SCHEME: Final = b"Bearer "


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says of itself."""

    algorithm: str
    """As the header has it; nothing says yet that it is one."""
    kid: str | None
    """The key that it says to be signed by; None when it names none."""
    signed: bytes
    """What the signature is of: header and claims as they came."""
    signature: bytes
    claims: dict[str, Any]


def bearer_token(values: Iterable[bytes]) -> bytes:
    """Return the token in the *values* of the request's Authorization fields (RFC 6750 §2.1).

    Raises TokenRefused when there is none. Two fields are refused as well: somebody further on might believe the other.
    So is the scheme in another spelling, which RFC 9110 §11.1 leaves open but not everybody further on reads.
    """
    fields = list(values)
    if fields and fields[0][: len(_SCHEME)].lower() == _SCHEME.lower() and not fields[0].startswith(_SCHEME):
        raise TokenRefused(Fault.FORM, "the scheme has to be spelt Bearer")
    if not fields or not fields[0].startswith(_SCHEME):
        raise TokenRefused(Fault.MISSING, "no Authorization field begins with Bearer")
    if len(fields) > 1:
        raise TokenRefused(Fault.FORM, "there is more than one Authorization field")
    return fields[0][len(_SCHEME) :]


def read_token(text: bytes) -> Token:
    """Read a token. Raises TokenRefused.

    Each part is base64url without padding; header and claims are JSON objects that mean the same to every reader. No
    critical parameter (RFC 7515 §4.1.11) is known here, so a token that has some is refused.
    """
    if len(text) > LONGEST_TOKEN:
        raise TokenRefused(Fault.FORM, f"the token is longer than {LONGEST_TOKEN} bytes")
    parts = text.split(b".")
    if len(parts) != 3:
        raise TokenRefused(Fault.FORM, f"the token has {len(parts)} parts instead of 3")
    header = _object(parts[0], Fault.HEADER)
    claims = _object(parts[1], Fault.CLAIMS)
    signature = decoded_base64url(parts[2])
    if signature is None:
        raise TokenRefused(Fault.SIGNATURE, "the signature is no base64url")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise TokenRefused(Fault.HEADER, "the header names no algorithm")
    if kid is not None and not isinstance(kid, str):
        raise TokenRefused(Fault.HEADER, "the header's kid is no string")
    if "crit" in header:
        raise TokenRefused(Fault.VALIDATION, "the header has critical parameters, of which none is known")
    return Token(algorithm, kid, text[: len(parts[0]) + 1 + len(parts[1])], signature, claims)


def _object(part: bytes, fault: Fault) -> dict[str, Any]:
    text = decoded_base64url(part)
    if text is None:
        raise TokenRefused(fault, "it is no base64url")
    value = unambiguous_json_object(text)
    if value is None:
        raise TokenRefused(fault, "it is no JSON object that has one meaning")
    return value
