"""The shell examples of the documentation, to be run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

DOCUMENTATION = Path(__file__).resolve().parents[2]

_EXAMPLE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# A person reads the answer to an activation before typing on; a script has to wait until the proxy acts on it.
_PRELUDE = r"""
set -euo pipefail
trap 'jobs -p | xargs -r kill' EXIT
vrata() {
    "$PYTHON" -m vrata "$@"
}
curl() {
    command curl -sS --max-time 20 "$@"
    echo
    local last=${*: -1}
    if [[ $last == */snapshots/*/activate ]]; then
        local id=${last%/activate}
        id=${id##*/}
        for _ in {1..200}; do
            command curl -sS "${last%/snapshots/*}/proxies" | grep -q "\"activeSnapshot\": *{\"id\": *\"$id\"" && return
            sleep 0.05
        done
        return 1
    fi
}
"""


def examples(page: str) -> str:
    """All shell examples of a page (path from the repository's root), in order, as one script."""
    found = _EXAMPLE.findall((DOCUMENTATION / page).read_text(encoding="utf-8"))
    assert found, f"{page} has no examples"
    return "".join(found)


def run(script: str, ports: Mapping[int, int], directory: Path) -> str:
    """Run *script* with the documented ports replaced by those of *ports*; returns what it printed.

    Raises ``AssertionError`` when a command fails. curl shows its errors, but not its progress.
    """
    script = script.replace(".venv/bin/vrata", "vrata")  # the one that is tested
    script = script.replace(".venv/bin/python", '"$PYTHON"')
    for documented, used in ports.items():
        script = re.sub(rf"\b{documented}\b", str(used), script)
    done = subprocess.run(
        ["bash", "-c", _PRELUDE + script],
        cwd=directory,
        env=os.environ | {"PYTHON": sys.executable, "VRATA_API": f"http://127.0.0.1:{ports.get(8080, 8080)}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
