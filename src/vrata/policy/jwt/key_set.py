"""Sets of public keys: JWKS documents (RFC 7517), or one key in PEM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vrata.expressions import json_object
from vrata.policy.jwt.base64url import decoded_base64url
from vrata.policy.jwt.token import Token
from vrata.policy.jwt.verification_key import LARGEST_MODULUS, PublicKey, UnusableKey, VerificationKey, verification_key

MOST_ENTRIES: Final = 1000
"""Entries of a JWKS document that are looked at, whatever they are."""
MOST_KEYS: Final = 100
"""Keys of one set: a token that names none is tried with each."""

_CURVES: Final[dict[str, EllipticCurve]] = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1()}


class InvalidKeySet(ValueError):  # noqa: N818 - what was given is invalid, the program did not err
    """Neither a JWKS document nor a public key in PEM."""


@unique
class Verdict(Enum):
    """What a set of keys says of a token."""

    SIGNED = "signed by one of the keys"
    FORGED = "not signed by the key that it names"
    UNKNOWN_KEY = "signed by none of the keys, and the one that it names, if any, is not among them"


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys that tokens may be signed with."""

    keys: tuple[VerificationKey, ...] = ()
    skipped: tuple[str, ...] = ()
    """Why keys were left out: a sentence for each."""

    def verdict(self, token: Token) -> Verdict:
        """Tell who signed *token*, as far as these keys can say.

        A key and a token that both have a name belong together when it is the same; every other key is tried.
        """
        for key in self.keys:
            if key.may_have_signed(token) and key.verifies(token):
                return Verdict.SIGNED
        if token.kid is not None and any(key.kid == token.kid for key in self.keys):
            return Verdict.FORGED
        return Verdict.UNKNOWN_KEY


NO_KEYS: Final = KeySet()


def read_key_set(text: bytes) -> KeySet:
    """Read a JWKS document, or what is no JSON as one public key in PEM.

    Keys that cannot be read or used, and those that are not for verifying signatures, are left out (RFC 7517 §5).

    Raises:
        InvalidKeySet: *text* is neither.

    """
    document = json_object(text)
    if document is None:
        return _read_pem(text)
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise InvalidKeySet('it is no JWKS document: there is no list "keys"')
    keys: list[VerificationKey] = []
    skipped: list[str] = []
    for index, entry in enumerate(entries):
        if index == MOST_ENTRIES:
            skipped.append(f"keys[{index}] and after: more than {MOST_ENTRIES} entries")
            break
        if len(keys) == MOST_KEYS:
            skipped.append(f"keys[{index}] and after: more than {MOST_KEYS} keys")
            break
        try:
            keys.append(_read_key(entry))
        except UnusableKey as error:
            skipped.append(f"keys[{index}]: {error}")
    return KeySet(tuple(keys), tuple(skipped))


def _read_pem(text: bytes) -> KeySet:
    try:
        key = load_pem_public_key(text.strip())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeySet("it is neither a JWKS document nor a public key in PEM") from None
    try:
        return KeySet((verification_key(key),))
    except UnusableKey as error:
        return KeySet(skipped=(str(error),))


def _read_key(entry: object) -> VerificationKey:
    if not isinstance(entry, dict):
        raise UnusableKey("it is no object")
    kind = entry.get("kty")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise UnusableKey(f'its "kty" is none of {", ".join(_READERS)}')
    if entry.get("use", "sig") != "sig":
        raise UnusableKey('its "use" is not "sig"')
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKey('its "key_ops" do not name "verify"')
    kid, algorithm = _optional_text(entry, "kid"), _optional_text(entry, "alg")
    try:
        key = read(entry)
    except UnusableKey:
        raise
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableKey(f"it is no key: {error}") from None
    return verification_key(key, kid, algorithm)


def _optional_text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise UnusableKey(f'its "{name}" is no string')
    return value


def _rsa(entry: Mapping[str, Any]) -> PublicKey:
    modulus, exponent = (int.from_bytes(_octets(entry, name)) for name in ("n", "e"))
    if modulus.bit_length() > LARGEST_MODULUS:
        raise UnusableKey(f"an RSA key of {modulus.bit_length()} bits is too large: {LARGEST_MODULUS} at most")
    return RSAPublicNumbers(exponent, modulus).public_key()


def _ec(entry: Mapping[str, Any]) -> PublicKey:
    name = entry.get("crv")
    curve = _CURVES.get(name) if isinstance(name, str) else None
    if curve is None:
        raise UnusableKey(f'its "crv" is none of {", ".join(_CURVES)}')
    size = (curve.key_size + 7) // 8
    x, y = (_octets(entry, name) for name in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise UnusableKey(f"its coordinates are not of {size} bytes each")
    return EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()


def _okp(entry: Mapping[str, Any]) -> PublicKey:
    curve = entry.get("crv")
    if curve == "Ed25519":
        return Ed25519PublicKey.from_public_bytes(_octets(entry, "x"))
    if curve == "Ed448":
        return Ed448PublicKey.from_public_bytes(_octets(entry, "x"))
    raise UnusableKey('its "crv" is none of Ed25519, Ed448')


def _octets(entry: Mapping[str, Any], name: str) -> bytes:
    value = entry.get(name)
    octets = decoded_base64url(value.encode()) if isinstance(value, str) and value.isascii() else None
    if not octets:
        raise UnusableKey(f'its "{name}" is no base64url')
    return octets


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], PublicKey]]] = {"RSA": _rsa, "EC": _ec, "OKP": _okp}
