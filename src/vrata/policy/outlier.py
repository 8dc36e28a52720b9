"""Outlier detection: which endpoints of one destination are ejected for what their responses were, and until when.

An endpoint whose streak of bad responses has reached a threshold when the destination is swept is ejected, the worst
one first, and as far as the limit allows. Each ejection is longer than the one before, by the base time, up to the
longest. An endpoint that has not been ejected for as long as its last ejection lasted counts as having been ejected
once less, and so on for each further time as long.

The limit counts ejections alone: whether an endpoint is healthy by its probes is another verdict. Times are seconds of
any one clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Rules:
    """When endpoints are ejected, for how long, and how many at once."""

    consecutive_5xx: int
    """Responses of 500 or more in a row that eject; 0 = they never do."""
    consecutive_gateway_errors: int
    """Responses 502, 503 or 504 in a row that eject; 0 = they never do."""
    base: float
    """Length of a first ejection."""
    longest: float
    """Of any ejection; *base* where that is longer."""
    percent: int
    """Share of the endpoints that may be ejected at once; 0 = none."""

    def length(self, ejections: int) -> float:
        """How long an endpoint is ejected that has been for so many times, this one included."""
        return min(self.base * ejections, max(self.longest, self.base))

    def limit(self, endpoints: int) -> int:
        """How many of so many endpoints may be ejected at once: one of two or more always, and never all of them."""
        if not self.percent or endpoints < 2:
            return 0
        return min(max(1, endpoints * self.percent // 100), endpoints - 1)


@dataclass(frozen=True, slots=True)
class Streaks:
    """What an endpoint's last responses were."""

    failures: int = 0
    """Responses of 500 or more in a row."""
    gateway_errors: int = 0
    """Responses 502, 503 or 504 in a row."""


@dataclass(frozen=True, slots=True)
class Record:
    """What outlier detection knows of one endpoint."""

    until: float | None = None
    """When its ejection ends; None while it is not ejected."""
    reason: str = ""
    """Why it was ejected the last time."""
    ejections: int = 0
    """How often it was ejected, this time included, less what was forgiven."""
    ejections_ever: int = 0
    """How often it was ejected, whatever was forgiven."""
    length: float = 0.0
    """Seconds of the last ejection."""
    quiet_since: float = 0.0
    """Since when it has not been ejected, or when an ejection was last forgiven."""
    held_back: str = ""
    """Why it is not ejected though its streak says so; empty where that is not the case."""
    held_back_ever: int = 0
    """In how many sweeps that was so."""

    @property
    def is_ejected(self) -> bool:
        """Whether it is ejected now."""
        return self.until is not None


CLEAN = Record()
"""Of an endpoint that nothing is known of."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What came of looking at a destination."""

    records: Mapping[str, Record]
    """By endpoint: what is known from now on."""
    ejected: tuple[str, ...] = field(default=())
    """Who is ejected from now on, the worst first."""
    returned: tuple[str, ...] = field(default=())
    """Who is back from now on."""
    held_back: tuple[str, ...] = field(default=())
    """Who is not ejected because of the limit, the worst first."""


def sweep(records: Mapping[str, Record], streaks: Mapping[str, Streaks], rules: Rules, now: float) -> Sweep:
    """Judge the endpoints of a destination, which are those of *records*; done every interval.

    The streaks of those who are ejected by it, and of those who return, are to begin anew.
    """
    returns = release(records, rules, now)
    found = {endpoint: _forgiven(record, now) for endpoint, record in returns.records.items()}
    # Who returns has yet to show what it does; its streak is from before.
    suspects = {
        endpoint: reason
        for endpoint, record in found.items()
        if not record.is_ejected
        and endpoint not in returns.returned
        and (reason := _accusation(streaks.get(endpoint, Streaks()), rules))
    }
    limit = rules.limit(len(found))
    room = limit - sum(record.is_ejected for record in found.values())
    order = sorted(suspects, key=lambda endpoint: (-_badness(streaks[endpoint], rules), endpoint))
    ejected = tuple(order[: max(0, room)])
    held_back = tuple(order[len(ejected) :])
    why_not = _limit_text(limit, len(found))
    for endpoint, record in found.items():
        if endpoint in ejected:
            ejections = record.ejections + 1
            length = rules.length(ejections)
            found[endpoint] = replace(
                record,
                until=now + length,
                reason=suspects[endpoint],
                ejections=ejections,
                ejections_ever=record.ejections_ever + 1,
                length=length,
                held_back="",
            )
        elif endpoint in held_back:
            reason = f"{suspects[endpoint]}, but {why_not}"
            found[endpoint] = replace(record, held_back=reason, held_back_ever=record.held_back_ever + 1)
        elif record.held_back:
            found[endpoint] = replace(record, held_back="")
    return Sweep(found, ejected, returns.returned, held_back)


def release(records: Mapping[str, Record], rules: Rules, now: float) -> Sweep:
    """Have those return whose time is over; done whenever :func:`next_return` says, and when endpoints or rules change.

    Where more are ejected than the limit allows by now, those that would be the first to return do so at once.
    """
    found = dict(records)
    untils = sorted((record.until, endpoint) for endpoint, record in found.items() if record.until is not None)
    too_many = len(untils) - rules.limit(len(found))
    returned = [endpoint for rank, (until, endpoint) in enumerate(untils) if until <= now or rank < too_many]
    for endpoint in returned:
        until = found[endpoint].until
        quiet_since = now if until is None else min(until, now)
        found[endpoint] = replace(found[endpoint], until=None, quiet_since=quiet_since)
    return Sweep(found, returned=tuple(sorted(returned)))


def resumed(record: Record, now: float) -> Record:
    """What is known of an endpoint that has been away, as it was then: its ejection may have ended meanwhile."""
    if record.until is not None and record.until <= now:
        record = replace(record, until=None, quiet_since=record.until)
    return replace(record, held_back="")


def next_return(records: Mapping[str, Record]) -> float | None:
    """When the next ejection ends; None when there is none."""
    return min((record.until for record in records.values() if record.until is not None), default=None)


def _accusation(streaks: Streaks, rules: Rules) -> str:
    """Why an endpoint is to be ejected; empty if it is not."""
    if 0 < rules.consecutive_gateway_errors <= streaks.gateway_errors:
        return f"{streaks.gateway_errors} responses of 502, 503 or 504 in a row"
    if 0 < rules.consecutive_5xx <= streaks.failures:
        return f"{streaks.failures} responses of 500 or more in a row"
    return ""


def _badness(streaks: Streaks, rules: Rules) -> int:
    """The longest streak that counts."""
    return max(
        streaks.gateway_errors if rules.consecutive_gateway_errors else 0,
        streaks.failures if rules.consecutive_5xx else 0,
    )


def _forgiven(record: Record, now: float) -> Record:
    if record.is_ejected or not record.ejections:
        return record
    times = min(record.ejections, int((now - record.quiet_since) / record.length))
    if times <= 0:
        return record
    return replace(record, ejections=record.ejections - times, quiet_since=record.quiet_since + times * record.length)


def _limit_text(limit: int, endpoints: int) -> str:
    if endpoints == 1:
        return "it is the only endpoint"
    return f"at most {limit} of {endpoints} endpoints may be ejected"
