"""Forward a request that may be sent more than once: further attempts after pauses, and the number of each attempt.

What is sent again has to be there: the request's body is kept while it passes, up to :data:`MAX_KEPT` bytes. A larger
one goes on as it came, and is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.policy.retry import RetryPolicy
from vrata.policy.retry_budget import RetryBudget
from vrata.proxy.action.forward import (
    IDEMPOTENT,
    Forward,
    ForwardAction,
    ForwardFactory,
    PooledDestination,
    PooledEndpoint,
)
from vrata.proxy.action.grpc_call import NO_RESULT, GrpcCall
from vrata.proxy.contracts import ClientRequest, FailureClass
from vrata.wire.http1.head import ResponseHead

MAX_KEPT = 65536
"""Bytes of a request's body that are kept to be sent again, and what is read at once beyond them."""

_ATTEMPT_LINES = b"x-vrata-attempt-count: %d\r\nx-request-attempt-count: %d\r\n\r\n"

_log = structlog.get_logger("vrata.proxy.action")


class RetrySettings(ForwardFactory):
    """What one route says of attempts after the first, and of their numbers."""

    def __init__(
        self, policy: RetryPolicy, budgets: dict[str, RetryBudget], random: Callable[[], float], *, numbered: bool
    ) -> None:
        """*budgets* are those of the route's destinations, by ID; *random* gives numbers in [0, 1).

        *numbered* attempts tell the upstream which one they are.
        """
        self.policy = policy
        self.budgets = budgets
        self.random = random
        self.numbered = numbered

    def forward(
        self,
        action: ForwardAction,
        request: ClientRequest,
        destination: PooledDestination,
        endpoint: PooledEndpoint,
        budget: float,
    ) -> Forward:
        """Return what forwards *request*."""
        return RetryingForward(self, action, request, destination, endpoint, budget)


