"""``python -m bench.middlewares``: measure, print the tables, write ``middlewares.json``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from bench.balancing import show
from bench.comparison.arguments import names
from bench.comparison.installation import ROOT, install, present
from bench.comparison.proxies.vrata import Vrata
from bench.middlewares import turns
from bench.middlewares.costs import VRATA
from bench.middlewares.peers import PROXIES
from bench.middlewares.report import BAR, differences, document, markdown, metrics_ratio, peer_rows, rows
from bench.middlewares.subject import select
from vrata.compilation import INTERPRETED

ROUNDS, QUICK_ROUNDS = 10, 4
MINUTES, QUICK_MINUTES = 11.2, 4.5
"""No turn begins later than this."""


def main() -> int:
    """Run it; the exit code."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    started = time.monotonic()
    wrong = [] if arguments.no_install or not arguments.peers else install(["wrk", "nginx"])
    versions, absent = present([PROXIES[name] for name in PROXIES if name in arguments.peers])
    peers = tuple(versions)
    minutes = QUICK_MINUTES if arguments.quick else MINUTES
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    found = turns.run(arguments.only, peers, rounds, arguments.seconds, started + 60 * minutes)
    found.notes += [*wrong, *absent]
    if INTERPRETED:
        found.notes.append(f"hot modules are interpreted, which says little of an installation: {INTERPRETED}")
    show(rows(arguments.only, found))
    if peers:
        print("the whole (more than the own plain route); ratio: Vrata's whole to the peer's (middle half)\n")
        print(markdown(peer_rows(arguments.only, found, peers)), end="\n\n")
    for line in (
        *differences(arguments.only, peers),
        *found.notes,
        *(f"FAILED: {failure}" for failure in found.failures),
    ):
        print(line)
    versions = {VRATA: Vrata.version(), **versions}
    result = document(arguments.only, found, arguments.seconds, versions)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    ratio = metrics_ratio(found)
    if ratio is not None:
        print(
            f"metrics: {ratio:.3f} times the cost without, {'within' if ratio <= BAR else 'NOT within'} {BAR - 1:.0%}"
        )
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if not found.failures and (ratio is None or ratio <= BAR) else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What middlewares, metrics and tracing cost per request.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within 5 minutes")
    parser.add_argument("--rounds", type=int, default=0, help="turns of each")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn")
    parser.add_argument("--only", nargs="+", default=[], help="those whose names begin so")
    parser.add_argument(
        "--peers", type=names, default=tuple(PROXIES), help="who has to do the same, separated by commas; none"
    )
    parser.add_argument("--no-install", action="store_true", help="do with the peers that are installed")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "middlewares.json")
    arguments = parser.parse_args()
    if arguments.peers == ("none",):
        arguments.peers = ()
    unknown = set(arguments.peers) - set(PROXIES)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are: {', '.join(PROXIES)}")
    try:
        arguments.only = select(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    return arguments


if __name__ == "__main__":
    sys.exit(main())
