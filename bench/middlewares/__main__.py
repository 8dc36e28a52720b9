"""``python -m bench.middlewares``: measure, print the table, write ``middlewares.json``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.balancing import show
from bench.comparison.installation import ROOT
from bench.comparison.machine import machine
from bench.comparison.proxies.vrata import Vrata
from bench.middlewares import turns
from bench.middlewares.subject import PLAIN, Subject, select
from bench.middlewares.turns import Turns
from vrata.compilation import INTERPRETED

BAR = 1.05
"""How many times the processor time without metrics a request may cost with them."""
ROUNDS, QUICK_ROUNDS = 15, 6
MINUTES, QUICK_MINUTES = 12.0, 3.6
"""No turn begins later than this."""


def rows(subjects: Sequence[Subject], found: Turns) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    lines: list[tuple[str, ...]] = [("", "CPU us", "more by us", "middle half", "times", "req/s")]
    for subject in subjects:
        if subject.name == PLAIN:
            plain = found.plain()
            if plain is not None:
                lines.append((f"{PLAIN}: {subject.title}", f"{plain.cpu_us:.1f}", "", "", "", f"{plain.rps:.0f}"))
            continue
        cost = found.cost(subject.name)
        if cost is not None:
            figures, (low, high) = cost.figures, cost.middle
            lines.append(
                (
                    f"{subject.name}: {subject.title}",
                    f"{figures.cpu_us:.1f}",
                    f"{cost.added:+.1f}",
                    f"{low:+.1f} to {high:+.1f}",
                    f"{cost.ratio:.3f}",
                    f"{figures.rps:.0f}",
                )
            )
    return lines


def metrics_ratio(found: Turns) -> float | None:
    """How many times the processor time without metrics that with them is; None when it was not measured."""
    cost = found.cost("no-metrics")
    return None if cost is None else 1 / cost.ratio


def document(subjects: Sequence[Subject], found: Turns, seconds: int) -> dict[str, Any]:
    """What goes to the file."""
    plain, ratio = found.plain(), metrics_ratio(found)
    costs = {subject.name: found.cost(subject.name) for subject in subjects if subject.name != PLAIN}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "version": Vrata.version(),
        "rounds": len(found.rounds),
        "seconds": seconds,
        "plain": plain.document() if plain is not None else None,
        "subjects": {
            name: {
                **cost.figures.document(),
                "added_us": round(cost.added, 3),
                "added_us_middle": [round(edge, 3) for edge in cost.middle],
                "ratio": round(cost.ratio, 4),
            }
            for name, cost in costs.items()
            if cost is not None
        },
        "metrics_ratio": None if ratio is None else round(ratio, 4),
        "metrics_bar": BAR,
        "titles": {subject.name: subject.title for subject in subjects},
        "notes": found.notes,
        "failures": found.failures,
    }


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description="What middlewares, metrics and tracing cost per request.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, within 4 minutes")
    parser.add_argument("--rounds", type=int, default=0, help="turns of each")
    parser.add_argument("--seconds", type=int, default=1, help="length of a turn")
    parser.add_argument("--only", nargs="+", default=[], help="those whose names begin so")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "middlewares.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        subjects = select(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    minutes = QUICK_MINUTES if arguments.quick else MINUTES
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    found = turns.run(subjects, rounds, arguments.seconds, time.monotonic() + 60 * minutes)
    if INTERPRETED:
        found.notes.append(f"hot modules are interpreted, which says little of an installation: {INTERPRETED}")
    show(rows(subjects, found))
    for line in (*found.notes, *(f"FAILED: {failure}" for failure in found.failures)):
        print(line)
    arguments.output.write_text(json.dumps(document(subjects, found, arguments.seconds), indent=2) + "\n")
    ratio = metrics_ratio(found)
    if ratio is not None:
        print(
            f"metrics: {ratio:.3f} times the cost without, {'within' if ratio <= BAR else 'NOT within'} {BAR - 1:.0%}"
        )
    return 0 if not found.failures and (ratio is None or ratio <= BAR) else 1


if __name__ == "__main__":
    sys.exit(main())