class RetryingForward(Forward):
    """One forwarded request, over all its attempts.

    Between two attempts there is no exchange, and the timer is set. The repetition on a fresh connection after a pooled
    one has died is part of an attempt.
    """

    __slots__ = (
        "_active_then",
        "_attempt_deadline",
        "_attempts",
        "_body_ended",
        "_head",
        "_idempotent",
        "_is_under_way",
        "_kept",
        "_kept_size",
        "_number",
        "_retries",
        "_retry_budget",
        "_settings",
        "_sharing",
        "_timer",
        "_tried",
    )

    def __init__(
        self,
        settings: RetrySettings,
        action: ForwardAction,
        request: ClientRequest,
        destination: PooledDestination,
        endpoint: PooledEndpoint,
        budget: float,
    ) -> None:
        super().__init__(action, request, destination, endpoint, budget)
        self._settings = settings
        self._retry_budget = settings.budgets[destination.destination_id]
        # What follows an upgrade is no request that could be sent again.
        self._retries = 0 if request.head.upgrade else settings.policy.attempts
        self._idempotent = request.head.method in IDEMPOTENT
        self._head = b""
        self._kept: list[bytes] | None = [] if self._retries else None
        self._kept_size = 0
        self._body_ended = False
        # Of the present attempt.
        self._number = 1
        self._attempt_deadline = self._attempt_began + settings.policy.per_attempt_timeout
        # Of all together; most need no more than one.
        self._tried: list[str] | None = None
        self._attempts: list[tuple[str, str]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_under_way = False
        self._active_then = 0
        self._sharing = False

    def start(self, head: bytes, content: bytes, end: bool) -> None:
        """Make the first attempt."""
        self._head = head
        self._body_ended = end
        if len(content) > MAX_KEPT:
            self._kept = None
        elif content:
            self._keep(content)
        self._is_under_way = True
        if self._retries:
            self._active_then = self._retry_budget.began()
        super().start(self._numbered(head), content, end)

    def _attempt(self, *, fresh: bool) -> None:
        if self._attempt_deadline != NEVER:
            self._head_deadline = self._attempt_deadline
            self._settle_deadline()
        super()._attempt(fresh=fresh)

    # -- what is told of the present attempt --------------------------------------------------------------------------

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the request's content."""
        self._body_ended = end
        self._keep(content)
        super().on_request_body(content, end)

    def on_request_sent(self) -> None:
        """Now the upstream owes a response head, but not for longer than the attempt may take."""
        super().on_request_sent()
        if self._response is None and self._attempt_deadline < self._head_deadline:
            self._head_deadline = self._attempt_deadline

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The response begins; or a failure, which nobody sees if another attempt follows."""
        status = head.status
        is_failure = self._settings.policy.after_status(status, idempotent=self._idempotent)
        if is_failure and self._retry(status, outcome := f"status {status}", outcome, outcome):
            self._record(status)
            return
        if self.call is not None and self._retries_code(self.call, head, end):
            return
        self._kept = None
        self._first = (b"", b"", True)
        self._give_share_back()
        super().on_response(head, content, end, trailers)

    def _retries_code(self, call: GrpcCall, head: ResponseHead, end: bool) -> bool:
        """Begin another attempt if the response has nothing but a code of gRPC after which that is to be done."""
        codes = self._settings.policy.grpc_codes
        if not codes:
            return False
        code = call.code_at_once(head, end)
        if code not in codes:
            return False
        result = call.result_of(code)
        outcome = f"gRPC status {grpc_status.NAMES[code]}"
        if not self._retry(grpc_status.in_http(code), outcome, outcome, outcome):
            return False
        if result != NO_RESULT:
            self._record(result)
        return True

    def _attempt_over(self, failure_class: FailureClass, detail: str) -> None:
        self._blame(failure_class)
        exchange = self._exchange
        # Whoever was not even let in by the limits of the destination does not knock again.
        if self._response is None and exchange is not None and failure_class is not FailureClass.CIRCUIT_OPEN:
            policy = self._settings.policy
            is_retried = policy.after_failure(idempotent=self._idempotent, nothing_sent=exchange.unprocessed)
            label, message = failure_class.label, failure_class.message
            if is_retried and self._retry(failure_class.status, label, message, detail):
                return
        self._fail(failure_class, detail)

    def _rewind(self) -> bool:
        kept = self._kept
        if kept is None:
            return super()._rewind()
        self._take_up(kept)
        return self._is_under_way

    # -- from one attempt to the next ---------------------------------------------------------------------------------

    def _retry(self, status: int, label: str, outcome: str, detail: str) -> bool:
        """Begin the pause before another attempt, unless there may be none.

        *status* is what this one came to, *label* says the same to machines, *outcome* to people, and *detail* more of
        it to the log.
        """
        if self._number > self._retries or self._kept is None:
            return False
        now = self._action.loop.time()
        pause = self._settings.policy.pause(self._number - 1, self._settings.random())
        if now + pause >= self._budget_deadline:
            return False
        if not self._destination.selector.has_usable:
            return False  # whoever has just failed has been taken out as well
        if not self._sharing and not self._take_share():
            _log.debug("no further attempt: too many requests retry", destination=self._destination.destination_id)
            return False
        _log.info(
            "attempt failed",
            reason=detail,
            destination=self._destination.destination_id,
            endpoint=self._endpoint.identifier,
            attempt=self._number,
            pause=round(pause, 3),
        )
        if self._request.is_counted:
            self._request.attempt_failed(status, now - self._attempt_began, label)
        if self._attempts is None:
            self._attempts = []
        self._attempts.append((self._endpoint.identifier, outcome))
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._head_deadline = self._continue_deadline = NEVER
        self._settle_deadline()
        self._timer = self._action.loop.call_later(pause, self._try_again)
        return True

    def _try_again(self) -> None:
        self._timer = None
        request, kept = self._request, self._kept
        assert kept is not None
        endpoint = self._choose_again()
        if endpoint is None:
            self._fail(FailureClass.NO_ENDPOINT, "no endpoint takes requests any more")
            return
        self._endpoint = endpoint
        if request.is_counted:
            request.retried(self._number, self._destination.destination_id, endpoint.identifier)
        self._number += 1
        self._take_up(kept)
        if not self._is_under_way:
            return  # what came then was no acceptable body
        if request.head.expects_continue and not self._first[1] and not self._body_ended:
            self._continue_deadline = self._action.loop.time() + self._destination.timeouts.expect_continue
            self._settle_deadline()
        self._attempt_began = self._action.loop.time()
        self._attempt_deadline = self._attempt_began + self._settings.policy.per_attempt_timeout
        self._attempt(fresh=False)

    def _take_up(self, kept: list[bytes]) -> None:
        """Begin the next attempt with what is *kept* of the body."""
        # The client may have been held back by the last attempt, or while there was none.
        self._request.resume_body()
        if not self._is_under_way:
            return
        body = b"".join(kept)
        self._first = (self._numbered(self._head), body, self._body_ended)
        self._replayable = self._body_ended and self._idempotent
        self._kept = [body] if self._kept_size <= MAX_KEPT else None

    def _choose_again(self) -> PooledEndpoint | None:
        """The endpoint of the next attempt: one not tried yet, else any but the last, else the same again.

        None when none takes requests, which may have come to pass since the last attempt.
        """
        selector, last = self._destination.selector, self._endpoint.identifier
        tried = self._tried = [last] if self._tried is None else [*self._tried, last]
        endpoint = selector.pick_other(self._request, tried)
        if endpoint is None:
            tried = self._tried = [last]
            endpoint = selector.pick_other(self._request, tried)
        if endpoint is None:
            endpoint = selector.pick_other(self._request, [])
        return endpoint

    def _keep(self, content: bytes) -> None:
        """Keep *content* for another attempt, as long as all of it is not too much."""
        kept = self._kept
        if kept is None:
            return
        kept.append(content)
        self._kept_size += len(content)
        if self._kept_size > MAX_KEPT:
            if self._timer is not None:
                self._request.pause_body()  # there is no other copy now: the next attempt sends it, and is the last
            elif self._exchange is not None:
                self._kept = None

    def _numbered(self, head: bytes) -> bytes:
        if not self._settings.numbered:
            return head
        return head[:-2] + _ATTEMPT_LINES % (self._number, self._number)

    def _earlier_attempts(self) -> Sequence[tuple[str, str]]:
        """Those that were followed by another one."""
        return self._attempts or ()

    def _take_share(self) -> bool:
        """Count as a request that tries again, within the budget and the destination's limit."""
        if not self._retry_budget.take(self._active_then):
            return False
        protection = self._destination.protection
        if protection is not None and not protection.take_retry():
            self._retry_budget.give_back()
            return False
        self._sharing = True
        return True

    def _give_share_back(self) -> None:
        if self._sharing:
            self._sharing = False
            self._retry_budget.give_back()
            protection = self._destination.protection
            if protection is not None:
                protection.give_retry_back()

    def _finish(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._kept = None
        if self._is_under_way:
            self._is_under_way = False
            self._give_share_back()
            if self._retries:
                self._retry_budget.ended()
        super()._finish()
