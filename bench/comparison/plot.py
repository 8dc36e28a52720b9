"""The results as a picture (SVG): per workload, processor time per request of each proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bench.comparison.results import Results
from bench.comparison.workload import Workload

_COLUMNS = 2
_PANEL_WIDTH = 440
_NAME_WIDTH = 62
_BAR = 16
_LINE = 22
_TITLE = 30
_HEADER = 52
_FOOTER = 40
_VALUE_WIDTH = 118
_USER = {True: "#0b6e4f", False: "#5b6b7b"}
_SYSTEM = {True: "#8cc9b1", False: "#c3ccd5"}
"""The first proxy stands out; in both shades the darker part is user time."""
_STYLE = "font-family: system-ui, sans-serif; font-size: 12px; fill: #1d2733"


def render(results: Results, workloads: Iterable[Workload], proxies: Sequence[str]) -> str:
    """The whole picture; workloads without measurements are left out. Each panel has a scale of its own."""
    shown = [workload for workload in workloads if results.proxies(workload.name)]
    panel_height = _TITLE + _LINE * len(proxies) + 12
    rows = -(-len(shown) // _COLUMNS)
    width, height = _PANEL_WIDTH * _COLUMNS, _HEADER + panel_height * rows + _FOOTER
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" style="{_STYLE}">',
        "<title>Processor time per request, by proxy and workload</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "Processor time per request, microseconds (less is better)", size=15, weight="bold"),
        *_legend(16, 34),
    ]
    for number, workload in enumerate(shown):
        x = _PANEL_WIDTH * (number % _COLUMNS)
        y = _HEADER + panel_height * (number // _COLUMNS)
        parts += _panel(results, workload, proxies, x, y)
    run = results.run
    circumstances = (
        f"Medians of {run.rounds} rounds of {run.seconds} s, one core each; {run.machine}; {run.date[:10]}.",
        ", ".join(f"{proxy} {version}" for proxy, version in run.versions.items()),
    )
    for line, text in enumerate(circumstances):
        parts.append(_text(16, height - _FOOTER + 14 + 15 * line, text, size=10, fill="#5b6b7b"))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _legend(x: int, y: int) -> list[str]:
    return [
        _rect(x, y, 10, 10, _USER[False]),
        _text(x + 15, y + 9, "user"),
        _rect(x + 55, y, 10, 10, _SYSTEM[False]),
        _text(x + 70, y + 9, "kernel (the same TCP work for all, at the least)"),
    ]


def _panel(results: Results, workload: Workload, proxies: Sequence[str], x: int, y: int) -> list[str]:
    measured = {proxy: results.median(workload.name, proxy) for proxy in proxies}
    longest = max(found.user_us + found.sys_us for found in measured.values() if found is not None)
    scale = (_PANEL_WIDTH - 16 - _NAME_WIDTH - _VALUE_WIDTH) / longest
    parts = [_text(x + 16, y + 20, workload.title, weight="bold")]
    for line, (proxy, found) in enumerate(measured.items()):
        top = y + _TITLE + _LINE * line
        parts.append(_text(x + 16, top + 12, proxy, weight="bold" if line == 0 else "normal"))
        start = x + 16 + _NAME_WIDTH
        if found is None:
            parts.append(_text(start, top + 12, "-"))
            continue
        user, system = found.user_us * scale, found.sys_us * scale
        parts += [
            _rect(start, top, user, _BAR, _USER[line == 0]),
            _rect(start + user, top, system, _BAR, _SYSTEM[line == 0]),
            _text(start + user + system + 6, top + 12, f"{found.cpu_us:.1f} ({found.user_us:.1f} user)"),
        ]
    return parts


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", fill: str = "#1d2733") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(text)}</text>'
    )
