"""Run the simulation for a time, on seeds by chance; or one seed again, with its transcript.

python -m tests.simulation --seconds 600
python -m tests.simulation --seed 4711 --size 1
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from random import SystemRandom

SIZE = 3.0
"""Of the worlds of a long run; those of the tests have 1."""


def main() -> int:
    """The exit code tells whether a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Deterministic simulation.")
    parser.add_argument("--seed", type=int, help="run this one alone and print its transcript")
    parser.add_argument("--size", type=float, default=SIZE, help="of the worlds; those of the tests have 1")
    parser.add_argument("--seconds", type=float, default=60, help="how long to run seeds by chance")
    parser.add_argument("--first", type=int, help="run the seeds from this one on instead")
    parser.add_argument("--runs", type=int, default=1 << 62, help="end after so many")
    parser.add_argument("--digests", action="store_true", help="print a digest of each transcript")
    parser.add_argument(
        "--mutation", nargs="+", default=[], help="put this bug into the proxy, and end when it is found"
    )
    arguments = parser.parse_args()
    if arguments.mutation:
        return with_bugs(arguments)
    return simulate(arguments)


def with_bugs(arguments: argparse.Namespace) -> int:
    """Run with each bug by itself, in a child process that has it; the highest exit code."""
    os.environ["VRATA_INTERPRETED"] = "1"  # what is compiled cannot be changed
    from tests.simulation.mutations import MUTATIONS

    codes = []
    for name in arguments.mutation:
        print(f"with {name}:", flush=True)
        child = os.fork()
        if not child:
            MUTATIONS[name]()
            code = simulate(arguments)
            sys.stdout.flush()
            os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return max(codes)


def simulate(arguments: argparse.Namespace) -> int:
    """Run as the arguments say; the exit code."""
    from tests.simulation.scenario import scenario
    from tests.simulation.world import run

    if arguments.seed is not None:
        result = run(scenario(arguments.seed, arguments.size))
        print(result.report if result.violations else result.transcript)
        return 1 if result.violations else 0
    end = time.monotonic() + arguments.seconds
    chance = SystemRandom()
    runs, failed, counted = 0, 0, dict[str, int]()
    while time.monotonic() < end and runs < arguments.runs:
        seed = chance.randrange(1 << 32) if arguments.first is None else arguments.first + runs
        result = run(scenario(seed, arguments.size))
        runs += 1
        for what, number in result.counted.items():
            counted[what] = counted.get(what, 0) + number
        if arguments.digests:
            print(seed, hashlib.sha256(result.transcript.encode()).hexdigest())
        if result.violations:
            failed += 1
            print(f"seed {seed}: {result.violations[0]}")
            print(f"  python -m tests.simulation --seed {seed} --size {arguments.size:g}", flush=True)
            if arguments.mutation:
                break
    print(f"{runs} runs, {failed} failed")
    if not arguments.digests:
        print(*(f"  {number:9,} {what}" for what, number in sorted(counted.items())), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
