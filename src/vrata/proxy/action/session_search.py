"""A request that waits to learn where its session is, which takes a round trip to the session store or two."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import structlog

from vrata.proxy.contracts import ClientRequest, Failure, FailureClass, RequestHandler
from vrata.proxy.destination.destination import Destination
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector
from vrata.proxy.routing.candidate import Match
from vrata.proxy.sessions.pins import Places, Seek
from vrata.proxy.upstream.pool import EndpointPool

_Endpoint: TypeAlias = Endpoint[EndpointPool]
_Destination: TypeAlias = Destination[EndpointSelector[EndpointPool]]

MAX_HELD = 65536
"""Bytes of a body that are read while its request waits, and what is read at once beyond them."""

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


class SessionSearch(RequestHandler):
    """One request until its destination and its endpoint are known. It costs no task, and no other request anything.

    What comes of its body meanwhile goes on as the first of its content.
    """

    __slots__ = (
        "_action",
        "_client_is_full",
        "_content",
        "_destination",
        "_destinations",
        "_end",
        "_endpoint",
        "_endpoints",
        "_has_found",
        "_is_over",
        "_is_paused",
        "_match",
        "_request",
        "_size",
    )

    def __init__(
        self, action: ForwardsWhereItIsTold, request: ClientRequest, match: Match[Any], content: bytes, end: bool
    ) -> None:
        self._action = action
        self._request = request
        self._match = match
        # Of the body.
        self._content = [content]
        self._size = len(content)
        self._end = end
        # Of the search.
        self._destinations: Seek[_Destination] | None = None
        self._destination: _Destination | None = None
        self._endpoints: Seek[_Endpoint] | None = None
        self._endpoint: _Endpoint | None = None
        self._has_found = False
        self._is_over = False
        self._is_paused = False
        self._client_is_full = False

    def __repr__(self) -> str:
        sought = "destination" if self._destination is None else "endpoint"
        return f"<SessionSearch {self._request!r} for its {sought}>"

    # -- the search ---------------------------------------------------------------------------------------------------

    def seek_destination(self, places: Places[_Destination]) -> None:
        """Find the destination among *places*, then the endpoint, and have the request forwarded."""
        seek = self._destinations = Seek(places, self._request, self._on_answer)
        if seek.start():
            self._found_destination(seek.place)
        else:
            self._request.handled_by(self)

    def seek_endpoint(self, destination: _Destination, places: Places[_Endpoint]) -> None:
        """Find the endpoint of *destination* among *places*, and have the request forwarded."""
        self._destination = destination
        seek = self._endpoints = Seek(places, self._request, self._on_answer)
        if seek.start():
            self._found(seek.place)
        else:
            self._request.handled_by(self)

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
            _log.exception("request handling failed", request=repr(self._request))
            self._is_over = True
            self._request.fail(Failure(FailureClass.INTERNAL))

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
            self._found(selector.pick(self._request))

    def _found(self, endpoint: _Endpoint | None) -> None:
        self._endpoint = endpoint
        self._has_found = True
        self._go_on()

    def _go_on(self) -> None:
        if self._client_is_full:
            return
        if self._is_paused:
            self._is_paused = False
            self._request.resume_body()
            if self._is_over:
                return  # what came then was no acceptable body
        self._is_over = True
        content = b"".join(self._content)
        self._content.clear()
        self._action.forward(self._request, self._match, content, self._end, self._destination, self._endpoint)

    # -- the client, meanwhile ----------------------------------------------------------------------------------------

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        self._content.append(content)
        self._size += len(content)
        self._end = end
        if self._size > MAX_HELD and not self._is_paused:
            self._is_paused = True
            self._request.pause_body()

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """There is no tunnel before there is a response."""

    def on_client_gone(self) -> None:
        """Nobody wants an answer."""
        self._is_over = True
        self._content.clear()
        for seek in (self._destinations, self._endpoints):
            if seek is not None:
                seek.cancel()

    def pause_response(self) -> None:
        """The client does not even take what was sent before: a response would pile up here."""
        self._client_is_full = True

    def resume_response(self) -> None:
        """The client has caught up."""
        self._client_is_full = False
        if self._has_found and not self._is_over:
            self._go_on()
