"""Findings: what one fault cost the clients of one proxy, and how soon the proxy noticed its begin and its end."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.faults.load import Answer

LONG = 1.0
"""Seconds that nobody wants to wait."""
WINDOW = 1.0
"""Seconds after a moment that say whether the backend is out, or back."""
QUIET = 5
"""So many attempts in a window are still quiet: health checks, and the one request that a proxy dares now and then."""
SERVING = 0.5
"""Share of its normal traffic from which on a backend is back."""


@dataclass(frozen=True, slots=True)
class Period:
    """From the begin of a fault to its end, on the monotonic clock; *backend* fails, *share* is its normal traffic per
    second."""

    begin: float
    end: float
    backend: str
    share: float


@dataclass(frozen=True, slots=True)
class Findings:
    """Of requests that were to be sent between the begin of the fault and the end of the trial."""

    requests: int
    lost: int
    """Not answered, or not with 2xx."""
    lost_as: dict[str, int]
    """The same by status; 0 is no answer."""
    long: int
    """Took more than :data:`LONG`, lost or not."""
    p50_ms: float
    p99_ms: float
    """Of those that were to be sent during the fault."""
    attempts: int | None
    """Requests, or connections for them, that went to the failing backend; ``None`` without a tap."""
    expected: int
    """As many would go to it if nobody noticed anything."""
    out: float | None
    """Seconds from the begin until nothing is sent to the backend; ``None`` if never, or unknown."""
    back: float | None
    """Seconds from the end until it has its traffic again; ``None`` if not within the trial."""

    def document(self) -> dict[str, Any]:
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def find(answers: Sequence[Answer], attempts: Sequence[float] | None, period: Period) -> Findings:
    """Judge *answers* of the clients, and the times of *attempts* at the failing backend where they are known."""
    affected = [answer for answer in answers if answer.at >= period.begin]
    times = sorted(answer.taken for answer in affected if answer.at < period.end)
    within = None if attempts is None else sorted(at for at in attempts if period.begin <= at < period.end)
    return Findings(
        requests=len(affected),
        lost=sum(not answer.is_good for answer in affected),
        lost_as=dict(Counter(str(answer.status) for answer in affected if not answer.is_good)),
        long=sum(answer.taken > LONG for answer in affected),
        p50_ms=1000 * quantile(times, 0.5),
        p99_ms=1000 * quantile(times, 0.99),
        attempts=None if within is None else len(within),
        expected=round(period.share * (period.end - period.begin)),
        out=None if within is None else _out(within, period),
        back=back_after(answers, period),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which *share* of the *ordered* ones are; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _out(attempts: Sequence[float], period: Period) -> float | None:
    """Until the last attempt before the first quiet window."""
    for number, moment in enumerate((period.begin, *attempts)):
        if moment + WINDOW > period.end:
            return None
        if bisect_right(attempts, moment + WINDOW) - number <= QUIET:
            return moment - period.begin
    return None


def back_after(answers: Sequence[Answer], period: Period) -> float | None:
    """Seconds from the end of the fault to the first answer of the backend that begins a window of normal traffic."""
    after = (answer for answer in answers if answer.at >= period.end)
    served = sorted(answer.at for answer in after if answer.is_good and answer.backend == period.backend)
    wanted = SERVING * period.share * WINDOW
    for number, moment in enumerate(served):
        if bisect_right(served, moment + WINDOW) - number >= wanted:
            return moment - period.end
    return None
