"""Observe mode: the processor is shown transactions, which never wait for it.

An *observation* is a transaction that is watched, an *account* what the processor is told of it, and the *observatory*
keeps the messages of all accounts of a middleware in one worker: so many of them wait, so many are sent at once, and
the others are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from vrata.proxy.contracts import ClientRequest, Failure
from vrata.proxy.middleware.ext_proc.asides import Asides
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.message import (
    BUFFERED,
    NONE,
    REQUEST_BODY,
    REQUEST_TRAILERS,
    RESPONSE_BODY,
    RESPONSE_TRAILERS,
    STREAMED,
    Answer,
    OwnResponse,
    Phase,
    Refusal,
    Shown,
)
from vrata.proxy.middleware.ext_proc.processor import Processor
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings
from vrata.proxy.middleware.ext_proc.view import fields_of, lines_of, shown_request, shown_response
from vrata.proxy.middleware.failure_log import FailureLog
from vrata.proxy.middleware.stage import Place
from vrata.proxy.relayed_request import RelayedRequest
from vrata.wire.http1.head import ResponseHead

MAX_QUEUED: Final = 16 << 20
"""Bytes in the messages that wait."""
MAX_ACCOUNTS: Final = 1024
"""Transactions of which the processor is told something at the same time."""
LOG_INTERVAL: Final = 10.0
"""Seconds between two lines in the log about messages that were dropped."""

_log = structlog.get_logger("vrata.proxy.middleware")


class Observatory:
    """What one middleware has to tell its processor, in one worker."""

    def __init__(
        self,
        processor: Processor,
        workers: int,
        queue_size: int,
        clock: Callable[[], float],
        failures: FailureLog,
    ) -> None:
        """*workers* messages are sent at once, and *queue_size* wait. *clock* gives the time in seconds."""
        self._processor = processor
        self._workers = workers
        self._queue_size = queue_size
        self._clock = clock
        self.failures = failures
        """Where it is told that the processor has failed."""
        self._ready: deque[Account] = deque()
        """Accounts with something to send, of which nothing is being sent."""
        self._queued = 0
        self._queued_bytes = 0
        self._sending = 0
        self._is_busy = False
        self._accounts = 0
        self.dropped = 0
        """Messages that were not sent."""
        self._reported = 0
        self._last_report = -LOG_INTERVAL

    def __repr__(self) -> str:
        return f"<Observatory {self._queued} queued, {self._sending} under way, {self.dropped} dropped>"

    def open(self, place: Place, request: ClientRequest, settings: PlaceSettings) -> Account:
        """Begin the account of a transaction."""
        return Account(self, self._processor, place, request, settings)

    # -- for accounts -------------------------------------------------------------------------------------------------

    def admits(self, size: int) -> bool:
        """Take a message of *size* bytes into the queue; false when there is no room for it."""
        is_full = self._queued >= self._queue_size or (self._queued and self._queued_bytes + size > MAX_QUEUED)
        if is_full and not (self._sending < self._workers and not self._queued):
            return False
        self._queued += 1
        self._queued_bytes += size
        return True

    def begins_account(self) -> bool:
        """Let one more have a channel."""
        if self._accounts >= MAX_ACCOUNTS:
            return False
        self._accounts += 1
        return True

    def ends_account(self) -> None:
        """A channel is closed."""
        self._accounts -= 1

    def is_ready(self, account: Account) -> None:
        """*account* has a message that may be sent."""
        self._ready.append(account)
        self._send()

    def taken(self, size: int) -> None:
        """A message of *size* bytes has left the queue."""
        self._queued -= 1
        self._queued_bytes -= size

    def sent(self) -> None:
        """What was being sent of one account is sent, or lost."""
        self._sending -= 1
        self._send()

    def drop(self, place: Place, request: ClientRequest, count: int) -> None:
        """*count* messages will not be sent."""
        self.dropped += count
        meters = request.meters
        meter = meters.middleware(place.meter_key) if meters is not None else None
        if meter is not None:
            for _ in range(count):
                meter.failed()
        now = self._clock()
        if now - self._last_report >= LOG_INTERVAL:
            self._last_report = now
            count, self._reported = self.dropped - self._reported, self.dropped
            _log.warning("messages to an external processor dropped", middleware=place.name, count=count)

    def _send(self) -> None:
        if self._is_busy:
            return  # further up, where it will go on
        self._is_busy = True
        while self._ready and self._sending < self._workers:
            self._sending += 1
            self._ready.popleft().send_next()
        self._is_busy = False


class Account(ChannelOwner):
    """What the processor is told of one transaction, in its order."""

    __slots__ = (
        "_asides",
        "_channel",
        "_has_ended",
        "_is_declined",
        "_is_lost",
        "_is_ready",
        "_is_sending",
        "_observatory",
        "_place",
        "_processor",
        "_queue",
        "_request",
        "_settings",
    )

    def __init__(
        self,
        observatory: Observatory,
        processor: Processor,
        place: Place,
        request: ClientRequest,
        settings: PlaceSettings,
    ) -> None:
        self._observatory = observatory
        self._processor = processor
        self._place = place
        self._request = request
        self._settings = settings
        self._asides = Asides(settings) if settings.tells_more else None
        self._channel: Channel | None = None
        self._queue: deque[Shown] = deque()
        self._is_ready = False
        """It waits for its turn."""
        self._is_sending = False
        self._is_lost = False
        """The processor has failed."""
        self._is_declined = False
        """It wants to see no more."""
        self._has_ended = False

    def __repr__(self) -> str:
        return f"<Account {len(self._queue)} queued>"

    def tell(self, shown: Shown, response: ResponseHead | None = None) -> None:
        """Tell it when it is its turn, or drop it; *response* is the head of the response, where it begins."""
        observatory = self._observatory
        if self._is_declined:
            return
        if self._asides is not None:
            self._asides.add_to(shown, self._request, response)
        if self._is_lost or not observatory.admits(shown.size):
            observatory.drop(self._place, self._request, 1)
            return
        self._queue.append(shown)
        self._get_ready()

    def lost(self) -> None:
        """Something is too long to be told."""
        self._observatory.drop(self._place, self._request, 1)

    def end(self) -> None:
        """Nothing follows."""
        self._has_ended = True
        if not self._queue and not self._is_sending:
            self._close()

    def send_next(self) -> None:
        """It is its turn: send the oldest message."""
        self._is_ready = False
        self._is_sending = True
        if not self._queue:
            self._over()  # what it had was dropped meanwhile
            return
        shown = self._queue.popleft()
        self._observatory.taken(shown.size)
        channel = self._channel
        if channel is None:
            if not self._observatory.begins_account():
                self._lose(1)
                return
            channel = self._channel = self._processor.open(self, self._request, self._settings, observed=True)
        channel.show(shown)
        if not self._processor.answers_observations and not channel.is_full:
            self._over()

    def on_answer(self, phase: Phase, answer: Answer | Refusal) -> None:
        """Whatever it says, it has seen what it was shown."""
        self._over()

    def on_own_response(self, part: OwnResponse) -> None:
        """As above."""
        self._over()

    def on_failure(self, reason: str) -> None:
        """It will see no more of the transaction."""
        self._observatory.failures.tell(self._place.name, reason=reason)
        self._lose(1 if self._is_sending else 0)

    def on_done(self) -> None:
        """It wants to see no more."""
        self._is_declined = True
        self._discard()
        self._over()
        self._close()

    def on_ready(self) -> None:
        """It has caught up."""
        if not self._processor.answers_observations:
            self._over()

    def _lose(self, lost: int) -> None:
        self._is_lost = True
        lost += self._discard()
        if lost:
            self._observatory.drop(self._place, self._request, lost)
        self._over()
        self._close()

    def _discard(self) -> int:
        """Drop what waits, and return how many messages it was."""
        count = len(self._queue)
        for shown in self._queue:
            self._observatory.taken(shown.size)
        self._queue.clear()
        return count

    def _over(self) -> None:
        """What was being sent is dealt with."""
        if not self._is_sending:
            return
        self._is_sending = False
        if self._has_ended and not self._queue:
            self._close()
        self._get_ready()
        self._observatory.sent()

    def _get_ready(self) -> None:
        if self._queue and not self._is_ready and not self._is_sending:
            self._is_ready = True
            self._observatory.is_ready(self)

    def _close(self) -> None:
        channel, self._channel = self._channel, None
        self._is_lost = True
        if channel is not None:
            self._observatory.ends_account()
            channel.finish()


class Observation(RelayedRequest):
    """A transaction that is watched: everything passes, and is told."""

    __slots__ = (
        "_account",
        "_request_body",
        "_request_is_told",
        "_response_body",
        "_response_is_told",
        "_settings",
    )

    def __init__(self, place: Place, observatory: Observatory, settings: PlaceSettings, outer: ClientRequest) -> None:
        super().__init__(outer)
        self._settings = settings
        self._account = observatory.open(place, outer, settings)
        modes, limit = settings.modes, settings.max_body
        self._request_is_told = False
        self._response_is_told = not modes.shows_response
        self._request_body = _Copy(self._account, REQUEST_BODY, modes.request_body, limit)
        self._response_body = _Copy(self._account, RESPONSE_BODY, modes.response_body, limit)

    def begin(self, content: bytes, end: bool) -> None:
        """The request is there, and its body begins with *content*."""
        has_body = content != b"" or not end
        modes = self._settings.modes
        if modes.request_headers:
            self._account.tell(shown_request(self.outer, self._settings.visible, not has_body, observed=True))
        if has_body:
            self._take(content, end)
        else:
            self._request_is_told = True
            self._settle()
        self.outer.handled_by(self)

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content."""
        self._take(content, end)
        super().on_request_body(content, end)

    def on_client_gone(self) -> None:
        """The client went away."""
        self._account.end()
        super().on_client_gone()

    def relay_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """The response begins."""
        is_bodiless = not head.body_expected(self.head.method)
        if self._settings.modes.response_headers:
            is_end = is_bodiless or (end and not content)
            self._account.tell(shown_response(head, self._settings.visible, is_end, observed=True), head)
        if is_bodiless:
            self._response_body.is_done = self._response_is_told = True  # what comes on a tunnel is no body
            self._settle()
        else:
            self._take_response(content, end, trailers)
        if end:
            self._account.end()
        super().relay_response(head, content, end, trailers)

    def relay_content(self, content: bytes, end: bool, trailers: bytes) -> None:
        """The response goes on."""
        self._take_response(content, end, trailers)
        if end:
            self._account.end()
        super().relay_content(content, end, trailers)

    def relay_failure(self, failure: Failure) -> None:
        """The response will not be complete."""
        self._account.end()
        super().relay_failure(failure)

    def _take(self, content: bytes, end: bool) -> None:
        trailers = self.outer.trailers if end and self._settings.modes.request_trailers else b""
        self._request_body.take(content, end, not trailers)
        if trailers:
            shown = Shown(REQUEST_TRAILERS, fields=fields_of(lines_of(trailers)), observed=True)
            self._account.tell(shown)
        if end or (self._request_body.is_done and not self._settings.modes.request_trailers):
            self._request_is_told = True
            self._settle()

    def _take_response(self, content: bytes, end: bool, trailers: bytes) -> None:
        if not end or not self._settings.modes.response_trailers:
            trailers = b""
        self._response_body.take(content, end, not trailers)
        if trailers:
            shown = Shown(RESPONSE_TRAILERS, fields=fields_of(lines_of(trailers)), observed=True)
            self._account.tell(shown)
        if end or (self._response_body.is_done and not self._settings.modes.response_trailers):
            self._response_is_told = True
            self._settle()

    def _settle(self) -> None:
        """End the account as soon as nothing will be told: a response, or a tunnel, may last for hours."""
        if self._request_is_told and self._response_is_told:
            self._account.end()


