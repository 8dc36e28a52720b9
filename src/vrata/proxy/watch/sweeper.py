"""The sweeper: ejects endpoints by the streaks of bad responses that the workers count, and lets them return."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from vrata.model.destination import Destination
from vrata.model.outlier_detection import OutlierDetection
from vrata.policy.outlier import CLEAN, Record, Rules, Streaks, Sweep, next_return, release, resumed, sweep
from vrata.policy.shared_numbers import SharedWord
from vrata.proxy.runtime.shared_names import streak_names
from vrata.proxy.watch.kept import Kept

Addresses = Mapping[str, tuple[str, int]]
"""Host and port of endpoints, by their identifier."""

_log = structlog.get_logger("vrata.proxy.watch")


WordOf = Callable[[str], SharedWord]
"""Gives the word of a name."""


@dataclass(frozen=True, slots=True)
class Ejection:
    """One that goes on."""

    reason: str
    until: float
    """In seconds since the epoch."""


class Sweeper:
    """Sweeps the destinations that it is told of, each in its own interval.

    *on_verdict* is called with a destination's ID when an endpoint of it was ejected or has returned, *on_change* when
    anything else has changed that is to be seen.
    """

    def __init__(self, words: WordOf, on_verdict: Callable[[str], None], on_change: Callable[[], None]) -> None:
        self.words = words
        self.on_verdict = on_verdict
        self.on_change = on_change
        self._destinations: dict[str, _Destination] = {}

    def __repr__(self) -> str:
        return f"<Sweeper {len(self._destinations)} destinations>"

    def watch(self, destination: Destination, addresses: Addresses) -> None:
        """Judge the endpoints at *addresses* from now on, as *destination* says, and no others of it."""
        detection = destination.options.outlier_detection
        if detection is None:
            self.forget(destination.id)
            return
        watched = self._destinations.get(destination.id)
        if watched is None:
            watched = self._destinations[destination.id] = _Destination(self, destination)
        watched.configure(destination, detection, addresses)

    def forget(self, destination_id: str) -> None:
        """Judge no endpoint of this destination; ejections end."""
        watched = self._destinations.pop(destination_id, None)
        if watched is not None:
            watched.stop()

    def records(self, destination_id: str) -> Mapping[str, Record]:
        """What is known of the endpoints of this destination that are judged, by their identifier."""
        watched = self._destinations.get(destination_id)
        return {} if watched is None else watched.records

    def ejections(self, destination_id: str) -> Mapping[str, Ejection]:
        """The endpoints of this destination that are ejected."""
        watched = self._destinations.get(destination_id)
        return {} if watched is None else watched.ejections

    def stop(self) -> None:
        """Judge nothing any more."""
        for destination_id in list(self._destinations):
            self.forget(destination_id)


class _Destination:
    """A destination whose endpoints are judged."""

    def __init__(self, sweeper: Sweeper, destination: Destination) -> None:
        self._sweeper = sweeper
        self._destination = destination
        self._rules = Rules(0, 0, 1.0, 1.0, 0)
        self._interval = 0.0
        self._words: dict[str, tuple[SharedWord, SharedWord]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._return_timer: asyncio.TimerHandle | None = None
        self._kept: Kept[tuple[Record, Ejection | None]] = Kept()
        self.records: Mapping[str, Record] = {}
        self.ejections: dict[str, Ejection] = {}

    def configure(self, destination: Destination, detection: OutlierDetection, addresses: Addresses) -> None:
        self._destination = destination
        self._rules = _rules(detection)
        before = self.records
        for identifier in [each for each in before if each not in addresses]:
            self._part_with(identifier, before[identifier])
        self.records = {
            identifier: before[identifier] if identifier in before else self._welcome(identifier, *address)
            for identifier, address in addresses.items()
        }
        # Of those that are left or are back, more may be ejected than the limit allows.
        self._release()
        interval = detection.interval.seconds
        if interval != self._interval:
            self._interval = interval
            self._sweep_in(interval)

    def _part_with(self, identifier: str, record: Record) -> None:
        """An endpoint has gone."""
        ejection = self.ejections.pop(identifier, None)
        if record != CLEAN:
            self._kept.keep(identifier, (record, ejection), self._now(), record.until or 0.0)
        for word in self._words.pop(identifier):
            word.leave()

    def _welcome(self, identifier: str, host: str, port: int) -> Record:
        """An endpoint has come, or is back; return what is known of it."""
        failures, gateway_errors = streak_names(self._destination.id, host, port)
        self._words[identifier] = self._sweeper.words(failures), self._sweeper.words(gateway_errors)
        # What was counted while nobody judged by it, or before the endpoint went, is no reason to eject it now.
        self._begin_anew(identifier)
        record, ejection = self._kept.take(identifier, self._now()) or (CLEAN, None)
        if record is CLEAN:
            return CLEAN
        record = resumed(record, self._now())
        if ejection is not None and record.is_ejected:
            self.ejections[identifier] = ejection
        return record

    def stop(self) -> None:
        for timer in (self._sweep_timer, self._return_timer):
            if timer is not None:
                timer.cancel()
        for words in self._words.values():
            for word in words:
                word.leave()

    def _sweep_in(self, delay: float) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._sweep_timer = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._sweep_in(self._interval)
        streaks = {
            identifier: Streaks(failures.value, gateway_errors.value)
            for identifier, (failures, gateway_errors) in self._words.items()
        }
        held_back_before = {identifier for identifier, record in self.records.items() if record.held_back}
        swept = sweep(self.records, streaks, self._rules, self._now())
        self._act_on(swept)
        for identifier in swept.held_back:
            if identifier not in held_back_before:
                reason = self.records[identifier].held_back
                _log.warning("ejection is held back", reason=reason, **self._names(identifier))
        if held_back_before.symmetric_difference(swept.held_back):
            self._sweeper.on_change()

    def _release(self) -> None:
        self._act_on(release(self.records, self._rules, self._now()))

    def _act_on(self, swept: Sweep) -> None:
        self.records = swept.records
        for identifier in swept.returned:
            self._begin_anew(identifier)
            self.ejections.pop(identifier, None)
            _log.info("endpoint is no longer ejected", **self._names(identifier))
        for identifier in swept.ejected:
            self._begin_anew(identifier)
            record = self.records[identifier]
            self.ejections[identifier] = Ejection(record.reason, time.time() + record.length)
            _log.warning(
                "endpoint is ejected",
                reason=record.reason,
                seconds=round(record.length, 3),
                ejections=record.ejections,
                **self._names(identifier),
            )
        if swept.returned or swept.ejected:
            self._sweeper.on_verdict(self._destination.id)
        self._await_return()

    def _await_return(self) -> None:
        if self._return_timer is not None:
            self._return_timer.cancel()
            self._return_timer = None
        due = next_return(self.records)
        if due is not None:
            self._return_timer = asyncio.get_running_loop().call_at(due, self._release)

    def _begin_anew(self, identifier: str) -> None:
        for word in self._words[identifier]:
            word.put(0)

    def _names(self, identifier: str) -> dict[str, str]:
        return {"destination": self._destination.id, "name": self._destination.name, "endpoint": identifier}

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _rules(detection: OutlierDetection) -> Rules:
    return Rules(
        consecutive_5xx=detection.consecutive_5xx,
        consecutive_gateway_errors=detection.consecutive_gateway_errors,
        base=detection.base_ejection_time.seconds,
        longest=detection.max_ejection_time.seconds,
        percent=detection.max_ejection_percent,
    )
