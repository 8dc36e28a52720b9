"""A request that waits to learn where its session is, which takes a round trip to the session store or two."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import structlog

from vrata.proxy.contracts import ClientRequest, Failure, FailureClass
from vrata.proxy.destination.destination import Destination
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector
from vrata.proxy.holding import Holding
from vrata.proxy.routing.candidate import Match
from vrata.proxy.sessions.pins import Places, Seek
from vrata.proxy.upstream.pool import EndpointPool

_Endpoint: TypeAlias = Endpoint[EndpointPool]
_Destination: TypeAlias = Destination[EndpointSelector[EndpointPool]]

_log = structlog.get_logger("vrata.proxy.action")


class ForwardsWhereItIsTold(Protocol):
    """What goes on with the request."""

    def forward(
        self,
        request: ClientRequest,
        match: Match[Any],
        content: bytes,
        end: bool,
        destination: _Destination | None,
        endpoint: _Endpoint | None,
    ) -> None:
        """Forward *request* to *endpoint* of *destination*; None of either: there is none that could take it."""
        ...


class SessionSearch(Holding):
    """One request until its destination and its endpoint are known."""

    __slots__ = ("_action", "_destination", "_destinations", "_endpoint", "_endpoints", "_match")

    def __init__(
        self, action: ForwardsWhereItIsTold, request: ClientRequest, match: Match[Any], content: bytes, end: bool
    ) -> None:
        super().__init__(request, content, end)
        self._action = action
        self._match = match
        self._destinations: Seek[_Destination] | None = None
        self._destination: _Destination | None = None
        self._endpoints: Seek[_Endpoint] | None = None
        self._endpoint: _Endpoint | None = None

    def __repr__(self) -> str:
        sought = "destination" if self._destination is None else "endpoint"
        return f"<SessionSearch {self.request!r} for its {sought}>"

    def seek_destination(self, places: Places[_Destination]) -> None:
        """Find the destination among *places*, then the endpoint, and have the request forwarded."""
        seek = self._destinations = Seek(places, self.request, self._on_answer)
        if seek.start():
            self._found_destination(seek.place)
        else:
            self.hold()

    def seek_endpoint(self, destination: _Destination, places: Places[_Endpoint]) -> None:
        """Find the endpoint of *destination* among *places*, and have the request forwarded."""
        self._destination = destination
        seek = self._endpoints = Seek(places, self.request, self._on_answer)
        if seek.start():
            self._found(seek.place)
        else:
            self.hold()

    def go_on(self, content: bytes, end: bool) -> None:
        """Both are known."""
        self._action.forward(self.request, self._match, content, end, self._destination, self._endpoint)

    def gone(self) -> None:
        """The client went away."""
        for seek in (self._destinations, self._endpoints):
            if seek is not None:
                seek.cancel()

    def _on_answer(self, value: bytes | None) -> None:
        """The store has answered."""
        try:
            endpoints, destinations = self._endpoints, self._destinations
            if endpoints is not None:
                if endpoints.go_on(value):
                    self._found(endpoints.place)
            elif destinations is not None and destinations.go_on(value):
                self._found_destination(destinations.place)
        except Exception:  # noqa: BLE001 - one request must never take the worker down
            _log.exception("request handling failed", request=repr(self.request))
            self.forget()
            self.request.fail(Failure(FailureClass.INTERNAL))

    def _found_destination(self, destination: _Destination | None) -> None:
        if destination is None:
            self._found(None)
            return
        selector = destination.selector
        places = selector.sessions
        if places is not None:
            self.seek_endpoint(destination, places)
        else:
            self._destination = destination
            self._found(selector.pick(self.request))

    def _found(self, endpoint: _Endpoint | None) -> None:
        self._endpoint = endpoint
        self.release()
