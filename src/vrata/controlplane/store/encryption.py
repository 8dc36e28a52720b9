"""Encryption at rest: secrets and snapshots are unreadable without the configured key.

AES-256-GCM. A sealed value is a random 96-bit nonce, the ciphertext and the 128-bit tag, in that order. The record's
key (collection, id, part) is the associated data, so a value moved to another record does not open. Names are kept
unique without being readable: what the database sees is an HMAC under a key derived from the configured one.
"""

from __future__ import annotations

import hmac
import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vrata.controlplane.store.base import SECRETS, SNAPSHOTS
from vrata.controlplane.store.errors import StoreFailedError

KEY_BYTES = 32
NONCE_BYTES = 12
SEALED_COLLECTIONS = frozenset({SECRETS, SNAPSHOTS})

_SENTINEL = b"vrata store sentinel"
_SENTINEL_KEY = ("meta", "sentinel", "value")


class WrongKeyError(Exception):
    """The configured key cannot open this store; the text is for the operator."""


class Cipher(Protocol):
    """What stands between a store and its medium."""

    def seal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """The form of *data* to be written as *part* of the record."""

    def unseal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """The inverse of :meth:`seal`. Raises ``StoreFailedError`` if the value was altered or moved."""

    def unique_name(self, collection: str, name: str) -> str:
        """A text that is equal for equal names of a collection and different for different ones."""


class Clear:
    """No encryption."""

    def seal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """*data* itself."""
        return data

    def unseal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """*data* itself."""
        return data

    def unique_name(self, collection: str, name: str) -> str:
        """*name* itself."""
        return name


class Sealed:
    """Encrypts the collections of :data:`SEALED_COLLECTIONS` and leaves the others readable."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"an encryption key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._aead = AESGCM(key)
        self._name_key = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"vrata unique names").derive(key)

    def seal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """Encrypt *data* for this place only."""
        if collection not in SEALED_COLLECTIONS:
            return data
        return self._encrypt((collection, id, part), data)

    def unseal(self, collection: str, id: str, part: str, data: bytes) -> bytes:  # noqa: A002
        """Decrypt what :meth:`seal` wrote to this place."""
        if collection not in SEALED_COLLECTIONS:
            return data
        try:
            return self._decrypt((collection, id, part), data)
        except InvalidTag:
            raise StoreFailedError(f"{collection} {id!r} cannot be decrypted: it was altered or moved") from None

    def unique_name(self, collection: str, name: str) -> str:
        """An HMAC-SHA-256 of the name where names are secret, else the name."""
        if collection not in SEALED_COLLECTIONS:
            return name
        return hmac.digest(self._name_key, _associated_data((collection, name, "name")), "sha256").hex()

    def new_sentinel(self) -> bytes:
        """A value that only this key opens, to recognise the key by at the next start."""
        return self._encrypt(_SENTINEL_KEY, _SENTINEL)

    def verify(self, sentinel: bytes | None) -> None:
        """Raise :class:`WrongKeyError` unless *sentinel* was made with this key."""
        try:
            genuine = sentinel is not None and self._decrypt(_SENTINEL_KEY, sentinel) == _SENTINEL
        except InvalidTag:
            genuine = False
        if not genuine:
            raise WrongKeyError("controlPlane.encryption.key is not the key this data was encrypted with")

    def _encrypt(self, place: tuple[str, str, str], data: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, _associated_data(place))

    def _decrypt(self, place: tuple[str, str, str], data: bytes) -> bytes:
        if len(data) < NONCE_BYTES:
            raise InvalidTag
        return self._aead.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _associated_data(place))


def _associated_data(place: tuple[str, str, str]) -> bytes:
    # Each part is preceded by its length: without it ("a", "bc") and ("ab", "c") would be the same place.
    parts = [part.encode() for part in place]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def choose_cipher(
    key: bytes | None, *, marked_encrypted: bool, holds_sensitive: bool, sentinel: bytes | None
) -> Cipher:
    """The cipher for a store that was found like this; raises :class:`WrongKeyError` where key and data do not agree.

    *marked_encrypted*: the store was started with a key before. *holds_sensitive*: it has secrets or snapshots.
    An unmarked store without sensitive records may start to be encrypted; the caller then writes marker and sentinel.
    """
    if key is None:
        if marked_encrypted:
            raise WrongKeyError("data is encrypted but no encryption key is configured")
        return Clear()
    cipher = Sealed(key)
    if marked_encrypted:
        cipher.verify(sentinel)
    elif holds_sensitive:
        raise WrongKeyError("data is not encrypted but an encryption key is configured")
    return cipher
