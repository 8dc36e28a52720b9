"""A long run of what the suite does briefly: ``python -m tests.robustness.campaign --minutes 10 [--seed N]``.

Prints how much was sent, and ends with 1 at the first disagreement, after printing the bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.robustness.differential import Differential
from tests.robustness.generation import divided, streams
from tests.robustness.property import REFUSALS, assert_consistent, assert_response_consistent
from tests.robustness.response_differential import ResponseDifferential
from tests.robustness.response_generation import METHODS, responses
from vrata.wire.http1.head import parse_request_head

ROUND = 2000
"""Examples between two looks at the clock."""


QUIETLY = settings(
    max_examples=ROUND,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
Check = Callable[[int, Counter[str]], None]
"""Runs one round from a seed, and counts what became of the examples."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    half = arguments.minutes * 30
    _say(f"heads are read by {parse_request_head.__module__}")
    with tempfile.TemporaryDirectory() as directory:
        with Differential(Path(directory, "requests")) as differential:
            _run("requests", _requests(differential), arguments.seed, half)
            _say(f"{differential.connections} client connections, {differential.messages} messages read alike")
        with ResponseDifferential(Path(directory, "responses")) as response_differential:
            _run("responses", _responses(response_differential), arguments.seed, half)


def _requests(differential: Differential) -> Check:
    def check(seed: int, outcomes: Counter[str]) -> None:
        @hypothesis.seed(seed)
        @QUIETLY
        @given(data=streams(), chance=st.data())
        def whatever_a_client_sends(data: bytes, chance: st.DataObject) -> None:
            found = assert_consistent(differential, data, chance.draw(divided(data)))
            statuses = [answer.status for answer in found.answers]
            refused = any(status in REFUSALS for status in statuses)
            outcomes["refused" if refused else "answered" if statuses else "unfinished"] += 1

        whatever_a_client_sends()

    return check


def _responses(differential: ResponseDifferential) -> Check:
    def check(seed: int, outcomes: Counter[str]) -> None:
        @hypothesis.seed(seed)
        @QUIETLY
        @given(data=responses(), method=METHODS, chance=st.data())
        def whatever_a_backend_sends(data: bytes, method: bytes, chance: st.DataObject) -> None:
            outcomes[assert_response_consistent(differential, data, method, chance.draw(divided(data)))] += 1

        whatever_a_backend_sends()

    return check


def _run(name: str, check: Check, seed: int, seconds: float) -> None:
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    rounds = 0
    while time.monotonic() - began < seconds:
        check(seed + rounds, outcomes)
        rounds += 1
    _say(f"{name}: seeds {seed} to {seed + rounds - 1}, {sum(outcomes.values())} examples: {dict(outcomes)}")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
