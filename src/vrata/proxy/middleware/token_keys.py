"""Where a ``jwt`` middleware has its keys from: its settings, or a destination that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, Protocol

import structlog

from vrata import __version__
from vrata.net.deadlines import NEVER, DeadlineSweeper, Watched
from vrata.policy.jwt.key_set import NO_KEYS, InvalidKeySet, KeySet, read_key_set
from vrata.policy.jwt.refresh import RefreshSchedule
from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.callout.call import OnAnswer
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.callout.services import Cancellable, Services

MOST_WAITING: Final = 1000
"""Requests that wait for the same retrieval."""
LARGEST_KEY_SET: Final = 1 << 20
"""Bytes."""

_ACCEPTED: Final = b"accept: application/jwk-set+json, application/json\r\n"
# Servers on the Internet that tell robots from clients often refuse who does not say what it is.
_FIELDS: Final = _ACCEPTED + b"user-agent: vrata/%s\r\n" % __version__.encode("ascii")
_PATIENCE: Final = 60.0
"""Seconds that a plan may take to come into force: the destination is not known before."""
_RELEASED_AT_ONCE: Final = 8
"""Requests that go on in one turn of the loop: each verifies a signature, which may take a millisecond."""

_SHOWN: Final = 3
"""Keys that are left out of which the log tells why."""

_log = structlog.get_logger("vrata.proxy.middleware")


class Waiter(Protocol):
    """Who waits for keys."""

    def release(self) -> None:
        """The keys are as new as they get."""
        ...


class TokenKeys(Protocol):
    """The keys of one middleware."""

    current: KeySet
    """What tokens are verified with. Another object when anything has changed."""

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """A plan with these destinations uses the keys."""
        ...

    def wait(self, waiter: Waiter) -> bool:
        """Let *waiter* know when newer keys are there, or cannot be had; false when there is nothing to wait for."""
        ...

    def forget(self, waiter: Waiter) -> None:
        """*waiter* waits no longer."""
        ...


class InlineKeys(TokenKeys):
    """Keys that the settings have in them."""

    def __init__(self, text: str, issuer: str) -> None:
        """*issuer* is for the log. Of *text* that is no key set nothing is used, so no token is good."""
        self.current = NO_KEYS
        try:
            self.current = read_key_set(text.encode())
        except InvalidKeySet as error:
            _log.warning("no keys for tokens", issuer=issuer, reason=str(error))
        else:
            _log_keys(self.current, issuer)

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """They come from no destination."""

    def wait(self, waiter: Waiter) -> bool:
        """They never change."""
        return False

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits."""


class KeySource(Protocol):
    """Where keys are retrieved from."""

    destination_id: str

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """A plan with these destinations uses the keys."""
        ...

    def is_known(self) -> bool:
        """Whether the plan in force has the destination."""
        ...

    def retrieve(self, on_answer: OnAnswer) -> Cancellable:
        """Ask for the keys, and tell *on_answer*, but not before this returns, what comes of it."""
        ...


class DestinationKeys(KeySource):
    """A path at a destination."""

    def __init__(self, services: Services, destination_id: str, path: str, limit: float) -> None:
        """One retrieval takes *limit* seconds at most."""
        self.destination_id = destination_id
        self._services = services
        self._path = path.encode("ascii")
        self._limit = limit
        self._destination: ServiceDestination | None = None

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """A plan with these destinations uses the keys, and its requests may need them when it is not in force."""
        self._destination = destinations.get(self.destination_id, self._destination)

    def is_known(self) -> bool:
        """Whether the plan in force has the destination."""
        return self.destination_id in self._services.destinations

    def retrieve(self, on_answer: OnAnswer) -> Cancellable:
        """Get the path."""
        return self._services.call(
            self.destination_id,
            b"GET",
            self._path,
            _FIELDS,
            b"",
            self._limit,
            on_answer,
            max_answer=LARGEST_KEY_SET,
            destination=self._services.destinations.get(self.destination_id, self._destination),
        )


