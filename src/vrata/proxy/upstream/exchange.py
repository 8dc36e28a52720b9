"""One attempt: one request on one carrier, and what came back."""

from __future__ import annotations

from vrata.net.dial import DialError, DialStage
from vrata.proxy.contracts import AttemptOwner, FailureClass, UpstreamTimeouts
from vrata.proxy.upstream.carrier import Carrier, ResponseReader
from vrata.proxy.upstream.pool import EndpointPool
from vrata.proxy.upstream.waiting import TooManyWaiting, Waiting
from vrata.wire.http1.head import ResponseHead

MAX_UNSENT = 65536
"""Bytes of a request body kept while the connection is being dialled; beyond it the client is not read."""

_DIAL_FAILURES = {
    DialStage.RESOLVE: FailureClass.DNS_FAILURE,
    DialStage.CONNECT: FailureClass.CONNECTION_REFUSED,
    DialStage.TIMEOUT: FailureClass.TIMEOUT,
    DialStage.TLS_HANDSHAKE: FailureClass.TLS_HANDSHAKE_FAILURE,
}


class Exchange(ResponseReader):
    """Sends a request and reports the response to its owner; ends exactly once, by completion, failure or cancel."""

    __slots__ = (
        "_began",
        "_carrier",
        "_chunked",
        "_fills",
        "_fresh",
        "_half_closed",
        "_head",
        "_latency",
        "_over",
        "_owner",
        "_paused",
        "_pool",
        "_request_complete",
        "_timeouts",
        "_trailers",
        "_unprocessed",
        "_unsent",
        "_unsent_size",
        "_waiting",
        "died_idle",
        "method",
        "reused",
        "upgrade",
    )

    def __init__(
        self,
        owner: AttemptOwner,
        pool: EndpointPool,
        timeouts: UpstreamTimeouts,
        method: bytes,
        *,
        upgrade: bool = False,
    ) -> None:
        self._owner = owner
        self._pool = pool
        self._timeouts = timeouts
        self.method = method
        self.upgrade = upgrade
        self._chunked = False
        self._carrier: Carrier | None = None
        # Until there is a carrier.
        self._head = b""
        self._trailers = b""
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._request_complete = False
        self._over = False
        self._paused = False
        self._unprocessed = False
        self._fresh = False
        self._fills = False
        """What was sent at first has filled the connection."""
        self._half_closed = False
        """One side of the tunnel has ended."""
        self._waiting: Waiting | None = None
        self._latency = pool.latency
        """What the time to the response's head is told to; None when that is done, or nobody wants to know."""
        self._began = pool.time() if self._latency is not None else 0.0
        self.reused = False
        """The connection came from the pool, so the upstream may have closed it while it was idle."""
        self.died_idle = False
        """The attempt has failed, and nothing speaks against its connection having been closed while it was idle."""

    def __repr__(self) -> str:
        if self._over:
            state = "over"
        elif self._carrier is not None:
            state = "running"
        else:
            state = "waiting" if self.waits_for_place else "dialling"
        return f"<Exchange {self.method.decode()} {self._pool.host}:{self._pool.port} {state}>"

    @property
    def nothing_sent(self) -> bool:
        """True as long as there was no connection to send on; until the exchange is cancelled."""
        return bool(self._head)

    @property
    def unprocessed(self) -> bool:
        """True when it is certain that the upstream has not acted on the request, whatever method it has.

        It was not sent, or the upstream has said so (RFC 9113 §8.7).
        """
        return self._unprocessed or bool(self._head)

    @property
    def waits_for_client(self) -> bool:
        """True while the upstream can have no answer yet because the rest of the request's body is still to come."""
        return self._carrier is not None and not self._request_complete

    @property
    def waits_for_place(self) -> bool:
        """True while a limit of ours is what keeps the request from the upstream."""
        return self._waiting is not None and self._waiting in self._pool.line

    def start(
        self, head: bytes, content: bytes, end: bool, *, chunked: bool, fresh: bool = False, trailers: bytes = b""
    ) -> None:
        """Send *head* and the first of the body, on an idle connection unless *fresh*, else on a new one.

        *trailers* are lines, each with its CRLF, and come with the end of a *chunked* body.
        """
        self._request_complete = end
        carrier = None if fresh else self._pool.take(self.upgrade)
        if carrier is None:
            self._head = head
            self._chunked = chunked
            self._trailers = trailers
            self._unsent_size = len(head)
            self._keep(content)
            self._fresh = fresh
            try:
                self._waiting = self._pool.dial(self._timeouts, self._connected, self._dial_failed, self.upgrade)
            except TooManyWaiting as refusal:
                self._dial_failed(refusal)
            return
        self.reused = True
        self._carrier = carrier
        carrier.begin(self)
        if self._paused:
            carrier.pause_reading()
        carrier.send_head(head, content, end, chunked, trailers)
        if end and not self._over:
            self._owner.on_request_sent()

    def send(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """More of the request body; *trailers* as in :meth:`start`."""
        if self._over:
            return
        self._request_complete = end
        if end and self._latency is not None:
            self._began = self._pool.time()  # the client's time is not the upstream's
        carrier = self._carrier
        if carrier is None:
            self._trailers = trailers
            self._keep(content)
            if self._unsent_size > MAX_UNSENT:
                self._owner.on_upstream_full()
            return
        carrier.send(content, end, trailers)
        if end:
            self._owner.on_request_sent()

    def tunnel(self, data: bytes, end: bool) -> None:
        """Bytes of the client's side of a tunnel, which a 101 response has opened."""
        carrier = self._carrier
        if carrier is None:
            return
        if data:
            carrier.write(data)
        if not end:
            return
        if not self._half_closed and carrier.can_half_close:
            self._half_closed = True
            carrier.end_output()
            return
        self._over = True
        self._carrier = None
        carrier.leave()
        self._owner.on_response_content(b"", True)

    def cancel(self) -> None:
        """Nobody wants the response any more. The connection cannot be used again, as the response is still due."""
        if self._over:
            return
        self._over = True
        latency, self._latency = self._latency, None
        if latency is not None and self._request_complete:
            now = self._pool.time()
            latency.waited(now - self._began, now)
        self._forget_unsent()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._pool.leave(waiting)
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.close()

    def pause_response(self) -> None:
        """The client does not keep up."""
        self._paused = True
        if self._carrier is not None:
            self._carrier.pause_reading()

    def resume_response(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._carrier is not None:
            self._carrier.resume_reading()

    # -- the dial's outcome -------------------------------------------------------------------------------------------

    def _connected(self, carrier: Carrier) -> bool:
        if self._over:
            return False
        self._waiting = None
        self._carrier = carrier
        # Who waited may get one that has served others. It is alive, as it has just done so; but who asked for a new
        # one has been tried again already, and once is enough.
        self.reused = carrier.has_served and not self._fresh
        carrier.begin(self)
        if self._paused:
            carrier.pause_reading()
        was_full = self._unsent_size > MAX_UNSENT
        self._fills = False
        head, content, trailers = self._head, b"".join(self._unsent), self._trailers
        self._forget_unsent()
        carrier.send_head(head, content, self._request_complete, self._chunked, trailers)
        if self._request_complete and not self._over:
            self._owner.on_request_sent()
        if was_full and not self._fills and not self._over:
            self._owner.on_upstream_ready()  # after the head, since who hears it may send content at once
        return True

    def _dial_failed(self, error: DialError | TooManyWaiting) -> None:
        if self._over:
            return
        self._over = True
        if isinstance(error, TooManyWaiting):
            self._latency = None  # nothing was learnt of the endpoint
            self._owner.on_attempt_failed(FailureClass.CIRCUIT_OPEN, str(error))
        else:
            self._failed()
            self._owner.on_attempt_failed(_DIAL_FAILURES[error.stage], str(error))

    # -- what the connection reads ------------------------------------------------------------------------------------

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response."""
        self._owner.on_informational(head)

    def on_head(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The final response."""
        latency, self._latency = self._latency, None
        if latency is not None:
            now = self._pool.time()
            latency.observe(now - self._began, now)
        if end:
            self._complete()
        self._owner.on_response(head, content, end, trailers)

    def on_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """More of the response."""
        if end:
            self._complete()
        self._owner.on_response_content(content, end, trailers)

    def on_tunnel_end(self) -> None:
        """The upstream has closed its side of the tunnel."""
        if not self._half_closed:
            self._half_closed = True
            self._owner.on_tunnel_end()
        else:
            self.on_content(b"", True)

    def on_broken(self, detail: str, unheard: bool) -> None:
        """The connection ended, or spoke nonsense, before the response was complete."""
        self.died_idle = self.reused and unheard
        self._broken(FailureClass.CONNECTION_RESET, detail)

    def on_refused(self, detail: str) -> None:
        """The upstream has ended the handshake after we had completed it: in TLS 1.3 it is the last to judge."""
        self.died_idle = self.reused
        self._broken(FailureClass.TLS_HANDSHAKE_FAILURE, detail)

    def on_unprocessed(self, detail: str) -> None:
        """The upstream has refused the request, or gone before it took it: that says nothing of how long it takes."""
        self._unprocessed = True
        self._latency = None
        self._broken(FailureClass.CONNECTION_RESET, detail)

    def on_full(self) -> None:
        """The upstream reads slower than the client writes."""
        self._fills = True
        self._owner.on_upstream_full()

    def on_ready(self) -> None:
        """The upstream has caught up."""
        self._owner.on_upstream_ready()

    def _broken(self, failure_class: FailureClass, detail: str) -> None:
        if not self._over:
            self._over = True
            self._carrier = None
            self._failed()
            self._owner.on_attempt_failed(failure_class, detail)

    def _failed(self) -> None:
        latency, self._latency = self._latency, None
        # A connection that died while it was idle says nothing.
        if latency is not None and not self.died_idle:
            now = self._pool.time()
            latency.failed(now - self._began, now)

    def _keep(self, content: bytes) -> None:
        if content:
            self._unsent.append(content)
            self._unsent_size += len(content)

    def _forget_unsent(self) -> None:
        self._head = self._trailers = b""
        self._unsent.clear()
        self._unsent_size = 0

    def _complete(self) -> None:
        self._over = True
        carrier, self._carrier = self._carrier, None
        assert carrier is not None
        if self._paused:
            carrier.resume_reading()  # the pause was this exchange's, not the connection's
        carrier.complete(self._request_complete, self._timeouts.idle_connection)
