"""Shared gauges: what all workers count together of destinations and endpoints, read from shared memory.

The supervisor holds the rows as long as what they belong to is configured, as the workers do.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from vrata.model.destination import Destination
from vrata.policy.circuit_breaker import after_loss, described, is_probed_by
from vrata.policy.shared_numbers import SharedNumber, SharedWord
from vrata.proxy.endpoint_status import BreakerState, BreakerStatus, LimitsUse, LimitUse
from vrata.proxy.runtime.shared_names import breaker_name


class Shared(Protocol):
    """The table that the workers share."""

    def count(self, name: str) -> SharedNumber:
        """The number called *name*."""
        ...

    def word(self, name: str) -> SharedWord:
        """The word called *name*."""
        ...


LIMITED: Final = ("connections", "pending", "requests", "retries")
"""What a circuit breaker limits, as the names of the counts begin."""


class SharedGauges:
    """The gauges of the destinations that :meth:`follow` was told of."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._breakers: dict[str, _Breaker] = {}
        self._streaks: dict[str, dict[str, SharedWord]] = {}

    def __repr__(self) -> str:
        return f"<SharedGauges of {len(self._breakers)} breakers, streaks of {len(self._streaks)} destinations>"

    def follow(self, destinations: Collection[Destination]) -> None:
        """Read the breakers of *destinations*, the streaks of their endpoints when asked, and no others."""
        protected: set[str] = set()
        judged: set[str] = set()
        for destination in destinations:
            if destination.options.circuit_breaker is not None:
                protected.add(destination.id)
            if destination.options.outlier_detection is not None:
                judged.add(destination.id)
        for destination_id in self._breakers.keys() - protected:
            self._breakers.pop(destination_id).leave()
        for destination_id in protected - self._breakers.keys():
            # Whoever has had a probe since before it was unprotected may be gone, and nobody would have noticed.
            breaker = self._breakers[destination_id] = _Breaker(self._shared, destination_id)
            breaker.release_any_probe()
        for destination in destinations:
            if destination.options.circuit_breaker is not None:
                open_duration = destination.options.circuit_breaker.open_duration
                self._breakers[destination.id].open_time = round(open_duration.seconds * 1000)
        for destination_id in self._streaks.keys() - judged:
            for word in self._streaks.pop(destination_id).values():
                word.leave()
        for destination_id in judged - self._streaks.keys():
            self._streaks[destination_id] = {}

    def breaker(self, destination: Destination) -> tuple[BreakerStatus | None, LimitsUse | None]:
        """Return the state of the breaker and the use of its limits as of now; None twice where there is none."""
        breaker, settings = self._breakers.get(destination.id), destination.options.circuit_breaker
        if breaker is None or settings is None:
            return None, None
        connections, pending, requests, retries = (count.total for count in breaker.counts)
        limits = LimitsUse(
            LimitUse(connections, settings.max_connections),
            LimitUse(pending, settings.max_pending_requests),
            LimitUse(requests, settings.max_requests),
            LimitUse(retries, settings.max_retries),
        )
        return breaker.status(), limits

    def breaker_states(self) -> dict[str, BreakerState]:
        """Return the states of all breakers as of now, by destination ID."""
        return {destination_id: breaker.state for destination_id, breaker in self._breakers.items()}

    def release_probes(self, process: int) -> None:
        """Worker *process* has ended: if it had a circuit's probe, the next request is one."""
        for breaker in self._breakers.values():
            breaker.release_probe(process)

    def streaks(self, destination_id: str, identifiers: Mapping[str, object]) -> dict[str, int] | None:
        """Return how many attempts in a row at each of *identifiers* have ended with 5xx.

        None where nobody judges by it.
        """
        words = self._streaks.get(destination_id)
        if words is None:
            return None
        if words.keys() != identifiers.keys():
            for identifier in words.keys() - identifiers.keys():
                words.pop(identifier).leave()
            for identifier in identifiers.keys() - words.keys():
                words[identifier] = self._shared.word(f"5xx {destination_id} {identifier}")
        return {identifier: word.value for identifier, word in words.items()}


class _Breaker:
    def __init__(self, shared: Shared, destination_id: str) -> None:
        self._word = shared.word(breaker_name(destination_id))
        self.counts = [shared.count(f"{name} {destination_id}") for name in LIMITED]
        self.open_time = 0
        """Milliseconds."""

    @property
    def state(self) -> BreakerState:
        return BreakerState(described(self._word.value).state)

    def status(self) -> BreakerStatus:
        found = described(self._word.value)
        # It is told in milliseconds of the clock that all processes of the machine share.
        since = time.time() - time.monotonic() + found.since / 1000 if found.since else 0.0
        return BreakerStatus(BreakerState(found.state), since, found.failures)

    def release_probe(self, process: int) -> None:
        while is_probed_by(word := self._word.value, process):
            self._lose(word)

    def release_any_probe(self) -> None:
        while described(word := self._word.value).state == "halfOpen":
            self._lose(word)

    def _lose(self, word: int) -> None:
        self._word.swap(word, after_loss(word, int(time.monotonic() * 1000), self.open_time))

    def leave(self) -> None:
        self._word.leave()
        for count in self.counts:
            count.leave()
