"""The results as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from bench.comparison.goals import Goal
from bench.comparison.results import Results
from bench.comparison.workload import Workload

_HEADINGS = ("", "CPU us", "user", "system", "req/s", "p50 ms", "p99 ms", "KiB/conn")
_ABSENT = "-"


def render(results: Results, workloads: Iterable[Workload], proxies: Sequence[str]) -> str:
    """One block per workload, a line per proxy; at the right, the first proxy's ratios to the one of the line."""
    first = proxies[0]
    lines: list[str] = []
    for workload in workloads:
        rows: list[tuple[str, ...]] = [(*_HEADINGS, f"{first}'s CPU", "user", "req/s")]
        rows += [_row(results, workload.name, proxy, first) for proxy in proxies]
        lines += [f"{workload.name}: {workload.title}", *_align(rows), ""]
    lines += _control(results)
    lines += [f"note: {note}" for note in results.notes]
    lines += [f"FAILED: {failure}" for failure in results.failures]
    return "\n".join(lines)


def render_goals(results: Results, goals: Iterable[Goal]) -> str:
    """What Vrata is to reach beside what it did; goals without measurements are left out."""
    rows = []
    for goal in goals:
        ratio = goal.ratio(results)
        if ratio is not None:
            rows.append((str(goal), f"{ratio:.2f}", "met" if ratio <= goal.limit else "missed"))
    return "\n".join(["goals:", *_align(rows)]) if rows else ""


def _row(results: Results, workload: str, proxy: str, first: str) -> tuple[str, ...]:
    measured = results.median(workload, proxy)
    if measured is None:
        return (proxy, *[_ABSENT] * (len(_HEADINGS) + 2))
    idle = results.idle_kib.get(workload, {}).get(proxy)
    ratios = (results.ratio(figure, workload, first, peer=proxy) for figure in ("cpu_us", "user_us", "rps"))
    return (
        proxy,
        f"{measured.cpu_us:.1f}",
        f"{measured.user_us:.1f}",
        f"{measured.sys_us:.1f}",
        f"{measured.rps:.0f}",
        f"{measured.p50_ms:.2f}",
        f"{measured.p99_ms:.2f}",
        _ABSENT if idle is None else f"{idle:.1f}",
        *(_ABSENT if ratio is None or proxy == first else f"{ratio:.2f} x" for ratio in ratios),
    )


def _align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            ["  " + row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]


def _control(results: Results) -> list[str]:
    shares = {proxy: median(found) for proxy, found in results.control.items() if found}
    if not shares:
        return []
    text = ", ".join(f"{proxy} {100 * share:.1f} %" for proxy, share in shares.items())
    return [f"beside the data path, not counted above, of one core: {text}"]
