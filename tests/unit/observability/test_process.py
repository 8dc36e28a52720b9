"""The name of a process."""

from __future__ import annotations

import os
import subprocess
import sys

NAMED = """
from vrata.observability import process
process.set_name("vrata-a-name-too-long")
print(open("/proc/self/comm").read().strip())
"""


def said_by(program: str, **environ: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return result.stdout


def test_a_name_is_cut_to_what_the_kernel_keeps() -> None:
    assert said_by(NAMED) == "vrata-a-name-to\n"
