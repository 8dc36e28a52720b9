"""Which of two things runs: the modules that were compiled at installation, or their sources.

An extension module hides the source beside it, so one that was compiled from an older source would quietly be run
instead of it. The build records what it compiled (``compiled.json``, written by ``setup.py``); if any of these sources
has changed since, or ``VRATA_INTERPRETED`` is set in the environment, or nothing was compiled, all of them run
interpreted: never a mixture.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import source_hash, spec_from_file_location
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).parent
_RECORD = _PACKAGE / "compiled.json"


def reason_to_interpret() -> str:
    """Why the compiled modules must not run; empty when they may."""
    if os.environ.get("VRATA_INTERPRETED"):
        return "VRATA_INTERPRETED is set"
    try:
        record = json.loads(_RECORD.read_bytes())
    except FileNotFoundError:
        return "nothing was compiled"
    if record["suffix"] not in EXTENSION_SUFFIXES:
        return "compiled for another Python"
    for source, digest in record["sources"].items():
        if source_hash((_PACKAGE.parent / source).read_bytes()).hex() != digest:
            return f"{source} has changed since it was compiled"
    return ""


class SourceFinder(MetaPathFinder):
    """Finds the sources of the package's modules before the import system finds what was compiled from them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's source, or None for packages and for what is not the package's."""
        package, _, rest = fullname.partition(".")
        source = _PACKAGE.joinpath(*rest.split(".")).with_suffix(".py")
        if package != _PACKAGE.name or not rest or not source.is_file():
            return None
        return spec_from_file_location(fullname, source)


INTERPRETED = reason_to_interpret()
"""Empty when the compiled modules run, else why they do not. Decided once for the life of the process."""


def settle() -> None:
    """Let the import system act on :data:`INTERPRETED`; called as the package is imported, before its modules."""
    if INTERPRETED and not any(isinstance(finder, SourceFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, SourceFinder())