class RemoteKeys(TokenKeys, Watched):
    """Keys that a destination serves. They are retrieved as soon as there is the destination, again and again, and
    when a token needs others.

    A retrieval that fails changes nothing; the next one comes soon.
    """

    def __init__(
        self,
        source: KeySource,
        sweeper: DeadlineSweeper,
        clock: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],
        schedule: RefreshSchedule,
        issuer: str,
    ) -> None:
        """*clock* is that of *sweeper*; *soon* calls a function in the next turn of the loop; *issuer* is for the
        log."""
        self.current = NO_KEYS
        self.deadline = clock()
        self._source = source
        self._sweeper = sweeper
        self._clock = clock
        self._soon = soon
        self._schedule = schedule
        self._issuer = issuer
        self._text: bytes | None = None
        self._call: Cancellable | None = None
        self._waiting: dict[Waiter, None] = {}
        self._due: dict[Waiter, None] = {}
        """Those whose wait is over, in the order in which they go on."""
        self._has_begun = False
        self._is_settled = False
        """There is the destination, and it is known when to begin."""
        self._patient_until = self.deadline + _PATIENCE
        self._is_closed = False
        sweeper.watch(self)
        self.expire()

    def __repr__(self) -> str:
        return f"<RemoteKeys of {self._source.destination_id}, {len(self._waiting)} waiting>"

    def follow(self, destinations: Mapping[str, ServiceDestination]) -> None:
        """A plan with these destinations uses the keys."""
        self._source.follow(destinations)

    def wait(self, waiter: Waiter) -> bool:
        """Let *waiter* know when the retrieval under way has ended, or one that begins now if that may be."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        if self._call is None:
            if self._is_closed or (self._has_begun and not self._schedule.may_ask(self._clock())):
                return False
            self._retrieve()
        self._waiting[waiter] = None
        return True

    def forget(self, waiter: Waiter) -> None:
        """*waiter* waits no longer."""
        self._waiting.pop(waiter, None)
        self._due.pop(waiter, None)

    def close(self) -> None:
        """Retrieve nothing more; what somebody waits for comes to its end."""
        self._is_closed = True
        self._sweeper.forget(self)
        if self._call is not None and not self._waiting:
            self._call.cancel()
            self._call = None

    def expire(self) -> None:
        """It is time to retrieve them."""
        if self._call is not None:
            self.deadline = NEVER
        elif self._has_begun or self._is_settled:
            self._retrieve()
        elif self._source.is_known():
            self._is_settled = True
            self.deadline = self._schedule.start(self._clock())
            if self.deadline <= self._clock():
                self._retrieve()
        elif self._clock() >= self._patient_until:
            self._retrieve()  # and fail, which gets into the log

    def _retrieve(self) -> None:
        self.deadline = NEVER
        self._has_begun = True
        self._call = self._source.retrieve(self._on_answer)

    def _on_answer(self, outcome: Answer | CalloutFailure) -> None:
        self._call = None
        failure = self._take(outcome)
        now = self._clock()
        if failure is None:
            self.deadline = self._schedule.after_success(now)
        else:
            self.deadline = self._schedule.after_failure(now)
            _log.warning(
                "key set not retrieved",
                issuer=self._issuer,
                destination=self._source.destination_id,
                reason=failure,
                keys=len(self.current.keys),
                next_try_in=round(self.deadline - now, 1),
            )
        if self._waiting:
            is_idle = not self._due
            self._due.update(self._waiting)
            self._waiting.clear()
            if is_idle:
                self._release()

    def _take(self, outcome: Answer | CalloutFailure) -> str | None:
        """Use the keys of the answer; else say why not."""
        if not isinstance(outcome, Answer):
            return outcome.reason
        if outcome.status != 200:
            return f"the status is {outcome.status}"
        if outcome.body == self._text:
            return None
        try:
            keys = read_key_set(outcome.body)
        except InvalidKeySet as error:
            return str(error)
        self._text = outcome.body
        self.current = keys
        _log_keys(keys, self._issuer)
        return None

    def _release(self) -> None:
        """Let those who wait go on, but not so many at once that others had to wait for that."""
        due = self._due
        for waiter in list(islice(due, _RELEASED_AT_ONCE)):
            if waiter in due:
                del due[waiter]
                waiter.release()
        if due:
            self._soon(self._release)


def _log_keys(keys: KeySet, issuer: str) -> None:
    if keys.skipped or not keys.keys:
        reasons = "; ".join(keys.skipped[:_SHOWN])
        _log.warning("keys for tokens left out", issuer=issuer, keys=len(keys.keys), reasons=reasons)
    else:
        _log.info("keys for tokens", issuer=issuer, keys=len(keys.keys))