class _Copy:
    """What is kept of a body that passes, until it is told."""

    __slots__ = ("_account", "_content", "_has_come", "_limit", "_mode", "_phase", "_size", "is_done")

    def __init__(self, account: Account, phase: Phase, mode: int, limit: int) -> None:
        self._account = account
        self._phase = phase
        self._mode = mode
        self._limit = limit
        self._content: list[bytes] = []
        self._size = 0
        self.is_done = mode == NONE
        """Nothing more of it will be told."""
        self._has_come = False

    def take(self, content: bytes, end: bool, is_last: bool) -> None:
        """More of it has come; *is_last*: with the *end* of it nothing else will be told of this direction."""
        if self.is_done:
            return
        if content:
            self._has_come = True
        elif end and not self._has_come:
            self.is_done = True  # there is none
            return
        if self._mode == STREAMED:
            if content or end:
                self._account.tell(Shown(self._phase, body=content, end=end and is_last, observed=True))
            return
        self._content.append(content)
        self._size += len(content)
        is_over = self._size > self._limit
        if not end and not is_over:
            return
        self.is_done = True
        whole = b"".join(self._content)
        self._content.clear()
        if is_over and self._mode == BUFFERED:
            self._account.lost()
        else:
            shown = Shown(self._phase, body=whole[: self._limit], end=not is_over and is_last, observed=True)
            self._account.tell(shown)
