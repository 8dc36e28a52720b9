"""Which of the compiled modules and their sources runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import source_hash
from pathlib import Path

import pytest

import vrata

PROGRAM = """
from vrata.compilation import INTERPRETED
import vrata.wire.http1.status
print(INTERPRETED or "compiled", vrata.wire.http1.status.__file__.rpartition(".")[2])
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package, in which one module has something beside it that claims to be its compiled form."""
    package = tmp_path / "vrata"
    shutil.copytree(
        Path(vrata.__file__).parent, package, ignore=shutil.ignore_patterns("*.so", "compiled.json", "__pycache__")
    )
    (package / "wire/http1" / f"status{EXTENSION_SUFFIXES[0]}").write_bytes(b"no extension at all")
    return tmp_path


def record(tree: Path, suffix: str = EXTENSION_SUFFIXES[0]) -> None:
    source = "vrata/wire/http1/status.py"
    sources = {source: source_hash((tree / source).read_bytes()).hex()}
    (tree / "vrata/compiled.json").write_text(json.dumps({"suffix": suffix, "sources": sources}))


def run(tree: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "VRATA_INTERPRETED"}
    return subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        env={**inherited, "PYTHONPATH": str(tree), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_what_was_compiled_from_the_present_sources_runs(tree: Path) -> None:
    record(tree)
    # It is taken, and being no extension, cannot be loaded.
    assert "ImportError" in run(tree).stderr


def test_a_source_that_has_changed_runs_instead_of_what_was_compiled_from_it(tree: Path) -> None:
    record(tree)
    with (tree / "vrata/wire/http1/status.py").open("a") as source:
        source.write("\n")
    assert run(tree).stdout == "vrata/wire/http1/status.py has changed since it was compiled py\n"


def test_the_sources_run_where_nothing_is_recorded(tree: Path) -> None:
    assert run(tree).stdout == "nothing was compiled py\n"


def test_the_sources_run_when_they_are_asked_for(tree: Path) -> None:
    record(tree)
    assert run(tree, VRATA_INTERPRETED="1").stdout == "VRATA_INTERPRETED is set py\n"


def test_the_sources_run_where_another_python_had_compiled_them(tree: Path) -> None:
    record(tree, suffix=".cpython-27-pdp11.so")
    assert run(tree).stdout == "compiled for another Python py\n"
