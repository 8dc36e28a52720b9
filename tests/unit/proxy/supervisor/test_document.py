"""Snapshot documents and the cache that keeps the last one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.snapshots import snapshot
from vrata.proxy.status import EntityProblem
from vrata.proxy.supervisor.cache import FILE_NAME, SnapshotCache
from vrata.proxy.supervisor.document import ListenerEntry, MalformedSnapshot, SnapshotDocument


def read(document: Any) -> SnapshotDocument:
    return SnapshotDocument.read(json.dumps(document).encode())


def test_identity_listeners_and_content() -> None:
    content = snapshot("s1", listeners=["127.0.0.1:3000", "[::1]:3001"])
    document = SnapshotDocument.read(content)
    assert (document.identity.id, document.identity.name) == ("s1", "snapshot s1")
    assert document.addresses == {"127.0.0.1:3000", "[::1]:3001"}
    assert document.listeners[0] == ListenerEntry("listener-0", "listener 0", "127.0.0.1:3000")
    assert document.content() == content
    assert not document.is_empty
    document.close()
    document.close()


def test_the_default_listener_address_is_every_ipv4_address() -> None:
    content = json.loads(snapshot("s1"))
    content["snapshot"]["listeners"] = [{"id": "l", "name": "l", "port": 3000}]
    document = read(content)
    assert document.addresses == {"0.0.0.0:3000"}
    document.close()


def test_a_listener_that_cannot_be_read_is_left_to_the_data_plane() -> None:
    content = json.loads(snapshot("s1", listeners=["127.0.0.1:3000"]))
    content["snapshot"]["listeners"].append({"id": "bad", "name": "bad", "port": 0})
    document = read(content)
    assert document.addresses == {"127.0.0.1:3000"}
    document.close()


def test_addresses_of_listeners_with_problems() -> None:
    document = SnapshotDocument.read(snapshot("s1", listeners=["127.0.0.1:3000", "127.0.0.1:3001"]))
    problems = [EntityProblem("listener", "listener-1", "", "no"), EntityProblem("route", "listener-0", "", "no")]
    assert document.addresses_of(problems) == {"127.0.0.1:3001"}
    document.close()


def test_same_bytes_are_the_same_document() -> None:
    first, second = (SnapshotDocument.read(snapshot("s1")) for _ in range(2))
    other = SnapshotDocument.read(snapshot("s1", mark="other"))
    assert first.is_same_as(second)
    assert not first.is_same_as(other)
    for document in (first, second, other):
        document.close()


@pytest.mark.parametrize(
    ("content", "reason", "snapshot_id"),
    [
        (b"{", "not JSON", ""),
        (b"\xff", "not JSON", ""),
        (b"[]", "not an object", ""),
        (b"{}", "id: must be a non-empty string", ""),
        (b'{"id":1}', "id: must be a non-empty string", ""),
        (b'{"id":"s","name":"n"}', "snapshot: must be an object", "s"),
        (b'{"id":"s","name":"n","snapshot":{"listeners":{}}}', "snapshot.listeners: must be an array", "s"),
        (b'{"id":"s","name":"n","snapshot":{"listeners":[]}}', "snapshot.routes: must be an array", "s"),
    ],
)
def test_a_malformed_document_says_what_is_wrong(content: bytes, reason: str, snapshot_id: str) -> None:
    with pytest.raises(MalformedSnapshot) as caught:
        SnapshotDocument.read(content)
    assert reason in str(caught.value)
    assert caught.value.snapshot_id == snapshot_id


def test_the_empty_document_has_the_shape_of_a_snapshot() -> None:
    document = SnapshotDocument.empty()
    assert document.is_empty
    assert set(json.loads(document.content())["snapshot"]) == {
        "listeners",
        "routes",
        "groups",
        "destinations",
        "middlewares",
    }
    document.close()


def test_the_cache_returns_what_was_stored_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    cache = SnapshotCache(tmp_path / "state" / "proxy")
    assert cache.load() is None
    for mark in ("one", "two"):
        document = SnapshotDocument.read(snapshot("s1", mark=mark))
        cache.store(document)
        loaded = cache.load()
        assert loaded is not None
        assert loaded.is_same_as(document)
        document.close()
        loaded.close()
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in cache.path.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, snapshot("s1")[:-10]])
def test_a_damaged_cache_gives_one_warning_and_is_ignored(tmp_path: Path, content: bytes) -> None:
    cache = SnapshotCache(tmp_path)
    cache.path.write_bytes(content)
    with capture_logs() as logs:
        assert cache.load() is None
    assert [(entry["log_level"], entry["path"]) for entry in logs] == [("warning", str(cache.path))]


def test_a_cache_that_cannot_be_written_warns_once_and_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = SnapshotCache(tmp_path / "file" / "proxy")
    document = SnapshotDocument.read(snapshot("s1"))
    with capture_logs() as logs:
        cache.store(document)
        cache.store(document)
    assert [entry["log_level"] for entry in logs] == ["warning"]
    document.close()


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SnapshotCache(tmp_path)
    old, new = SnapshotDocument.read(snapshot("old")), SnapshotDocument.read(snapshot("new"))
    cache.store(old)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with capture_logs():
        cache.store(new)
    assert cache.path.read_bytes() == snapshot("old")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    old.close()
    new.close()


def test_nesting_without_end_is_malformed() -> None:
    with pytest.raises(MalformedSnapshot, match="not JSON"):
        SnapshotDocument.read(b"[" * 200_000)
