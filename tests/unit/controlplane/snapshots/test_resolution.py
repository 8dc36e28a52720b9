from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrata.config import SecretSources
from vrata.controlplane.snapshots.resolution import MOST_FILE_BYTES, Resolver, Sources


def resolver(
    values: dict[str, str] | None = None, environ: dict[str, str] | None = None, directory: Path | None = None
) -> Resolver:
    directories = () if directory is None else (directory.resolve(),)
    return Resolver(Sources(values or {}, environ or {}, SecretSources(("OPEN_",), directories)))


def failure(reference: str, **sources: Any) -> str:
    resolving = resolver(**sources)
    assert resolving.resolve([reference]) == [reference]
    (found,) = resolving.failures
    return found


def test_references_are_replaced_wherever_strings_are() -> None:
    resolving = resolver({"s1": "one", "s2": "two"}, {"OPEN_X": "three"})
    document = {
        "a": "{{secret:value:s1}}",
        "b": ["x{{secret:value:s1}}{{secret:value:s2}}y", {"c": "{{secret:env:OPEN_X}}"}],
        "{{secret:value:s1}}": 1,
        "d": [1, 1.5, True, None, "{{other}}"],
    }
    assert resolving.resolve(document) == {
        "a": "one",
        "b": ["xonetwoy", {"c": "three"}],
        "{{secret:value:s1}}": 1,
        "d": [1, 1.5, True, None, "{{other}}"],
    }
    assert resolving.failures == ()


def test_a_value_that_looks_like_a_reference_is_not_resolved_again() -> None:
    assert resolver({"s1": "{{secret:value:s2}}", "s2": "no"}).resolve("{{secret:value:s1}}") == "{{secret:value:s2}}"


@given(st.text())
def test_values_arrive_unchanged(value: str) -> None:
    assert resolver({"s1": value}).resolve({"a": "<{{secret:value:s1}}>"}) == {"a": f"<{value}>"}


def test_a_file_is_taken_whole_with_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"line\r\n\x07\n")
    assert resolver(directory=tmp_path).resolve(f"{{{{secret:file:{tmp_path}/key}}}}") == "line\r\n\x07\n"


def test_an_empty_secret_entity_is_a_value() -> None:
    assert resolver({"s1": ""}).resolve("a{{secret:value:s1}}b") == "ab"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("{{secret:value:none}}", 'secret "none": secret "none": resource not found'),
        ("{{secret:value:}}", 'secret "": secret "": resource not found'),
        ("{{secret:env:OPEN_MISSING}}", 'env var "OPEN_MISSING" is not set'),
        ("{{secret:env:OPEN_EMPTY}}", 'env var "OPEN_EMPTY" is not set'),
        ("{{secret:env:CLOSED}}", 'env var "CLOSED": controlPlane.secrets.allowEnv does not allow it'),
        ("{{secret:file:/etc/passwd}}", 'file "/etc/passwd": controlPlane.secrets.allowFile does not allow it'),
        ("{{secret:vault:x}}", 'secret source "vault" of "x" is unknown: must be value, env or file'),
        ("{{secret:VALUE:s1}}", 'secret source "VALUE" of "s1" is unknown: must be value, env or file'),
        ("{{secret:s1}}", "{{secret:s1}}: must name a source and a secret"),
        ("{{secret:}}", "{{secret:}}: must name a source and a secret"),
    ],
)
def test_what_cannot_be_resolved_is_named(reference: str, expected: str) -> None:
    assert failure(reference, values={"s1": "x"}, environ={"OPEN_EMPTY": "", "CLOSED": "x"}) == expected


def test_all_failures_are_listed_once_each_in_order() -> None:
    resolving = resolver({"s1": "x"})
    resolving.resolve({"a": "{{secret:value:b}}{{secret:value:s1}}{{secret:value:a}}", "b": "{{secret:value:b}}"})
    resolving.resolve("{{secret:env:OPEN_A}}")
    assert resolving.failures == (
        'secret "b": secret "b": resource not found',
        'secret "a": secret "a": resource not found',
        'env var "OPEN_A" is not set',
    )


def file_failure(directory: Path, path: str) -> str:
    text = failure(f"{{{{secret:file:{path}}}}}", directory=directory)
    assert text.startswith(f'file "{path}": ')
    return text.removeprefix(f'file "{path}": ')


def test_why_a_file_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (MOST_FILE_BYTES + 1))
    (tmp_path / "limit").write_bytes(b"x" * MOST_FILE_BYTES)
    assert file_failure(tmp_path, f"{tmp_path}/missing") == "No such file or directory"
    assert file_failure(tmp_path, f"{tmp_path}/directory") == "not a regular file"
    assert file_failure(tmp_path, f"{tmp_path}/binary") == "not UTF-8 text"
    assert file_failure(tmp_path, f"{tmp_path}/large") == f"larger than {MOST_FILE_BYTES} bytes"
    assert len(resolver(directory=tmp_path).resolve(f"{{{{secret:file:{tmp_path}/limit}}}}")) == MOST_FILE_BYTES


def test_no_way_leads_out_of_the_allowed_directories(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "outside").write_text("not yours")
    (allowed / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "file").write_text("not yours")
    (allowed / "loop").symlink_to(allowed / "loop")
    refusal = "controlPlane.secrets.allowFile does not allow it"
    for path in ("allowed/../outside", "allowed/link", "allowed-not/file", "missing", "outside"):
        assert file_failure(allowed, f"{tmp_path}/{path}") == refusal
    assert file_failure(allowed, "outside") == refusal
    assert file_failure(allowed, f"{allowed}/loop") in ("not a path, or a loop of links", refusal)
    assert file_failure(allowed, "a\x00b") == "not a path, or a loop of links"


def test_links_within_the_allowed_directories_are_followed(tmp_path: Path) -> None:
    # This is how Kubernetes mounts a Secret: key -> ..data/key, ..data -> ..2026_01_01
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "key").write_text("mounted")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "key").symlink_to("..data/key")
    assert resolver(directory=tmp_path).resolve(f"{{{{secret:file:{tmp_path}/key}}}}") == "mounted"
