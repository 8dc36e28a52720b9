"""The circuit breaker: when a destination gets no requests, and when it gets one to see whether it is well again.

Its whole state is one number, the *word*, which all workers share and change by compare-and-swap; the functions here
say what it changes to. 0 is the closed circuit without failures, so nothing has to be set up, and in good times nothing
has to be written.

| state | a request | leaves by |
|---|---|---|
| closed | passes | as many failures in a row as the threshold → open |
| open | is refused | the open time after the last failure: the next request is the *probe* → half-open |
| half-open | is refused | the probe's success → closed; its failure → open; its loss → open, and at once due |

Only the probe decides while the circuit is half-open. Times are whole milliseconds of a monotonic clock that all
workers share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

QUIET: Final = 0
"""The word of a closed circuit without failures."""
REFUSED: Final = -1
"""What :func:`admission` says to a request that may not pass."""

_CLOSED: Final = 0
_OPEN: Final = 1
_HALF_OPEN: Final = 2

# From the top: the state in 2 bits, since when in 39 (17 years of milliseconds), and 22 bits for the number of
# failures or, half-open, for the process that has the probe (Linux numbers processes below 2^22).
_STATE: Final = 61
_SINCE: Final = 22
_LAST: Final = (1 << 22) - 1
_SINCE_LAST: Final = (1 << 39) - 1

MOST_FAILURES: Final = _LAST
"""Failures in a row are counted up to here; a higher threshold never opens the circuit."""


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A word in readable form."""

    state: Literal["closed", "open", "halfOpen"]
    since: int
    """When the circuit was opened, or the probe let through; 0 while it is closed."""
    failures: int
    """In a row, as far as they are known; of a half-open circuit they are not."""


def described(word: int) -> BreakerState:
    """Return what *word* says."""
    state, since, number = word >> _STATE, word >> _SINCE & _SINCE_LAST, word & _LAST
    if state == _OPEN:
        return BreakerState("open", since, number)
    if state == _HALF_OPEN:
        return BreakerState("halfOpen", since, 0)
    return BreakerState("closed", 0, number)


def admission(word: int, now: int, open_time: int, process: int) -> int:
    """Say whether a request of *process* passes at *now*: by :data:`REFUSED`, or by the word from then on.

    Another word than *word* makes the request the probe; whoever comes too late to swap it in asks again.
    """
    state = word >> _STATE
    if state == _CLOSED:
        return word
    if state == _OPEN and now - (word >> _SINCE & _SINCE_LAST) > open_time:
        return _HALF_OPEN << _STATE | (now & _SINCE_LAST) << _SINCE | process & _LAST
    return REFUSED


def after_failure(word: int, now: int, threshold: int, *, is_probe: bool) -> int:
    """Return the word after a request has failed."""
    state = word >> _STATE
    if state == _CLOSED:
        failures = min((word & _LAST) + 1, _LAST)
        if failures < threshold:
            return failures
        return _opened(now, failures)
    if state == _OPEN:
        return _opened(now, word & _LAST)
    return _opened(now, 1) if is_probe else word


def after_success(word: int, *, is_probe: bool) -> int:
    """Return the word after a request has succeeded. What was let through before the circuit opened closes nothing."""
    return QUIET if is_probe or word >> _STATE == _CLOSED else word


def after_loss(word: int, now: int, open_time: int) -> int:
    """Return the word after the probe ended without saying anything of the destination: the next request is one."""
    if word >> _STATE != _HALF_OPEN:
        return word
    return _opened(max(now - open_time - 1, 0), 0)


def is_probed_by(word: int, process: int) -> bool:
    """Tell whether the circuit is half-open, and *process* has its probe."""
    return word >> _STATE == _HALF_OPEN and word & _LAST == process & _LAST


def _opened(since: int, failures: int) -> int:
    return _OPEN << _STATE | (since & _SINCE_LAST) << _SINCE | failures
