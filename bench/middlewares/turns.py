"""Turns: the subjects are loaded one after another, and each is compared with the plain route of the same round."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, quantiles
from tempfile import TemporaryDirectory

from bench.comparison import cores, wrk
from bench.comparison.cores import running_on
from bench.comparison.measurement import Load, Measurement, measure, medians
from bench.comparison.usage import processor_time
from bench.comparison.workload import Workload
from bench.middlewares.companions import Companions
from bench.middlewares.stage import Stage
from bench.middlewares.subject import PLAIN, Subject

BETWEEN = 3
"""Subjects between two turns of the plain route: nothing is compared with what was measured long before."""
SETTLING = 0.1
"""Seconds in which what a run has left behind, such as lines of a log, is done with."""


@dataclass
class Round:
    """The turns of each subject, and several of the plain route."""

    plain: list[Measurement] = field(default_factory=list)
    subjects: dict[str, list[Measurement]] = field(default_factory=dict)

    def added(self, name: str) -> float:
        """Microseconds of processor time per request that *name* cost more than the plain route."""
        return _cpu(self.subjects[name]) - _cpu(self.plain)

    def ratio(self, name: str) -> float:
        """How many times the processor time of the plain route *name* cost."""
        return _cpu(self.subjects[name]) / _cpu(self.plain)


def _cpu(measured: Sequence[Measurement]) -> float:
    return mean(each.cpu_us for each in measured)


@dataclass(frozen=True)
class Cost:
    """What a subject costs, as the medians over all rounds."""

    figures: Measurement
    added: float
    """Microseconds per request more than the plain route."""
    middle: tuple[float, float]
    """Between which the middle half of the rounds has that."""
    ratio: float


@dataclass
class Turns:
    """All that was measured."""

    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def plain(self) -> Measurement | None:
        """The plain route; None when it was never measured."""
        found = [measured for each in self.rounds for measured in each.plain]
        return medians(found) if found else None

    def cost(self, name: str) -> Cost | None:
        """What *name* costs; None when it was never measured."""
        found = [each for each in self.rounds if name in each.subjects and each.plain]
        if not found:
            return None
        added = [each.added(name) for each in found]
        low, _, high = quantiles(added, n=4) if len(added) > 1 else (added[0], added[0], added[0])
        return Cost(
            figures=medians([measured for each in found for measured in each.subjects[name]]),
            added=median(added),
            middle=(low, high),
            ratio=median(each.ratio(name) for each in found),
        )


def run(subjects: Sequence[Subject], rounds: int, seconds: int, deadline: float) -> Turns:
    """Let *subjects* take turns of *seconds*; no turn begins after *deadline* on the monotonic clock."""
    chosen = cores.choose()
    turns = Turns()
    if chosen.proxy == chosen.load:
        turns.notes.append("one core only: the proxy shares it with everything else")
    with ExitStack() as running:
        directory = Path(running.enter_context(TemporaryDirectory(prefix="vrata-bench-")))
        companions = running.enter_context(Companions(directory, chosen.load))
        stage = running.enter_context(Stage(directory / "vrata", subjects, companions, chosen))
        running.enter_context(running_on(chosen.load))
        Players(stage, companions, chosen.load, directory, turns).play(subjects, rounds, seconds, deadline)
    return turns


def _spread(subjects: Sequence[Subject]) -> list[Subject]:
    """The order of a round, with those that have several turns in several places."""
    order = list(subjects)
    for subject in subjects:
        for turn in range(1, subject.turns):
            order.insert(order.index(subject) + turn * len(subjects) // subject.turns, subject)
    return order


class Players:
    """Measures on a *stage* into *turns*."""

    def __init__(self, stage: Stage, companions: Companions, core: int, directory: Path, turns: Turns) -> None:
        self._stage = stage
        self._companions = companions
        self._core = core
        self._directory = directory
        self._turns = turns

    def play(self, subjects: Sequence[Subject], rounds: int, seconds: int, deadline: float) -> None:
        """All rounds, after a check that each subject is what it is meant to be."""
        plain, *others = subjects
        able = []
        for subject in others:
            try:
                self._stage.check(subject, (self._fields(subject) or [""])[0])
                able.append(subject)
            except (OSError, RuntimeError) as error:
                self._fail(f"{subject.name} is left out: {error}")
        self._load(plain, 1)
        order = _spread(able)
        for number in range(rounds):
            found = Round()
            self._turns.rounds.append(found)
            # Another one begins each time, so that nobody always runs after the same neighbour.
            first = number * BETWEEN % len(order) if order else 0
            for at, subject in enumerate(order[first:] + order[:first]):
                if time.monotonic() > deadline:
                    self._turns.notes.append(f"out of time in round {number + 1} of {rounds}")
                    break
                if at % BETWEEN == 0:
                    self._turn(plain, seconds, found)
                self._turn(subject, seconds, found)
            print(f"round {number + 1} of {rounds} measured", file=sys.stderr)
        self._check_counts(able)

    def _turn(self, subject: Subject, seconds: int, found: Round) -> None:
        start = processor_time(self._stage.workers)
        try:
            load = self._load(subject, seconds)
            time.sleep(SETTLING)
            spent = processor_time(self._stage.workers) - start
            if load.failed:
                raise RuntimeError(f"{load.failed} requests failed, {load.requests} did not; the run does not count")
            measured = measure(load, spent)
        except (OSError, RuntimeError, ValueError) as error:
            self._fail(f"{subject.name}: {error}")
            return
        if subject.name == PLAIN:
            found.plain.append(measured)
        else:
            found.subjects.setdefault(subject.name, []).append(measured)

    def _load(self, subject: Subject, seconds: int) -> Load:
        workload = Workload(subject.name, subject.title, path=subject.path)
        port, fields = self._stage.port(subject), self._fields(subject)
        load = wrk.run(workload, port, seconds, self._directory, self._core, fields)
        if subject.is_fresh:
            self._companions.used(load.requests + workload.connections)
        return load

    def _fields(self, subject: Subject) -> list[str]:
        """The header lines that requests have in turn."""
        if subject.kind != "jwt":
            return [subject.field] if subject.field else []
        tokens = self._companions.fresh_tokens() if subject.is_fresh else [self._companions.token()]
        return [f"Authorization: Bearer {token}" for token in tokens]

    def _check_counts(self, able: Sequence[Subject]) -> None:
        """Each middleware has done something, and has let everything pass."""
        try:
            passed = self._stage.passed()
        except RuntimeError as error:
            self._fail(str(error))
            return
        for subject in able:
            if subject.kind and not subject.route and not passed.get(subject.name):
                self._fail(f"{subject.name} has not seen a request")

    def _fail(self, text: str) -> None:
        self._turns.failures.append(text)
        print(text, file=sys.stderr)
