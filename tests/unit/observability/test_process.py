"""The name and the make of a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import uvloop

from vrata.observability.build import ACCELERATED, implementation, is_compiled

NAMED = """
from vrata.observability import process
process.set_name("vrata-a-name-too-long")
print(open("/proc/self/comm").read().strip())
"""

BUILD = "from vrata.observability.build import implementation; print(implementation('vrata.wire.http1.head'))"


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


def test_extension_modules_count_as_compiled_and_others_do_not() -> None:
    assert is_compiled(uvloop.Loop.__mro__[1].__module__)
    assert not is_compiled("vrata.observability.build")
    assert not is_compiled("nothing.at.all")
    assert not is_compiled("sys")


@pytest.mark.parametrize("module", ACCELERATED)
def test_every_accelerated_module_says_how_it_runs(module: str) -> None:
    assert implementation(module) in ("compiled", "interpreted")


def test_the_interpreted_implementation_can_be_asked_for() -> None:
    assert said_by(BUILD, VRATA_INTERPRETED="1") == "interpreted\n"
