"""Encryption at rest: every pair of key and data, and what can be read from the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vrata.controlplane.store.base import Record
from vrata.controlplane.store.database import Database
from vrata.controlplane.store.encryption import Clear, Sealed, WrongKeyError, choose_cipher
from vrata.controlplane.store.errors import NameTakenError, StoreFailedError, StoreOpenError

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
VALUE = b"a very secret value"


def opened(path: Path, key: bytes | None) -> Database:
    return Database(path, key)


def with_records(path: Path, key: bytes | None, *collections: str) -> None:
    database = opened(path, key)
    for collection in collections:
        database.create(collection, Record("id", "a hidden name", VALUE, b"a hidden summary"))
    database.close()


def refusal(path: Path, key: bytes | None) -> str:
    with pytest.raises(StoreOpenError) as refused:
        opened(path, key)
    return refused.value.reason


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_no_key_and_plain_data(tmp_path: Path) -> None:
    with_records(tmp_path / "db", None, "secrets", "snapshots")
    database = opened(tmp_path / "db", None)
    assert database.read("secrets", "id") == VALUE
    database.close()


def test_no_key_and_encrypted_data(tmp_path: Path) -> None:
    with_records(tmp_path / "db", KEY, "routes")
    assert refusal(tmp_path / "db", None) == "data is encrypted but no encryption key is configured"


def test_the_right_key_and_encrypted_data(tmp_path: Path) -> None:
    with_records(tmp_path / "db", KEY, "secrets", "snapshots", "routes")
    database = opened(tmp_path / "db", KEY)
    for collection in ("secrets", "snapshots", "routes"):
        assert database.bodies((collection,)) == {collection: (VALUE,)}
        assert database.summaries(collection) == (b"a hidden summary",)
    database.close()


def test_a_wrong_key_is_noticed_at_start_also_without_secrets(tmp_path: Path) -> None:
    with_records(tmp_path / "db", KEY)
    expected = "controlPlane.encryption.key is not the key this data was encrypted with"
    assert refusal(tmp_path / "db", OTHER_KEY) == expected


@pytest.mark.parametrize("collection", ["secrets", "snapshots"])
def test_a_key_and_plain_data_with_secrets_or_snapshots(tmp_path: Path, collection: str) -> None:
    with_records(tmp_path / "db", None, collection)
    assert refusal(tmp_path / "db", KEY) == "data is not encrypted but an encryption key is configured"
    opened(tmp_path / "db", None).close()


def test_a_key_and_plain_data_without_secrets_starts_to_encrypt(tmp_path: Path) -> None:
    with_records(tmp_path / "db", None, "routes")
    with_records(tmp_path / "db", KEY, "secrets")
    assert refusal(tmp_path / "db", None) == "data is encrypted but no encryption key is configured"
    database = opened(tmp_path / "db", KEY)
    assert (database.read("routes", "id"), database.read("secrets", "id")) == (VALUE, VALUE)
    database.close()


def test_a_lost_sentinel_is_not_taken_for_the_right_key(tmp_path: Path) -> None:
    with_records(tmp_path / "db", KEY)
    database = opened(tmp_path / "db", KEY)
    database._connection.execute("DELETE FROM meta WHERE key = 'encryption_sentinel'")
    database.close()
    assert "is not the key" in refusal(tmp_path / "db", KEY)


@pytest.mark.parametrize("collection", ["secrets", "snapshots"])
def test_nothing_sensitive_can_be_read_from_the_files(tmp_path: Path, collection: str) -> None:
    database = opened(tmp_path / "db", KEY)
    database.create(collection, Record("the-id", "a hidden name", VALUE, b"a hidden summary"))
    database.replace(collection, Record("the-id", "a hidden name", VALUE * 2, b"a hidden summary"))
    on_disk = bytes_on_disk(tmp_path / "db")
    assert b"the-id" in on_disk
    database.close()
    for content in (on_disk, bytes_on_disk(tmp_path / "db")):
        assert b"hidden" not in content
        assert b"very secret" not in content


def test_what_was_deleted_before_encryption_began_is_gone(tmp_path: Path) -> None:
    database = opened(tmp_path / "db", None)
    database.create("secrets", Record("id", "name", VALUE * 1000))
    database.delete("secrets", "id")
    database.close()
    database = opened(tmp_path / "db", KEY)
    assert VALUE not in bytes_on_disk(tmp_path / "db")
    database.close()


def test_secret_names_are_unique_without_being_readable(tmp_path: Path) -> None:
    database = opened(tmp_path / "db", KEY)
    database.create("secrets", Record("s1", "same", b""))
    with pytest.raises(NameTakenError):
        database.create("secrets", Record("s2", "same", b""))
    database.create("secrets", Record("s2", "other", b""))
    database.close()


def test_a_record_that_was_moved_does_not_open(tmp_path: Path) -> None:
    database = opened(tmp_path / "db", KEY)
    database.create("secrets", Record("s1", "one", b"1"))
    database.create("secrets", Record("s2", "two", b"2"))
    database._connection.execute("UPDATE records SET body = (SELECT body FROM records WHERE id = 's1') WHERE id = 's2'")
    with pytest.raises(StoreFailedError, match="altered or moved"):
        database.read("secrets", "s2")
    assert database.read("secrets", "s1") == b"1"
    database.close()


def test_equal_values_are_sealed_differently_each_time() -> None:
    cipher = Sealed(KEY)
    sealed = {cipher.seal("secrets", "id", "body", VALUE) for _ in range(50)}
    assert len(sealed) == 50
    assert {len(value) for value in sealed} == {12 + len(VALUE) + 16}
    assert {cipher.unseal("secrets", "id", "body", value) for value in sealed} == {VALUE}


@pytest.mark.parametrize("place", [("secrets", "i", "dbody"), ("secret", "sid", "body"), ("snapshots", "id", "body")])
def test_a_sealed_value_belongs_to_one_place(place: tuple[str, str, str]) -> None:
    cipher = Sealed(KEY)
    sealed = cipher.seal("secrets", "id", "body", VALUE)
    if place[0] in ("secrets", "snapshots"):
        with pytest.raises(StoreFailedError):
            cipher.unseal(*place, sealed)
    else:
        assert cipher.unseal(*place, sealed) == sealed


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_value_does_not_open(damage: bytes | None) -> None:
    cipher = Sealed(KEY)
    sealed = cipher.seal("secrets", "id", "body", VALUE)
    altered = bytes([sealed[0] ^ 1]) + sealed[1:] if damage is None else damage
    with pytest.raises(StoreFailedError):
        cipher.unseal("secrets", "id", "body", altered)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, this one has {length}"):
        Sealed(bytes(length))


def test_the_choice_of_a_cipher() -> None:
    sentinel = Sealed(KEY).new_sentinel()
    assert isinstance(choose_cipher(None, marked_encrypted=False, holds_sensitive=True, sentinel=None), Clear)
    assert isinstance(choose_cipher(KEY, marked_encrypted=True, holds_sensitive=True, sentinel=sentinel), Sealed)
    for key, sentinel_found in ((None, sentinel), (OTHER_KEY, sentinel), (KEY, None), (KEY, b"x")):
        with pytest.raises(WrongKeyError):
            choose_cipher(key, marked_encrypted=True, holds_sensitive=False, sentinel=sentinel_found)
