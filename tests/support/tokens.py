"""Tokens and the keys that sign them: as an issuer makes them, with PyJWT, and as no issuer would."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey

ISSUER = "https://issuer.example"
NOW = 1_800_000_000

ALGORITHMS: dict[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa"),
    "ES256": "P-256",
    "ES384": "P-384",
    "ES512": "P-521",
    "EdDSA": "Ed25519",
}
"""The kind of key of each algorithm."""

_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: generate_rsa_key(65537, 2048),
    "P-256": lambda: generate_private_key(SECP256R1()),
    "P-384": lambda: generate_private_key(SECP384R1()),
    "P-521": lambda: generate_private_key(SECP521R1()),
    "Ed25519": Ed25519PrivateKey.generate,
    "Ed448": Ed448PrivateKey.generate,
}


def private_key(kind: str, number: int = 0) -> PrivateKey:
    """The key of one *kind* with this *number*: always the same, since making those of RSA takes long."""
    return _private_key(kind, number)


@cache
def _private_key(kind: str, _number: int) -> PrivateKey:
    return _MAKERS[kind]()


def base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PrivateKey, **members: object) -> dict[str, Any]:
    """The public half of *key* as PyJWT writes it, with other *members* beside; None leaves one out."""
    match key:
        case RSAPrivateKey():
            document = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case EllipticCurvePrivateKey():
            document = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            document = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    document.pop("key_ops", None)
    return {name: value for name, value in (document | members).items() if value is not None}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changed: object) -> dict[str, Any]:
    """Claims that are good for an hour from `NOW`; None leaves one out."""
    usual: dict[str, Any] = {"iss": ISSUER, "sub": "ann", "aud": "shop", "exp": NOW + 3600}
    return {name: value for name, value in (usual | changed).items() if value is not None}


def live_claims(**changed: object) -> dict[str, Any]:
    """Claims that are good for ten minutes from now; None leaves one out."""
    return claims(exp=int(time.time()) + 600, **changed) if "exp" not in changed else claims(**changed)


@dataclass(frozen=True)
class Issuer:
    """Signs with one key under its name."""

    algorithm: str = "ES256"
    kid: str | None = "key-1"
    number: int = 0
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> PrivateKey:
        return private_key(ALGORITHMS[self.algorithm], self.number)

    @property
    def jwk(self) -> dict[str, Any]:
        return jwk(self.key, kid=self.kid, alg=self.algorithm, use="sig")

    def token(self, content: Mapping[str, Any] | None = None) -> bytes:
        """A token of *content*, else of :func:`claims`."""
        header = self.header if self.kid is None else self.header | {"kid": self.kid}
        content = claims() if content is None else dict(content)
        return jwt.encode(dict(content), self.key, algorithm=self.algorithm, headers=header).encode()

    def sign(self, header: bytes, content: bytes) -> bytes:
        """A token of just these bytes, signed as it should be."""
        signed = base64url(header) + b"." + base64url(content)
        signer = jwt.get_algorithm_by_name(self.algorithm)
        return signed + b"." + base64url(signer.sign(signed, self.key))


def raw_token(header: Mapping[str, Any], content: Mapping[str, Any], signature: bytes = b"") -> bytes:
    """A token that nobody signed."""
    parts = (json.dumps(header).encode(), json.dumps(content).encode(), signature)
    return b".".join(map(base64url, parts))
