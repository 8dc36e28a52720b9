"""What protects a destination, and is the same for all workers: its circuit breaker, and its limits of requests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from vrata.policy.circuit_breaker import (
    QUIET,
    REFUSED,
    admission,
    after_failure,
    after_loss,
    after_success,
    described,
    is_probed_by,
)
from vrata.policy.shared_numbers import SharedNumber, SharedWord


@dataclass(frozen=True)
class ProtectionSettings:
    """The part of a destination's ``circuitBreaker`` that concerns requests. Never changes."""

    max_requests: int
    max_retries: int
    failure_threshold: int
    """Failures in a row that open the circuit; 0 = never."""
    open_time: int
    """Milliseconds."""


class Protection:
    """One destination's, as one worker sees it. Outlives plans; a plan may change its settings."""

    __slots__ = ("_held", "_is_left", "_is_retired", "_now", "_process", "_requests", "_retries", "_settings", "_word")

    def __init__(
        self,
        settings: ProtectionSettings,
        word: SharedWord,
        requests: SharedNumber,
        retries: SharedNumber,
        now: Callable[[], float],
    ) -> None:
        """*word* is the breaker's state; *requests* and *retries* are those under way. *now* is in seconds."""
        self._settings = settings
        self._word = word
        self._requests = requests
        self._retries = retries
        self._now = now
        self._process = os.getpid()
        self._held = 0
        self._is_retired = False
        self._is_left = False

    def __repr__(self) -> str:
        return f"<Protection {described(self._word.value)}, {self._held} under way here>"

    def configure(self, settings: ProtectionSettings) -> None:
        """Act by *settings* from now on, also on what is under way."""
        self._settings = settings

    # -- of a request -------------------------------------------------------------------------------------------------

    def admit(self) -> Admission | None:
        """Let a request in, which then is under way until :meth:`Admission.end`; None refuses it."""
        is_probe = False
        settings = self._settings
        if self._is_left:
            return Admission(self, False)  # by a plan that was replaced a while ago: nobody counts any more
        if settings.failure_threshold:
            word = self._word.value
            if word != QUIET:
                verdict = self._passage(word)
                if verdict == REFUSED:
                    return None
                is_probe = verdict == _PROBE
        if not self._requests.reserve(settings.max_requests):
            if is_probe:
                self._lose_probe()
            return None
        self._held += 1
        return Admission(self, is_probe)

    def refusal(self) -> str:
        """Say why a request is refused that was just refused."""
        state = described(self._word.value)
        if self._settings.failure_threshold and state.state == "open":
            return f"circuit open since {state.failures} failures in a row" if state.failures else "circuit open"
        if self._settings.failure_threshold and state.state == "halfOpen":
            return "circuit half-open, its probe is under way"
        return f"{self._settings.max_requests} requests are under way (maxRequests)"

    @property
    def is_open(self) -> bool:
        """Whether the circuit lets no ordinary request through."""
        if self._is_left or not self._settings.failure_threshold:
            return False
        return described(self._word.value).state != "closed"

    def take_retry(self) -> bool:
        """Take one of the places for requests that try again; false when there is none."""
        return self._is_left or self._retries.reserve(self._settings.max_retries)

    def give_retry_back(self) -> None:
        """The request that took a place for trying again has a response, or is over."""
        if not self._is_left:
            self._retries.add(-1)

    # -- of a plan ----------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """No plan protects the destination any more; what is under way is still counted."""
        self._is_retired = True
        self._leave_if_done()

    # -- for admissions -----------------------------------------------------------------------------------------------

    def settle(self, is_failure: bool, is_probe: bool) -> None:
        """A request that was let in has come to its result."""
        threshold = self._settings.failure_threshold
        if self._is_left:
            return
        if not threshold:
            if is_probe:
                self._lose_probe()
            return
        while True:
            word = self._word.value
            if word == QUIET and not is_failure:
                return
            probes = is_probe and is_probed_by(word, self._process)
            if is_failure:
                after = after_failure(word, self._milliseconds(), threshold, is_probe=probes)
            else:
                after = after_success(word, is_probe=probes)
            if after == word or self._word.swap(word, after):
                return

    def end(self, loses_probe: bool) -> None:
        """A request that was let in is over; with *loses_probe* it was the probe and came to no result."""
        if self._is_left:
            return
        if loses_probe:
            self._lose_probe()
        self._held -= 1
        self._requests.add(-1)
        if self._is_retired:
            self._leave_if_done()

    def _passage(self, word: int) -> int:
        while True:
            after = admission(word, self._milliseconds(), self._settings.open_time, self._process)
            if after == REFUSED:
                return REFUSED
            if after == word:
                return _ORDINARY
            if self._word.swap(word, after):
                return _PROBE
            word = self._word.value

    def _lose_probe(self) -> None:
        while True:
            word = self._word.value
            if not is_probed_by(word, self._process):
                return
            if self._word.swap(word, after_loss(word, self._milliseconds(), self._settings.open_time)):
                return

    def _leave_if_done(self) -> None:
        if not self._held:
            self._is_left = True
            self._word.leave()
            self._requests.leave()
            self._retries.leave()

    def _milliseconds(self) -> int:
        return int(self._now() * 1000)


_ORDINARY = 1
_PROBE = 2


class Admission:
    """The right of one request to be under way. It comes to a result at most once, and ends exactly once.

    A probe that is a stream is believed when it begins, and may come to another result when it ends.
    """

    __slots__ = ("_is_probe", "_protection")

    def __init__(self, protection: Protection, is_probe: bool) -> None:
        self._protection = protection
        self._is_probe = is_probe

    @property
    def is_probe(self) -> bool:
        """The request is what the half-open circuit waits for."""
        return self._is_probe

    def settle(self, status: int) -> None:
        """The request has come to *status*, of the upstream's or of the proxy's own making."""
        self._protection.settle(status >= 500, self._is_probe)
        self._is_probe = False

    def end(self) -> None:
        """The request is over."""
        self._protection.end(self._is_probe)
