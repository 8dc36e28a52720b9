"""Endpoints for people: a table on a terminal, aligned lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vrata.cli.control_plane import Document
from vrata.cli.text import clean

_COLUMNS = ("ENDPOINT", "WEIGHT", "SOURCE", "AVAILABLE", "HEALTH", "OUTLIER", "ACTIVE", "CONNECTIONS")
_LIMITS = ("connections", "pending", "requests", "retries")


def show(answer: Document) -> None:
    """Print what the API says of a destination's endpoints."""
    console = Console(highlight=False)
    if not answer["proxies"]:
        console.print("no proxy is known", style="yellow")
    for number, proxy in enumerate(answer["proxies"]):
        if number:
            console.print()
        _show_proxy(console, proxy)


def _show_proxy(console: Console, proxy: Document) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(Text(clean(text), style=style), soft_wrap=True)

    line(_title(proxy), "bold" if proxy["connected"] else "bold yellow")
    if proxy["state"] == "absent":
        line("  the snapshot that it serves with does not have the destination")
        return
    if proxy["panic"]["active"]:
        line(f"  panic: {proxy['panic']['reason']}", "red")
    if proxy["discovery"]["stale"]:
        line(f"  discovery is stale: {proxy['discovery']['reason']}", "yellow")
    breaker = proxy["circuitBreaker"]
    if breaker is not None:
        line(f"  {_breaker(breaker)}", "" if breaker["state"] == "closed" else "red")
    rows = [_row(endpoint) for endpoint in proxy["endpoints"]]
    if rows and console.is_terminal:
        console.print(_table(rows, [endpoint["available"] for endpoint in proxy["endpoints"]]))
    elif rows:
        for text in _aligned([_COLUMNS, *rows]):
            console.print(Text(f"  {text}"), soft_wrap=True)
    else:
        line("  no endpoints", "yellow")
    if proxy["omittedEndpoints"]:
        line(f"  and {proxy['omittedEndpoints']} more that are not shown")


def _title(proxy: Document) -> str:
    snapshot = proxy["activeSnapshot"]
    serves = "no snapshot" if snapshot is None else f"snapshot {snapshot['name'] or snapshot['id']}"
    if proxy["connected"]:
        return f"{proxy['proxyId']}: {serves}, as of {proxy['acknowledgedAt'] or 'never'}"
    return f"{proxy['proxyId']}: not connected since {proxy['lastSeen']}, {serves}"


def _breaker(breaker: Document) -> str:
    text = f"circuit breaker {breaker['state']}"
    if breaker["since"]:
        text += f" since {breaker['since']}"
    if breaker["consecutiveFailures"]:
        text += f", {breaker['consecutiveFailures']} failures in a row"
    limits = breaker["limits"] or {}
    uses = [f"{name} {limits[name]['used']}/{limits[name]['limit']}" for name in _LIMITS if name in limits]
    return "; ".join([text, *uses])


def _row(endpoint: Document) -> tuple[str, ...]:
    cells = (
        endpoint["address"],
        endpoint["weight"],
        endpoint["source"],
        "yes" if endpoint["available"] else "no",
        _health(endpoint["verdicts"]["health"]),
        _outlier(endpoint["verdicts"]["outlier"]),
        endpoint["activeRequests"],
        endpoint["connections"],
    )
    return tuple(clean(str(cell)) for cell in cells)


def _health(health: Document) -> str:
    since = f" since {health['since']}" if health["since"] else ""
    return f"{health['state']}{since}" + (f": {health['reason']}" if health["reason"] else "")


def _outlier(outlier: Document) -> str:
    if outlier["ejected"]:
        return f"ejected until {outlier['until']} ({_times(outlier['ejections'])}): {outlier['reason']}"
    if outlier["heldBackReason"]:
        return f"held back: {outlier['heldBackReason']}"
    return f"ejected before ({_times(outlier['ejections'])})" if outlier["ejections"] else "-"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _table(rows: Sequence[tuple[str, ...]], available: Sequence[bool]) -> Table:
    table = Table(*_COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False)
    for row, is_available in zip(rows, available, strict=True):
        table.add_row(*(Text(cell) for cell in row), style="" if is_available else "red")
    return table


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
