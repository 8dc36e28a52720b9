"""Mirroring: copies of requests to another destination, whose answers are read and dropped.

A copy is made of the head as the upstream gets it and of the whole body, and is sent when the body has ended: nobody
ever waits for a mirror. What does not fit within the bounds below is not copied, and counted.

:class:`Mirror` is what one route says, :class:`Copy` is one request on its way to the mirror, and :class:`Copies` are
all of a worker's that are under way, whichever plan they stem from.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from vrata.net.deadlines import NEVER, DeadlineSweeper, Watched
from vrata.proxy.contracts import AttemptOwner, ClientRequest, FailureClass
from vrata.proxy.destination.destination import Destination
from vrata.proxy.endpoint.selection import EndpointSelector
from vrata.proxy.meters import MirrorMeter
from vrata.proxy.upstream.exchange import Exchange
from vrata.proxy.upstream.pool import EndpointPool
from vrata.wire.http1.head import ResponseHead

MAX_BODY: Final = 1 << 20
"""Bytes of the longest body that is copied."""

MAX_HELD: Final = 16 << 20
"""Bytes of bodies that one worker holds for its copies, until each is over."""

MAX_COPIES: Final = 256
"""Copies to one destination that one worker has under way.

A mirror that answers within 50 ms can keep up with 5,000 requests a second; one that hangs costs no more than as many
connections."""

PAUSE: Final = 1.0
"""Seconds for which an endpoint gets no copies after one found no connection to it.

A dial that fails costs as much as several requests, and one for each would slow down all that the worker does."""

DRAIN: Final = 2.0
"""Seconds that copies under way get when a worker ends and its clients are served."""

MirrorDestination: TypeAlias = Destination[EndpointSelector[EndpointPool]]

_log = structlog.get_logger("vrata.proxy.action")


def is_sampled(percentage: int, chance: float) -> bool:
    """Decide whether a request is copied, *chance* being uniform in [0, 1); 0 percent is the same as 100."""
    return not 0 < percentage < 100 or chance * 100 < percentage


class Copies:
    """The copies of one worker, and what they hold."""

    def __init__(self, sweeper: DeadlineSweeper) -> None:
        self.sweeper = sweeper
        self.loop = asyncio.get_running_loop()
        self._under_way: set[Copy] = set()
        self._by_destination: dict[str, int] = {}
        self._held = 0
        self._avoided: dict[str, float] = {}
        self._none_left: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Copies {len(self._under_way)} under way, {self._held} bytes>"

    def have_room(self, destination_id: str) -> bool:
        """Tell whether one more may go to the destination."""
        return self._by_destination.get(destination_id, 0) < MAX_COPIES

    def hold(self, size: int) -> bool:
        """Hold *size* bytes more; false when there is no room for them."""
        if self._held + size > MAX_HELD:
            return False
        self._held += size
        return True

    def avoid(self, place: str) -> None:
        """There was no connection to *place*, an endpoint of a destination."""
        self._avoided[place] = self.loop.time() + PAUSE

    def may_try(self, place: str) -> bool:
        """Tell whether it is long enough ago that there was no connection to *place*."""
        until = self._avoided.get(place)
        if until is None:
            return True
        if self.loop.time() < until:
            return False
        del self._avoided[place]
        return True

    def began(self, copy: Copy, destination_id: str) -> None:
        """*copy* is under way."""
        self._under_way.add(copy)
        self._by_destination[destination_id] = self._by_destination.get(destination_id, 0) + 1

    def ended(self, copy: Copy, destination_id: str, held: int) -> None:
        """*copy*, for which *held* bytes were held, is over."""
        self._under_way.discard(copy)
        self._held -= held
        count = self._by_destination[destination_id] - 1
        if count:
            self._by_destination[destination_id] = count
        else:
            del self._by_destination[destination_id]
        if self._none_left is not None and not self._under_way:
            self._none_left.set()

    async def drained(self, timeout: float) -> None:
        """Wait for those under way, for *timeout* seconds but never longer than :data:`DRAIN`; end what is left."""
        if self._under_way and timeout > 0:
            self._none_left = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), min(timeout, DRAIN))
        for copy in list(self._under_way):
            copy.end()


class Mirror:
    """What one route's ``forward.mirror`` says."""

    def __init__(
        self,
        destination: MirrorDestination,
        percentage: int,
        *,
        route_key: str,
        chance: Callable[[], float],
        copies: Copies,
    ) -> None:
        """*route_key* is what the route's requests are counted under; *chance* gives numbers uniform in [0, 1)."""
        self._destination = destination
        self._percentage = percentage
        self._route_key = route_key
        self._chance = chance
        self._copies = copies

    def __repr__(self) -> str:
        return f"<Mirror to {self._destination.destination_id}, {self._percentage} %>"

    def copy(self, request: ClientRequest, head: bytes) -> Copy | None:
        """Begin a copy of *request*, whose *head* goes to the upstream; None when there is to be none.

        A request for an upgrade is never copied: what follows it would be half of a conversation.
        """
        request_head = request.head
        if request_head.upgrade or not is_sampled(self._percentage, self._chance()):
            return None
        destination, meters = self._destination, request.meters
        meter = meters.mirrored(self._route_key, destination.destination_id) if meters is not None else None
        reason = ""
        if request_head.content_length > MAX_BODY:
            reason = "body_too_large"
        elif not self._copies.have_room(destination.destination_id):
            reason = "too_many_copies"
        if reason:
            if meter is not None:
                meter.skip(reason)
            return None
        return Copy(self._copies, destination, request, head, meter)


