"""Results: the measurements of all rounds, their medians and ratios, and the document they become."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.comparison.measurement import Measurement, medians


@dataclass(frozen=True, slots=True)
class Run:
    """The circumstances, without which figures mean little."""

    date: str
    machine: str
    rounds: int
    seconds: int
    """Of each run."""
    versions: dict[str, str]
    """By proxy; only those that took part."""


@dataclass
class Results:
    """What was measured, by the names of workloads and proxies."""

    run: Run
    rounds: dict[str, list[dict[str, Measurement]]] = field(default_factory=dict)
    """By workload: one dictionary per round, by proxy. A run that failed, or was skipped, is missing."""
    idle_kib: dict[str, dict[str, float]] = field(default_factory=dict)
    """By workload: KiB that each idle connection costs the proxy."""
    control: dict[str, list[float]] = field(default_factory=dict)
    """By proxy: share of one core that the processes beside its data path used, in each run."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know: who was skipped and why, what was not the same for all."""
    failures: list[str] = field(default_factory=list)
    """What went wrong in runs."""

    def add(self, workload: str, number: int, proxy: str, measurement: Measurement) -> None:
        """Keep what *proxy* showed in round *number*, counted from 0."""
        rounds = self.rounds.setdefault(workload, [])
        rounds.extend({} for _ in range(number + 1 - len(rounds)))
        rounds[number][proxy] = measurement

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def median(self, workload: str, proxy: str) -> Measurement | None:
        """The medians over the rounds; ``None`` when the proxy was not measured."""
        found = [measured[proxy] for measured in self.rounds.get(workload, []) if proxy in measured]
        return medians(found) if found else None

    def ratio(self, figure: str, workload: str, proxy: str, *, peer: str = "", baseline: str = "") -> float | None:
        """How many times *figure* of *peer* that of *proxy* is, or that of itself in the workload *baseline*.

        It is the median of the ratios within each round: there both ran under nearly the same conditions, so that
        this varies far less than the figures do. ``None`` when there is no such round.
        """
        rounds, others = (self.rounds.get(name, []) for name in (workload, baseline or workload))
        pairs = [(here.get(proxy), there.get(peer or proxy)) for here, there in zip(rounds, others, strict=False)]
        found = [
            getattr(ours, figure) / getattr(theirs, figure)
            for ours, theirs in pairs
            if ours is not None and theirs is not None and getattr(theirs, figure) > 0
        ]
        return median(found) if found else None

    def proxies(self, workload: str) -> set[str]:
        """The proxies that were measured."""
        return {proxy for measured in self.rounds.get(workload, []) for proxy in measured}

    def document(self) -> dict[str, Any]:
        """``workloads`` holds the medians; everything else is beside it."""
        workloads: dict[str, dict[str, dict[str, float]]] = {}
        for workload in self.rounds:
            workloads[workload] = {}
            for proxy in self.run.versions:
                measured = self.median(workload, proxy)
                if measured is None:
                    continue
                workloads[workload][proxy] = measured.document()
                if proxy in self.idle_kib.get(workload, {}):
                    workloads[workload][proxy]["idle_connection_kib"] = round(self.idle_kib[workload][proxy], 2)
        return {
            "workloads": workloads,
            "ratios": self._ratios(),
            "control_cpu_share": {proxy: round(median(shares), 4) for proxy, shares in self.control.items() if shares},
            "run": asdict(self.run),
            "notes": self.notes,
            "failures": self.failures,
        }

    def _ratios(self) -> dict[str, dict[str, dict[str, float]]]:
        """By workload, then by peer: Vrata's ratios to it."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for workload in self.rounds:
            for peer in (proxy for proxy in self.run.versions if proxy != "vrata"):
                ratios = {
                    figure: round(ratio, 4)
                    for figure in ("cpu_us", "user_us", "sys_us", "rps", "p50_ms", "p99_ms")
                    if (ratio := self.ratio(figure, workload, "vrata", peer=peer)) is not None
                }
                if ratios:
                    found.setdefault(workload, {})[peer] = ratios
        return found

    def write(self, path: Path) -> None:
        """Write the document as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=2) + "\n")
