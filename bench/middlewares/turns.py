"""Turns: the subjects are loaded one after another, at every proxy, between turns of the plain routes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.comparison import cores, wrk
from bench.comparison.cores import running_on
from bench.comparison.measurement import Load, measure
from bench.comparison.program import UnavailableError
from bench.comparison.usage import processor_time
from bench.comparison.workload import Workload
from bench.middlewares.companions import Companions
from bench.middlewares.costs import VRATA, Lap, Round, Turns
from bench.middlewares.peers import peer
from bench.middlewares.proof import prove, settle
from bench.middlewares.stage import Stage
from bench.middlewares.subject import PLAIN, Subject
from bench.middlewares.vrata import VrataStage

BETWEEN = 3
"""Subjects between two turns of the plain route: nothing is compared with what was measured long before."""
PEERS_BETWEEN = 2 * BETWEEN
"""The same at the peers, which have fewer of them."""
SETTLING = 0.1
"""Seconds in which what a run has left behind, such as lines of a log, is done with."""


def run(subjects: Sequence[Subject], peers: Sequence[str], rounds: int, seconds: int, deadline: float) -> Turns:
    """Let *subjects* take turns of *seconds* at Vrata and each of *peers*.

    No turn begins after *deadline* on the monotonic clock.
    """
    chosen = cores.choose()
    turns = Turns()
    if chosen.proxy == chosen.load:
        turns.notes.append("one core only: the proxy shares it with everything else")
    with ExitStack() as running:
        directory = Path(running.enter_context(TemporaryDirectory(prefix="vrata-bench-")))
        companions = running.enter_context(Companions(directory, chosen.load))
        stages: list[Stage] = [running.enter_context(VrataStage(directory / VRATA, subjects, companions, chosen))]
        for name in peers:
            try:
                found = peer(name, directory / "peers" / name, subjects, companions, chosen)
                stages.append(running.enter_context(found))
            except (AssertionError, UnavailableError) as error:
                turns.failures.append(f"{name} did not start: {error}")
        running.enter_context(running_on(chosen.load))
        Players(stages, companions, chosen.load, directory, turns).play(subjects, rounds, seconds, deadline)
    return turns


def _spread(subjects: Sequence[Subject]) -> list[Subject]:
    """The order of a round, with those that have several turns in several places."""
    order = list(subjects)
    for subject in subjects:
        for turn in range(1, subject.turns):
            order.insert(order.index(subject) + turn * len(subjects) // subject.turns, subject)
    return order


class Players:
    """Measures on *stages* into *turns*."""

    def __init__(
        self, stages: Sequence[Stage], companions: Companions, core: int, directory: Path, turns: Turns
    ) -> None:
        self._stages = stages
        self._companions = companions
        self._core = core
        self._directory = directory
        self._turns = turns
        self._able: dict[str, list[Subject]] = {stage.name: [] for stage in stages}
        self._sent: dict[str, Counter[str]] = {stage.name: Counter() for stage in stages}

    def play(self, subjects: Sequence[Subject], rounds: int, seconds: int, deadline: float) -> None:
        """All rounds, between two looks at whether each subject is what it is meant to be."""
        plain, *others = subjects
        for stage in self._stages:
            self._prove(stage, plain, others)
            self._load(stage, plain, 1)
        before = [stage.passed() for stage in self._stages]
        order = _spread(others)
        for number in range(rounds):
            found: Round = {stage.name: Lap() for stage in self._stages}
            self._turns.rounds.append(found)
            # Another one begins each time, so that nobody always runs after the same neighbour.
            first = number * BETWEEN % len(order) if order else 0
            seen: set[str] = set()
            for at, subject in enumerate(order[first:] + order[:first]):
                if time.monotonic() > deadline:
                    self._turns.notes.append(f"out of time in round {number + 1} of {rounds}")
                    break
                if at % BETWEEN == 0:
                    for stage in self._taking_part(plain, is_again=at % PEERS_BETWEEN != 0):
                        self._turn(stage, plain, seconds, found)
                for stage in self._taking_part(subject, is_again=subject.name in seen):
                    self._turn(stage, subject, seconds, found)
                seen.add(subject.name)
            print(f"round {number + 1} of {rounds} measured", file=sys.stderr)
        for stage, passed in zip(self._stages, before, strict=True):
            self._settle(stage, passed)

    def _taking_part(self, subject: Subject, *, is_again: bool) -> list[Stage]:
        """Who has a turn with *subject*: Vrata alone if it *is_again* the same in a round."""
        stages = self._stages[:1] if is_again else self._stages
        return [stage for stage in stages if subject.name == PLAIN or subject in self._able[stage.name]]

    def _prove(self, stage: Stage, plain: Subject, others: Sequence[Subject]) -> None:
        """Note which of *others* act."""
        for subject in (plain, *others):
            if not stage.has(subject):
                continue
            try:
                prove(stage, subject, (self._fields(stage, subject) or [""])[0], self._companions)
                self._able[stage.name].append(subject)
            except (OSError, RuntimeError, httpx.HTTPError) as error:
                self._fail(f"{stage.name}: {subject.name} is left out: {error}")

    def _turn(self, stage: Stage, subject: Subject, seconds: int, found: Round) -> None:
        serving = stage.serving(subject)
        start = processor_time(serving)
        try:
            load = self._load(stage, subject, seconds)
            time.sleep(SETTLING)
            spent = processor_time(serving) - start
            if load.failed:
                raise RuntimeError(f"{load.failed} requests failed, {load.requests} did not; the run does not count")
            measured = measure(load, spent)
        except (OSError, RuntimeError, ValueError) as error:
            self._fail(f"{stage.name}: {subject.name}: {error}")
            return
        lap = found[stage.name]
        if subject.name == PLAIN:
            lap.plain.append(measured)
        else:
            lap.subjects.setdefault(subject.name, []).append(measured)

    def _load(self, stage: Stage, subject: Subject, seconds: int) -> Load:
        workload = Workload(subject.name, subject.title, path=subject.path)
        fields = self._fields(stage, subject)
        load = wrk.run(workload, stage.port(subject), seconds, self._directory, self._core, fields)
        self._sent[stage.name][subject.name] += load.requests
        if subject.is_fresh:
            self._companions.used(stage.name, load.requests + workload.connections)
        return load

    def _fields(self, stage: Stage, subject: Subject) -> list[str]:
        """The header lines that requests have in turn."""
        if subject.kind != "jwt":
            return [subject.field] if subject.field else []
        tokens = self._companions.fresh_tokens(stage.name) if subject.is_fresh else [self._companions.token()]
        return [f"Authorization: Bearer {token}" for token in tokens]

    def _settle(self, stage: Stage, before: Mapping[str, float]) -> None:
        """Each feature has done something, and has let everything pass."""
        able, sent = self._able[stage.name], self._sent[stage.name]
        for difference in settle(stage, able, sent, self._companions):
            self._fail(difference)
        try:
            passed = stage.passed()
        except RuntimeError as error:
            self._fail(f"{stage.name}: {error}")
            return
        for subject in able:
            # Requests that were on their way at the end of a turn have passed as well.
            if subject.name in passed and passed[subject.name] - before.get(subject.name, 0) < sent[subject.name]:
                self._fail(f"{stage.name}: {subject.name} has not let all requests pass that were answered")

    def _fail(self, text: str) -> None:
        self._turns.failures.append(text)
        print(text, file=sys.stderr)
