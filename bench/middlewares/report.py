"""The report: tables to read, and the document to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.comparison.machine import machine
from bench.comparison.measurement import Measurement
from bench.middlewares.costs import VRATA, Cost, Middle, Turns
from bench.middlewares.peers import STAGES
from bench.middlewares.subject import PLAIN, Subject

BAR = 1.05
"""How many times the processor time without metrics a request may cost with them."""


def rows(subjects: Sequence[Subject], found: Turns) -> list[tuple[str, ...]]:
    """What each subject costs Vrata, the heading first."""
    lines: list[tuple[str, ...]] = [("", "CPU us", "more by us", "middle half", "times", "req/s")]
    for subject in subjects:
        if subject.name == PLAIN:
            plain = found.plain()
            if plain is not None:
                lines.append((f"{PLAIN}: {subject.title}", f"{plain.cpu_us:.1f}", "", "", "", f"{plain.rps:.0f}"))
            continue
        cost = found.cost(subject.name)
        if cost is not None:
            figures, added = cost.figures, cost.added
            lines.append(
                (
                    f"{subject.name}: {subject.title}",
                    f"{figures.cpu_us:.1f}",
                    f"{added.value:+.1f}",
                    f"{added.low:+.1f} to {added.high:+.1f}",
                    f"{cost.ratio:.3f}",
                    f"{figures.rps:.0f}",
                )
            )
    return lines


def peer_rows(subjects: Sequence[Subject], found: Turns, peers: Sequence[str]) -> list[tuple[str, ...]]:
    """What each subject costs Vrata and *peers*, the heading first; empty is what a peer has no feature for."""
    heading = [f"{peer} {what}" for peer in peers for what in ("us", "ratio")]
    lines: list[tuple[str, ...]] = [("subject", "vrata us", *heading)]
    for subject in subjects:
        ours = _amount(subject.name, found, VRATA)
        if ours:
            theirs = [
                cell
                for peer in peers
                for cell in (_amount(subject.name, found, peer), _ratio(_beside(subject.name, found, peer)))
            ]
            lines.append((f"{subject.name}: {subject.title}", ours, *theirs))
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table for documents, with *lines* of cells, the heading first."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )


def differences(subjects: Sequence[Subject], peers: Sequence[str]) -> list[str]:
    """What is not the same at the peers, and what they have no feature for, a line for each of them."""
    lines = []
    for peer in peers:
        stage = STAGES[peer]
        names = [subject.name for subject in subjects]
        same = [f"{name}: {stage.differs[name]}" for name in names if name in stage.differs]
        none = [f"{name}: {stage.lacks[name]}" for name in names if name in stage.lacks]
        lines += [f"{peer}: {'; '.join(same)}"] * bool(same) + [f"{peer} has no {'; '.join(none)}"] * bool(none)
    return lines


def metrics_ratio(found: Turns) -> float | None:
    """How many times the processor time without metrics that with them is; None when it was not measured."""
    cost = found.cost("no-metrics")
    return None if cost is None else 1 / cost.ratio


def document(subjects: Sequence[Subject], found: Turns, seconds: int, versions: Mapping[str, str]) -> dict[str, Any]:
    """What goes to the file; *versions* are those of Vrata and of the peers that took part."""
    ratio = metrics_ratio(found)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "version": versions[VRATA],
        "versions": dict(versions),
        "rounds": len(found.rounds),
        "seconds": seconds,
        **_costs(subjects, found, VRATA),
        "peers": {peer: _peer(subjects, found, peer) for peer in versions if peer != VRATA},
        "metrics_ratio": None if ratio is None else round(ratio, 4),
        "metrics_bar": BAR,
        "titles": {subject.name: subject.title for subject in subjects},
        "notes": found.notes,
        "failures": found.failures,
    }


def _peer(subjects: Sequence[Subject], found: Turns, peer: str) -> dict[str, Any]:
    costs = _costs(subjects, found, peer)
    for name, figures in (*costs["subjects"].items(), (PLAIN, costs["plain"])):
        ratio = _beside(name, found, peer)
        if ratio is not None:
            figures["vrata_ratio"] = round(ratio.value, 4)
            figures["vrata_ratio_middle"] = _edges(ratio, 4)
    names = {subject.name for subject in subjects}
    stage = STAGES[peer]
    return {
        **costs,
        "differs": {name: text for name, text in stage.differs.items() if name in names},
        "lacks": {name: text for name, text in stage.lacks.items() if name in names},
    }


def _costs(subjects: Sequence[Subject], found: Turns, proxy: str) -> dict[str, Any]:
    plain = found.plain(proxy)
    costs = {subject.name: found.cost(subject.name, proxy) for subject in subjects if subject.name != PLAIN}
    return {
        "plain": plain.document() if plain is not None else None,
        "subjects": {name: _figures(cost) for name, cost in costs.items() if cost is not None},
    }


def _figures(cost: Cost) -> dict[str, Any]:
    return {
        **cost.figures.document(),
        "added_us": round(cost.added.value, 3),
        "added_us_middle": _edges(cost.added, 3),
        "ratio": round(cost.ratio, 4),
    }


def _edges(middle: Middle, digits: int) -> list[float]:
    return [round(middle.low, digits), round(middle.high, digits)]


def _total(name: str, found: Turns, proxy: str) -> Measurement | None:
    if name == PLAIN:
        return found.plain(proxy)
    cost = found.cost(name, proxy)
    return None if cost is None else cost.figures


def _amount(name: str, found: Turns, proxy: str) -> str:
    """The whole, and in parentheses what is more than the plain route."""
    total, cost = _total(name, found, proxy), found.cost(name, proxy)
    if total is None:
        return ""
    return f"{total.cpu_us:.1f}" if cost is None else f"{total.cpu_us:.1f} ({cost.added.value:+.1f})"


def _ratio(middle: Middle | None) -> str:
    return "" if middle is None else f"{middle.value:.2f} ({middle.low:.2f} to {middle.high:.2f})"


def _beside(name: str, found: Turns, peer: str) -> Middle | None:
    return found.plain_beside(peer) if name == PLAIN else found.beside(name, peer)
