"""The report: findings by fault and proxy, as a table and as a JSON document."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.faults.fault import FAULTS
from bench.faults.findings import LONG, Findings
from bench.faults.proxies import POLICY, PROXIES
from bench.faults.trial import Pace


@dataclass
class Report:
    """What was found, by the names of faults and proxies."""

    date: str
    machine: str
    pace: Pace
    versions: dict[str, str]
    """By proxy; only those that took part."""
    findings: dict[str, dict[str, Findings]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, fault: str, proxy: str, found: Findings) -> None:
        self.findings.setdefault(fault, {})[proxy] = found

    def table(self) -> Table:
        """One block of lines per fault."""
        table = Table(title=f"One of three backends fails for {self.pace.fault:g} s at {self.pace.rate:g} requests/s")
        table.add_column("fault")
        table.add_column("proxy")
        for heading in ("requests", "lost", f"> {LONG:g} s", "p50 ms", "p99 ms", "sent to it", "out s", "back s"):
            table.add_column(heading, justify="right")
        for fault in FAULTS:
            for number, (proxy, found) in enumerate(self.findings.get(fault.name, {}).items()):
                cells = (found.requests, found.lost, found.long, f"{found.p50_ms:.1f}", f"{found.p99_ms:.1f}")
                sent = "?" if found.attempts is None else f"{found.attempts} of {found.expected}"
                out = "?" if found.attempts is None else _seconds(found.out)
                table.add_row("" if number else fault.name, proxy, *map(str, cells), sent, out, _seconds(found.back))
            table.add_section()
        return table

    def legend(self) -> list[str]:
        """What a reader must know."""
        faults = [fault for fault in FAULTS if fault.name in self.findings]
        proxies = [proxy for proxy in PROXIES if proxy.name in self.versions]
        return [
            *(f"{fault.name}: {fault.title}" for fault in faults),
            "lost: no answer within 10 s, or not 2xx; p50 and p99: during the fault, from the time of planned sending",
            "sent to it: requests and attempts to connect during the fault, of what would be its share; with health"
            " checks where they cannot be told apart (kill, black-hole)",
            "out: until nothing but the odd request is sent to it; back: until it has its traffic again; -: never",
            *(f"all: {line}" for line in POLICY),
            *(f"{proxy.name} {self.versions[proxy.name]}: {proxy.DIFFERENCES}" for proxy in proxies),
            *(f"note: {note}" for note in self.notes),
            *(f"FAILED: {failure}" for failure in self.failures),
        ]

    def print(self, console: Console) -> None:
        console.print(self.table())
        for line in self.legend():
            console.print(line, highlight=False, markup=False)

    def document(self) -> dict[str, Any]:
        return {
            "run": {
                "date": self.date,
                "machine": self.machine,
                "versions": self.versions,
                "requests_per_second": self.pace.rate,
                "fault_seconds": self.pace.fault,
            },
            "findings": {
                fault: {proxy: found.document() for proxy, found in by_proxy.items()}
                for fault, by_proxy in self.findings.items()
            },
            "legend": self.legend(),
            "failures": self.failures,
        }

    def write(self, path: Path) -> None:
        """Write the document as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=2) + "\n")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
