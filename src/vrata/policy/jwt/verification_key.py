"""Public keys that signatures of tokens are verified with (RFC 7518 §3, RFC 8037 §3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from vrata.policy.jwt.token import Token

SMALLEST_MODULUS: Final = 2048
"""Bits of an RSA key (RFC 7518 §3.3)."""
LARGEST_MODULUS: Final = 8192
"""Bits of an RSA key: verifying takes time with their square."""
LARGEST_EXPONENT: Final = 2**31 - 1
"""Of an RSA key: verifying takes time with its length. It is 65537 wherever one can see it."""

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

_Padding: TypeAlias = PKCS1v15 | PSS


class UnusableKey(ValueError):  # noqa: N818 - what is there is no key for tokens, the program did not err
    """No key that tokens may be signed with; the message says why."""


class _Scheme(Protocol):
    """How signatures of one algorithm are verified with keys that fit it."""

    def verify(self, key: Any, signature: bytes, signed: bytes) -> None:
        """Raises InvalidSignature."""
        ...


class _Rsa:
    """RSASSA-PKCS1-v1_5, or RSASSA-PSS with a salt as long as the hash and no other (RFC 7518 §3.3, §3.5)."""

    __slots__ = ("_hash", "_padding")

    def __init__(self, padding: _Padding, hash_: HashAlgorithm) -> None:
        self._padding = padding
        self._hash = hash_

    def verify(self, key: RSAPublicKey, signature: bytes, signed: bytes) -> None:
        key.verify(signature, signed, self._padding, self._hash)


class _Ecdsa:
    """ECDSA whose two numbers stand one after the other, each as long as the curve's (RFC 7518 §3.4)."""

    __slots__ = ("_hash", "_size")

    def __init__(self, size: int, hash_: HashAlgorithm) -> None:
        self._size = size
        self._hash = ECDSA(hash_)

    def verify(self, key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> None:
        size = self._size
        if len(signature) != 2 * size:
            raise InvalidSignature
        first, second = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        key.verify(encode_dss_signature(first, second), signed, self._hash)


class _Eddsa:
    """EdDSA, by the curve of the key (RFC 8037 §3.1)."""

    __slots__ = ()

    def verify(self, key: Ed25519PublicKey | Ed448PublicKey, signature: bytes, signed: bytes) -> None:
        key.verify(signature, signed)


def _rsa_schemes() -> dict[str, _Scheme]:
    schemes: dict[str, _Scheme] = {}
    for hash_ in (SHA256(), SHA384(), SHA512()):
        bits = hash_.digest_size * 8
        schemes[f"RS{bits}"] = _Rsa(PKCS1v15(), hash_)
        schemes[f"PS{bits}"] = _Rsa(PSS(MGF1(hash_), hash_.digest_size), hash_)
    return schemes


_RSA: Final = _rsa_schemes()
_EC: Final[dict[str, dict[str, _Scheme]]] = {
    "secp256r1": {"ES256": _Ecdsa(32, SHA256())},
    "secp384r1": {"ES384": _Ecdsa(48, SHA384())},
    "secp521r1": {"ES512": _Ecdsa(66, SHA512())},
}
# RFC 9864 gives each curve a name of its own beside the one for both.
_ED25519: Final[dict[str, _Scheme]] = {"EdDSA": _Eddsa(), "Ed25519": _Eddsa()}
_ED448: Final[dict[str, _Scheme]] = {"EdDSA": _Eddsa(), "Ed448": _Eddsa()}

ALGORITHMS: Final = frozenset((*_RSA, *_ED25519, *_ED448, *(name for schemes in _EC.values() for name in schemes)))
"""All that a token may be signed with, whatever the keys."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, and what it may be used for."""

    kid: str | None
    """What tokens call it; None when it has no name, and then it may be meant by any token."""
    key: PublicKey
    schemes: dict[str, _Scheme]
    """By the name of each algorithm that a token may have been signed with."""

    def may_have_signed(self, token: Token) -> bool:
        """Tell whether *token* could be signed with it, by their names and the algorithm."""
        return token.algorithm in self.schemes and (self.kid is None or token.kid is None or self.kid == token.kid)

    def verifies(self, token: Token) -> bool:
        """Tell whether the signature of *token*, which it may have signed, is one of this key."""
        try:
            self.schemes[token.algorithm].verify(self.key, token.signature, token.signed)
        except InvalidSignature:
            return False
        return True


def verification_key(key: object, kid: str | None = None, algorithm: str | None = None) -> VerificationKey:
    """Return *key* for the algorithms that it is made for, or for *algorithm* alone.

    Raises UnusableKey for keys of other kinds or sizes, and when *algorithm* is none for the key.
    """
    if isinstance(key, RSAPublicKey):
        _check_rsa(key)
        schemes = _RSA
    elif isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in _EC:
            raise UnusableKey(f"the curve {key.curve.name} is none that tokens are signed with")
        schemes = _EC[key.curve.name]
    elif isinstance(key, Ed25519PublicKey):
        schemes = _ED25519
    elif isinstance(key, Ed448PublicKey):
        schemes = _ED448
    else:
        raise UnusableKey("it is neither an RSA nor an EC key, nor one of Ed25519 or Ed448")
    if algorithm is not None:
        if algorithm not in schemes:
            raise UnusableKey(f'its "alg" is none of {", ".join(sorted(schemes))}')
        schemes = {algorithm: schemes[algorithm]}
    return VerificationKey(kid, key, schemes)


def _check_rsa(key: RSAPublicKey) -> None:
    if key.key_size < SMALLEST_MODULUS:
        raise UnusableKey(f"an RSA key of {key.key_size} bits is too small: {SMALLEST_MODULUS} at least")
    if key.key_size > LARGEST_MODULUS:
        raise UnusableKey(f"an RSA key of {key.key_size} bits is too large: {LARGEST_MODULUS} at most")
    if key.public_numbers().e > LARGEST_EXPONENT:
        raise UnusableKey("the exponent of an RSA key has at most 31 bits")
