"""Limits of file descriptors, changed for real in processes that are there for it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from vrata.net.descriptors import MOST, Reserve, limit


def run(program: str) -> str:
    """What *program* prints in a process of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    program = """
import resource
from vrata.net.descriptors import limit, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
print(limit(), raise_limit(), limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(program) == "100 300 300 (300, 300)"


def test_a_limit_is_known_even_where_there_is_none() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limit() == (MOST if soft == resource.RLIM_INFINITY else soft)


def test_what_is_held_back_is_there_when_there_is_nothing_else() -> None:
    program = """
import os, resource
from vrata.net.descriptors import Reserve
reserve = Reserve(2)
taken = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    print(reserve)
with reserve.lent():
    needed = os.open("/dev/null", os.O_RDONLY)
print(reserve)
os.close(needed)
with reserve.lent():
    pass
print(reserve)
"""
    assert run(program).splitlines() == [
        "<Reserve 2 of 2 descriptors>",
        "<Reserve 1 of 2 descriptors>",
        "<Reserve 2 of 2 descriptors>",
    ]


def test_a_reserve_that_is_closed_holds_nothing() -> None:
    before = os.listdir("/proc/self/fd")
    reserve = Reserve(3)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 3
    reserve.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
