"""The stages of rate limits: one that decides at once, and one that asks first."""

from __future__ import annotations

from functools import partial
from time import monotonic_ns
from typing import Any, Final

from vrata.policy import grpc_status
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.contracts import BodyNeeded, ClientRequest
from vrata.proxy.holding import Holding
from vrata.proxy.middleware.rate_limit.announcement import Announcement
from vrata.proxy.middleware.rate_limit.key import Key
from vrata.proxy.middleware.rate_limit.limits import Asked, FleetLimit, LocalLimit
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.middleware.stage import Inner, Place, Stage

STORE_UNAVAILABLE: Final = Rejection.error(503, "rate limit store unavailable", code=grpc_status.UNAVAILABLE)


class LocalStage(Stage):
    """Limits together with the other workers of this proxy."""

    __slots__ = ("_announcement", "_bodies", "_key", "_limit")

    def __init__(
        self, place: Place, inner: Inner, key: Key, limit: LocalLimit, announcement: Announcement, bodies: BodyGate
    ) -> None:
        super().__init__(place, inner)
        self._key = key
        self._limit = limit
        self._announcement = announcement
        self._bodies = bodies

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take a token for *request*, once its body is known as far as its bucket depends on it."""
        began = self.began(request)
        try:
            value = self._key.of(request)
        except BodyNeeded as needed:
            self._bodies.hold_back(request, content, end, str(needed), partial(self.run, request, match))
            return
        self.decide(request, match, content, end, value, began)

    def decide(self, request: ClientRequest, match: Any, content: bytes, end: bool, value: bytes, began: float) -> None:
        """Let *request*, whose bucket is that for *value*, go on or answer it."""
        full_at = self._limit.take(value, monotonic_ns())
        # Not the same moment: the token may have been taken a little later, and one more would seem to be missing.
        now = monotonic_ns()
        if full_at > 0:
            self._announcement.admitted(request, full_at - now)
            self.pass_on(request, match, content, end, began)
        else:
            self.reject(request, self._announcement.rejection(-full_at - now), began)


class FleetStage(LocalStage):
    """Limits together with all proxies that ask the same store, as long as that answers."""

    __slots__ = ("_fleet", "_on_failure")

    def __init__(
        self,
        place: Place,
        inner: Inner,
        key: Key,
        limit: LocalLimit,
        announcement: Announcement,
        bodies: BodyGate,
        fleet: FleetLimit,
        on_failure: str,
    ) -> None:
        """*on_failure* is what to do while *fleet* does not answer: ``allow``, ``deny``, or ``local``, by *limit*."""
        super().__init__(place, inner, key, limit, announcement, bodies)
        self._fleet = fleet
        self._on_failure = on_failure

    def decide(self, request: ClientRequest, match: Any, content: bytes, end: bool, value: bytes, began: float) -> None:
        """Ask, and go by the answer."""
        if self._fleet.is_out:
            self.without_answer(request, match, content, end, value, began)
        else:
            _Waiting(self, request, match, content, end, value, began).ask(self._fleet)

    def answered(
        self, request: ClientRequest, match: Any, content: bytes, end: bool, missing: int, began: float
    ) -> None:
        """The store has said how the bucket stands."""
        if missing > 0:
            self._announcement.admitted(request, missing)
            self.pass_on(request, match, content, end, began)
        else:
            self.reject(request, self._announcement.rejection(-missing), began)

    def without_answer(
        self, request: ClientRequest, match: Any, content: bytes, end: bool, value: bytes, began: float
    ) -> None:
        """The store does not say."""
        self.count_failure(request)
        if self._on_failure == "local":
            super().decide(request, match, content, end, value, began)
        elif self._on_failure == "allow":
            self.pass_on(request, match, content, end, began)
        else:
            self.reject(request, STORE_UNAVAILABLE, began)


class _Waiting(Holding):
    """One request until the store has answered."""

    __slots__ = ("_asked", "_began", "_match", "_missing", "_stage", "_value")

    def __init__(
        self,
        stage: FleetStage,
        request: ClientRequest,
        match: Any,
        content: bytes,
        end: bool,
        value: bytes,
        began: float,
    ) -> None:
        super().__init__(request, content, end)
        self._stage = stage
        self._match = match
        self._value = value
        self._began = began
        self._asked: Asked | None = None
        self._missing: int | None = None

    def __repr__(self) -> str:
        return f"<_Waiting {self.request!r}>"

    def ask(self, fleet: FleetLimit) -> None:
        """Have *fleet* answer."""
        self._asked = fleet.take(self._value, self._on_answer)
        self.hold()

    def _on_answer(self, missing: int | None) -> None:
        self._missing = missing
        self.release()

    def go_on(self, content: bytes, end: bool) -> None:
        """Act on the answer."""
        missing = self._missing
        if missing is None:
            self._stage.without_answer(self.request, self._match, content, end, self._value, self._began)
        else:
            self._stage.answered(self.request, self._match, content, end, missing, self._began)

    def gone(self) -> None:
        """The client went away."""
        if self._asked is not None:
            self._asked.cancel()
