"""The data plane in a thousand small worlds, each decided by its seed; and whether the rules would notice anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.scenario import scenario
from tests.simulation.world import run

SEEDS, BLOCK = 1000, 25
MOST_RUNS = 100
"""Seeds within which a bug is to be found."""
TOGETHER = 4
"""Bugs that one process looks for, one after another."""
HAPPENS = (
    "retries", "retries at the limit", "stickiness", "panic", "no_endpoint", "connections at the limit",
    "requests at the limit", "circuits opened", "probes", "circuit_open", "ejections", "endpoints unhealthy",
    "timeout", "connection_refused", "connection_reset", "hang", "cut", "short", "early", "dribble",
)  # fmt: skip
"""What the rules are about, and so has to come to pass in the first block already."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_rule_is_broken(first: int) -> None:
    counted: dict[str, int] = {}
    for seed in range(first, first + BLOCK):
        result = run(scenario(seed))
        if result.violations:
            pytest.fail(result.report, pytrace=False)
        for what, number in result.counted.items():
            counted[what] = counted.get(what, 0) + number
    assert first or not set(HAPPENS) - counted.keys()


def simulation(*arguments: str, **variables: str) -> str:
    """The output of a run in a process of its own, with these environment variables."""
    command = [sys.executable, "-m", "tests.simulation", "--size", "1", *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def test_the_same_seed_gives_the_same_transcript() -> None:
    """In another process, with other hashes, and whether the hot modules are compiled or not."""
    arguments = ("--first", "0", "--runs", "15", "--digests")
    digests = simulation(*arguments, PYTHONHASHSEED="1")
    assert simulation(*arguments, PYTHONHASHSEED="2", VRATA_INTERPRETED="1") == digests
    assert len(set(re.findall(r"\b[0-9a-f]{64}\b", digests))) == 15


@pytest.mark.parametrize("first", range(0, len(MUTATIONS), TOGETHER))
def test_bugs_are_found(first: int) -> None:
    mutations = list(MUTATIONS)[first : first + TOGETHER]
    output = simulation("--first", "0", "--runs", str(MOST_RUNS), "--mutation", *mutations)
    for found in re.split("^with ", output, flags=re.MULTILINE)[1:]:
        assert " 1 failed" in found, found
        mutations.remove(found.partition(":")[0])
    assert not mutations