class Copy(AttemptOwner, Watched):
    """One request on its way to the mirror: collects its body, is sent, and has its answer dropped."""

    __slots__ = (
        "_body",
        "_budget_deadline",
        "_copies",
        "_destination",
        "_exchange",
        "_head",
        "_held",
        "_is_over",
        "_is_sent",
        "_meter",
        "_place",
        "_request",
        "deadline",
    )

    def __init__(
        self,
        copies: Copies,
        destination: MirrorDestination,
        request: ClientRequest,
        head: bytes,
        meter: MirrorMeter | None,
    ) -> None:
        """*head* is what is sent for *request*; *meter* counts where somebody wants to know."""
        self._copies = copies
        self._destination = destination
        self._request = request
        self._head = head
        self._meter = meter
        self._body: list[bytes] = []
        self._held = 0
        self._exchange: Exchange | None = None
        self._is_over = False
        self._is_sent = False
        self._place = ""
        self._budget_deadline = self.deadline = NEVER
        copies.began(self, destination.destination_id)

    def __repr__(self) -> str:
        state = "over" if self._is_over else "collecting" if self._exchange is None else "at the mirror"
        return f"<Copy of {self._request!r} to {self._destination.destination_id}, {state}>"

    # -- the client's side --------------------------------------------------------------------------------------------

    def add(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """More of the body; *end* with the last of it, and the *trailers*. Then the copy is sent."""
        if self._is_over:
            return
        size = len(content)
        if size:
            if self._held + size > MAX_BODY:
                self.end("body_too_large")
                return
            if not self._copies.hold(size):
                self.end("too_many_copies")
                return
            self._held += size
            self._body.append(content)
        if end:
            try:
                self._send(trailers)
            except Exception:  # noqa: BLE001 - a fault of ours must not become one of the request
                _log.exception("mirroring failed", copy=repr(self))
                self.end(FailureClass.INTERNAL.label)

    def abandon(self) -> None:
        """No more of the body will come. A copy that is whole goes on."""
        if self._exchange is None:
            self.end("incomplete")

    def _send(self, trailers: bytes) -> None:
        destination, request_head = self._destination, self._request.head
        # The client must not notice: no cookie of the mirror's goes to it.
        endpoint = destination.selector.pick(self._request, False)
        if endpoint is None:
            self.end("no_endpoint")
            return
        if destination.protection is not None and destination.protection.is_open:
            self.end(FailureClass.CIRCUIT_OPEN.label)
            return
        self._place = f"{destination.destination_id} {endpoint.identifier}"
        if not self._copies.may_try(self._place):
            self.end("unreachable")
            return
        body = b"".join(self._body)
        self._body.clear()
        self._budget_deadline = self.deadline = self._copies.loop.time() + destination.request_timeout
        self._copies.sweeper.watch(self)
        self._exchange = exchange = Exchange(self, endpoint.pool, destination.timeouts, request_head.method)
        exchange.start(self._head, body, True, chunked=request_head.chunked, trailers=trailers)

    # -- the mirror's side --------------------------------------------------------------------------------------------

    def on_request_sent(self) -> None:
        """Now it counts, and the mirror owes a response head."""
        self._is_sent = True
        if self._meter is not None:
            self._meter.sent += 1
        self.deadline = min(self.deadline, self._copies.loop.time() + self._destination.timeouts.response_header)

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response."""

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The answer begins. One that is meant never to end is not waited for."""
        if end or head.is_event_stream:
            self.end()
        else:
            self.deadline = self._budget_deadline

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The answer goes on."""
        if end:
            self.end()

    def on_tunnel_end(self) -> None:
        """Never: an upgrade is not copied."""

    def on_attempt_failed(self, failure_class: FailureClass, detail: str) -> None:
        """The mirror cannot be reached, or its answer is none."""
        destination_id = self._destination.destination_id
        _log.debug("mirror failed", error=failure_class.label, detail=detail, destination=destination_id)
        if not self._is_sent and failure_class is not FailureClass.CIRCUIT_OPEN:
            self._copies.avoid(self._place)
        self.end(failure_class.label)

    def on_upstream_full(self) -> None:
        """The mirror reads slowly: the copy waits for it, and nobody else does."""

    def on_upstream_ready(self) -> None:
        """The mirror has caught up."""

    def expire(self) -> None:
        """One of the destination's limits has passed."""
        self.end(FailureClass.TIMEOUT.label)

    def end(self, reason: str = "") -> None:
        """Have done with it. *reason* is counted for a copy that was not sent."""
        if self._is_over:
            return
        self._is_over = True
        if reason and not self._is_sent and self._meter is not None:
            self._meter.skip(reason)
        self._copies.sweeper.forget(self)
        self._copies.ended(self, self._destination.destination_id, self._held)
        self._body.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
