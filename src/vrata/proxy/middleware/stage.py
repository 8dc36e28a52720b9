"""Stages: one middleware at its place in one route's chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from vrata.model.middleware.override import Override
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.meters import MiddlewareMeter
from vrata.proxy.middleware.rejection import Rejection


class Inner(Protocol):
    """What is inside of a stage: the next one, or the route's action."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take *request* over; its body begins with *content* and is complete when *end*."""
        ...


@dataclass(frozen=True)
class Place:
    """Where an instance gets a stage."""

    middleware_id: str
    name: str
    meter_key: str
    """What its runs are counted under (``meters.middleware_key``)."""
    override: Override | None = None
    """What is changed about it there."""
    destinations: Mapping[str, ServiceDestination] = field(default_factory=dict)
    """Those of the plan, by ID: its requests ask them, also when another plan has come into force meanwhile."""
    lease: Any = None
    """What keeps the instance open for as long as a request can come here."""


class Stage:
    """A stage that may take its time. Whoever inherits implements :meth:`run`, and comes to one of its two ends.

    Both ends get the time when the stage's own work on the request began, as :meth:`began` told it.
    """

    __slots__ = ("inner", "place")

    def __init__(self, place: Place, inner: Inner) -> None:
        self.place = place
        self.inner = inner

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Take *request* over."""
        raise NotImplementedError

    def began(self, request: ClientRequest) -> float:
        """The time, where somebody wants to know how long the work takes."""
        return perf_counter() if request.meters is not None else 0.0

    def pass_on(self, request: ClientRequest, match: Any, content: bytes, end: bool, began: float) -> None:
        """Let *request* go on to what is inside; the work on it *began* then."""
        meter = self.meter(request)
        if meter is not None:
            meter.passed(perf_counter() - began)
        self.inner.run(request, match, content, end)

    def reject(self, request: ClientRequest, rejection: Rejection, began: float) -> None:
        """Answer *request*; the work on it *began* then."""
        self.rejected(request, rejection.status, began)
        request.respond(rejection.of(request))

    def rejected(self, request: ClientRequest, status: int, began: float) -> None:
        """Count that *request* is answered; the work on it *began* then."""
        meter = self.meter(request)
        if meter is not None:
            meter.rejected(status, perf_counter() - began)
        if request.trace is not None:
            request.trace.rejected(self.place.name)

    def replace(self, request: ClientRequest, rejection: Rejection) -> None:
        """Answer *request*, which has gone on, in place of what is inside."""
        meter = self.meter(request)
        if meter is not None:
            meter.replaced(rejection.status)
        if request.trace is not None:
            request.trace.rejected(self.place.name)
        request.respond(rejection.of(request))

    def count_failure(self, request: ClientRequest) -> None:
        """The middleware itself, or whom it asks, has failed with *request*; what becomes of that is told beside."""
        meter = self.meter(request)
        if meter is not None:
            meter.failed()

    def meter(self, request: ClientRequest) -> MiddlewareMeter | None:
        """What counts the runs of the middleware; None where nobody wants to know."""
        meters = request.meters
        return None if meters is None else meters.middleware(self.place.meter_key)


class SyncStage(Stage):
    """A stage that decides at once, and never asks for the body."""

    def run(self, request: ClientRequest, match: Any, content: bytes, end: bool) -> None:
        """Decide about *request*."""
        began = self.began(request)
        rejection = self.decide(request)
        if rejection is None:
            self.pass_on(request, match, content, end, began)
        else:
            self.reject(request, rejection, began)

    def decide(self, request: ClientRequest) -> Rejection | None:
        """The answer to *request*, or None when it goes on, perhaps edited or observed."""
        raise NotImplementedError
