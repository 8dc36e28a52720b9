"""The entries that were considered for a request, in their order, and those that nearly matched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nlargest, nsmallest
from itertools import islice
from time import perf_counter

from vrata.expressions import compile_expression
from vrata.proxy.contracts import RequestView
from vrata.proxy.explain.entry import Document, Entry, checks
from vrata.proxy.routing.conditions import Condition, Hostnames, Wants
from vrata.proxy.routing.table import RouteTable, Verdict

MOST_CANDIDATES = 50
"""Considered entries that are shown."""
MOST_RULED_OUT = 1000
"""Entries ruled out by the path that are shown when they are asked for."""
MOST_NEAR_MISSES = 5
_MOST_JUDGED = 5000
"""Entries of the request's path that are looked at for near misses: the first ones."""
_MOST_SIMILAR = 100
"""Entries with another path that are looked at for near misses: those whose path is most similar."""


def considered(
    table: RouteTable[Entry],
    entries: Sequence[Entry],
    taken: Entry | None,
    request: RequestView,
    deadline: float,
    *,
    everything: bool,
) -> Document:
    """Describe the candidates for *request*, of which *taken* was taken; *everything* adds what the path rules out.

    Raises ``TimeoutError`` when `perf_counter` is past the *deadline*.
    """
    shown: list[Document] = []
    reached = True
    led_to: set[int] = set()
    for verdict in table.candidates(request):
        _demand_time(deadline)
        led_to.add(id(verdict.payload))
        is_taken = verdict.payload is taken
        # Room is kept for the one that is taken.
        if is_taken or len(shown) < MOST_CANDIDATES - (taken is not None and reached):
            shown.append(_candidate(verdict, request, reached=reached))
        reached = reached and not is_taken
    ruled_out: Document = {"count": len(entries) - len(led_to)}
    if everything:
        others = sorted((entry for entry in entries if id(entry) not in led_to), key=_by_path)
        ruled_out["routes"] = [
            {**entry.identity(), "checks": [entry.path_check(request.path, holds=False)]}
            for entry in islice(others, MOST_RULED_OUT)
        ]
    return {"candidates": shown, "candidatesOmitted": len(led_to) - len(shown), "ruledOutByPath": ruled_out}


def near_misses(
    table: RouteTable[Entry], entries: Iterable[Entry], request: RequestView, deadline: float
) -> list[Document]:
    """Describe the entries nearest to *request*, which none matches.

    First come those whose path matched, by the number of conditions that failed; then those of which the path alone
    failed, the most similar path first. Raises ``TimeoutError`` when `perf_counter` is past the *deadline*.
    """

    def failures(conditions: Iterable[Condition]) -> int:
        _demand_time(deadline)
        return sum(not condition.holds(request) for condition in conditions)

    of_path: list[Verdict[Entry]] = []
    known: set[int] = set()
    for verdict in table.candidates(request):
        _demand_time(deadline)
        if verdict.condition != "path":
            known.add(id(verdict.payload))
            if len(of_path) < _MOST_JUDGED:
                of_path.append(verdict)
    nearest = nsmallest(MOST_NEAR_MISSES, of_path, key=lambda verdict: failures(verdict.conditions))
    misses = [{**verdict.payload.identity(), "failed": _failed(verdict.conditions, request)} for verdict in nearest]
    path = request.path.lower()
    ranked = ((_similarity(path, entry), entry) for entry in entries if id(entry) not in known)
    for similarity, entry in nlargest(_MOST_SIMILAR, ranked, key=lambda pair: pair[0]):
        if len(misses) == MOST_NEAR_MISSES or similarity <= 1:
            break
        if failures(_conditions(entry)) == 0:
            misses.append({**entry.identity(), "failed": [entry.path_check(request.path, holds=False)]})
    return misses


def _candidate(verdict: Verdict[Entry], request: RequestView, *, reached: bool) -> Document:
    entry = verdict.payload
    return {
        **entry.identity(),
        "matches": verdict.matches,
        "reached": reached,
        "checks": [
            entry.path_check(request.path, holds=verdict.condition != "path"),
            *checks(verdict.conditions, request),
        ],
    }


def _conditions(entry: Entry) -> Iterable[Condition]:
    hostname = Hostnames(entry.conditions.hostnames).condition
    others = Wants(entry.conditions, compile_expression).conditions
    return others if hostname is None else (hostname, *others)


def _failed(conditions: Iterable[Condition], request: RequestView) -> list[Document]:
    return [check for check in checks(conditions, request) if not check["holds"]]


def _demand_time(deadline: float) -> None:
    if perf_counter() > deadline:
        raise TimeoutError("explaining takes too long: the path leads to too many conditions that are slow to evaluate")


def _by_path(entry: Entry) -> tuple[int, int]:
    path = entry.conditions.path
    return path.kind, -len(path.text)


def _similarity(path: str, entry: Entry) -> int:
    """Characters that *path* and the entry's path have in common from the start."""
    wanted = entry.conditions.path
    common = 0
    for ours, theirs in zip(path, (wanted.literal or wanted.text).lower(), strict=False):
        if ours != theirs:
            break
        common += 1
    return common
