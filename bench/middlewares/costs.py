"""Costs: what the turns that subjects have taken come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median, quantiles

from bench.comparison.measurement import Measurement, medians

VRATA = "vrata"


@dataclass
class Lap:
    """The turns of each subject at one proxy in one round, and several of its plain route."""

    plain: list[Measurement] = field(default_factory=list)
    subjects: dict[str, list[Measurement]] = field(default_factory=dict)

    def cpu_us(self, name: str) -> float:
        """Microseconds of processor time per request for *name*."""
        return _cpu(self.subjects[name])

    def added(self, name: str) -> float:
        """Microseconds of processor time per request that *name* cost more than the plain route."""
        return self.cpu_us(name) - _cpu(self.plain)

    def ratio(self, name: str) -> float:
        """How many times the processor time of the plain route *name* cost."""
        return self.cpu_us(name) / _cpu(self.plain)


Round = dict[str, Lap]
"""By proxy."""


def _cpu(measured: Sequence[Measurement]) -> float:
    return mean(each.cpu_us for each in measured)


@dataclass(frozen=True)
class Middle:
    """The median over all rounds, and between what the middle half of them is."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Middle:
        low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0], values[0], values[0])
        return cls(median(values), low, high)


@dataclass(frozen=True)
class Cost:
    """What a subject costs one proxy, as the medians over all rounds."""

    figures: Measurement
    added: Middle
    """Microseconds per request more than the plain route."""
    ratio: float
    """How many times the plain route."""


@dataclass
class Turns:
    """All that was measured."""

    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def plain(self, proxy: str = VRATA) -> Measurement | None:
        """The plain route; None when it was never measured."""
        found = [measured for each in self.rounds if proxy in each for measured in each[proxy].plain]
        return medians(found) if found else None

    def cost(self, name: str, proxy: str = VRATA) -> Cost | None:
        """What *name* costs; None when it was never measured."""
        found = [each[proxy] for each in self.rounds if proxy in each]
        found = [lap for lap in found if name in lap.subjects and lap.plain]
        if not found:
            return None
        return Cost(
            figures=medians([measured for lap in found for measured in lap.subjects[name]]),
            added=Middle.of([lap.added(name) for lap in found]),
            ratio=median(lap.ratio(name) for lap in found),
        )

    def beside(self, name: str, peer: str) -> Middle | None:
        """How many times what it costs *peer* all of *name* costs Vrata, within a round; None when unknown."""
        return self._beside(peer, lambda lap: lap.cpu_us(name) if name in lap.subjects else None)

    def plain_beside(self, peer: str) -> Middle | None:
        """The same of the plain route."""
        return self._beside(peer, lambda lap: _cpu(lap.plain) if lap.plain else None)

    def _beside(self, peer: str, figure: Callable[[Lap], float | None]) -> Middle | None:
        pairs = _pairs(self.rounds, peer, figure)
        found = [ours / theirs for ours, theirs in pairs if theirs > 0]
        return Middle.of(found) if found else None


def _pairs(rounds: Iterable[Round], peer: str, figure: Callable[[Lap], float | None]) -> Iterable[tuple[float, float]]:
    """*figure* of Vrata and of *peer*, of each round that has both."""
    for laps in rounds:
        if VRATA in laps and peer in laps:
            ours, theirs = figure(laps[VRATA]), figure(laps[peer])
            if ours is not None and theirs is not None:
                yield ours, theirs
