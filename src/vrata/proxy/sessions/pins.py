"""Where sessions are pinned on one level, and the way to the place of one of them."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.sessions.store import Answer, Call, SessionStore

PlaceT = TypeVar("PlaceT")

_BEGINNING = b"vrata:sticky:"


class Pins:
    """What a level needs to keep its sessions in the store. Never changes."""

    __slots__ = ("_ending", "cookie", "store", "ttl")

    def __init__(self, store: SessionStore, cookie: SessionCookie, ttl: float, scope: str) -> None:
        """*scope* ends the keys: the same session has a place of its own in each. *ttl* is in seconds."""
        self.store = store
        self.cookie = cookie
        self.ttl = int(ttl)
        self._ending = f":{scope}".encode()

    def __repr__(self) -> str:
        return f"<Pins {self.cookie!r} {self._ending.decode()}>"

    def key(self, session: bytes) -> bytes:
        """Under which the store has the place of *session*."""
        return _BEGINNING + session + self._ending


class Places(Protocol[PlaceT]):
    """A level: the destinations of a route, or the endpoints of a destination."""

    @property
    def pins(self) -> Pins:
        """How its sessions are kept."""
        ...

    def unpinned(self, request: ClientRequest) -> PlaceT | None:
        """The place where the session of *request* belongs as far as can be said without a store.

        It begins if there is none.
        """
        ...

    def pinned(self, name: bytes) -> PlaceT | None:
        """The place of that name if it may be used."""
        ...

    def name_of(self, place: PlaceT) -> bytes:
        """What the store calls *place*."""
        ...


class Seek(Generic[PlaceT]):
    """The way to one request's place on one level. Only a session that the client brings has to wait for the store."""

    __slots__ = ("_answer", "_call", "_has_claimed", "_pins", "_places", "_request", "_session", "place")

    def __init__(self, places: Places[PlaceT], request: ClientRequest, answer: Answer) -> None:
        """*answer* gets what :meth:`go_on` has to be told."""
        self._places = places
        self._pins = places.pins
        self._request = request
        self._answer = answer
        self._session = b""
        self._call: Call | None = None
        self._has_claimed = False
        self.place: PlaceT | None = None
        """What was found; None when there is no place that could be used."""

    def start(self) -> bool:
        """Begin; true when the place is known already."""
        pins = self._pins
        store = pins.store
        self._session = session = self._request.session(pins.cookie, starts=False)
        if session:
            if store.is_out:
                return self._pick()
            self._call = store.look_up(pins.key(session), self._answer)
            return False
        self._pick()
        if self.place is not None:
            # Nobody else can know a session that begins here, so there is nothing to wait for.
            self._session = self._request.session(pins.cookie)
            self._put(self.place)
        return True

    def go_on(self, value: bytes | None) -> bool:
        """The store has answered; true when the place is known now."""
        if value:
            self.place = self._places.pinned(value)
            if self.place is not None:
                return True
        self._pick()
        place = self.place
        if place is None or value is None or self._has_claimed:
            return True
        if value:
            # Its place is gone, or cannot be used.
            self._put(place)
            return True
        self._has_claimed = True
        pins = self._pins
        self._call = pins.store.claim(pins.key(self._session), self._places.name_of(place), pins.ttl, self._answer)
        return False

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        if self._call is not None:
            self._call.cancel()

    def _pick(self) -> bool:
        self.place = self._places.unpinned(self._request)
        return True

    def _put(self, place: PlaceT) -> None:
        pins = self._pins
        pins.store.put(pins.key(self._session), self._places.name_of(place), pins.ttl)
