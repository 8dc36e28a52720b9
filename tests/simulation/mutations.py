"""Bugs to be put into the proxy, each by itself, to see that the rules notice them. They need interpreted modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from vrata.policy import circuit_breaker, outlier
from vrata.policy.health import EndpointHealth
from vrata.policy.retry_budget import RetryBudget
from vrata.proxy.action import forward, retrying
from vrata.proxy.dataplane import DataPlane
from vrata.proxy.destination import protection
from vrata.proxy.endpoint import hashed, selection
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.upstream import exchange, http1_connection, pool, queue
from vrata.proxy.upstream.places import Places
from vrata.proxy.watch import sweeper


def judged_endpoints_get_requests() -> None:
    def usable(available: Sequence[bool], threshold: int) -> list[int]:
        return list(range(len(available)))

    _set(selection, "usable", usable)


def a_retry_goes_where_the_last_attempt_went() -> None:
    _set(retrying.RetryingForward, "_choose_again", lambda self: self._endpoint)


def retries_have_no_budget() -> None:
    _set(RetryBudget, "take", lambda self: self._retrying.reserve(1 << 30))


def a_share_of_the_retry_budget_is_kept() -> None:
    _set(RetryBudget, "give_back", lambda self: None)


def a_limit_of_connections_is_one_too_many() -> None:
    take = Places.take

    def one_more(self: Places, since: int, now: int) -> bool:
        self.limit += 1
        try:
            return take(self, since, now)
        finally:
            self.limit -= 1

    _set(Places, "take", one_more)


def the_place_of_a_failed_dial_is_kept() -> None:
    _set(pool.EndpointPool, "_dialled", lambda self, task: self._dialling.discard(task))


def a_limit_of_requests_is_one_too_many() -> None:
    admit = protection.Protection.admit

    def one_more(self: protection.Protection) -> Any:
        settings = self._settings
        self._settings = protection.ProtectionSettings(
            settings.max_requests + 1, settings.max_retries, settings.failure_threshold, settings.open_time
        )
        try:
            return admit(self)
        finally:
            self._settings = settings

    _set(protection.Protection, "admit", one_more)


def a_probe_is_lost_for_ever() -> None:
    _set(protection.Protection, "_lose_probe", lambda self: None)


def half_open_lets_everybody_pass() -> None:
    admission = circuit_breaker.admission

    def lenient(word: int, now: int, open_time: int, process: int) -> int:
        verdict = admission(word, now, open_time, process)
        is_half_open = circuit_breaker.described(word).state == "halfOpen"
        return word if verdict == circuit_breaker.REFUSED and is_half_open else verdict

    _set(protection, "admission", lenient)


def a_circuit_opens_one_failure_too_early() -> None:
    after_failure = circuit_breaker.after_failure

    def hasty(word: int, now: int, threshold: int, *, is_probe: bool) -> int:
        return after_failure(word, now, threshold - 1, is_probe=is_probe)

    _set(protection, "after_failure", hasty)


def a_swap_forgets_who_is_under_way() -> None:
    keep_only = RuntimeRegistry.keep_only

    def forgetful(self: RuntimeRegistry, uses: Any) -> None:
        keep_only(self, uses)
        self._protections.clear()

    _set(RuntimeRegistry, "keep_only", forgetful)


def a_swap_changes_nothing() -> None:
    handle_by = DataPlane._handle_by
    first: dict[int, Any] = {}

    def old(self: DataPlane, plan: Any, request: Any, content: bytes, end: bool) -> None:
        handle_by(self, first.setdefault(id(self), plan), request, content, end)

    _set(DataPlane, "_handle_by", old)


def keys_lead_anywhere() -> None:
    random = Random(1)
    _set(hashed.HashSelector, "pick", lambda self, request, sets_cookies=True: random.choice(self.usable or [None]))


def time_limits_of_requests_are_forgotten() -> None:
    start = forward.Forward.start

    def patient(self: forward.Forward, head: bytes, content: bytes, end: bool) -> None:
        self._budget_deadline = self.deadline = float("inf")
        start(self, head, content, end)

    _set(forward.Forward, "start", patient)


def a_busy_connection_is_used_again() -> None:
    _set(http1_connection.Http1Connection, "can_serve_again", property(lambda self: not self.closed))
    complete = exchange.Exchange._complete

    def careless(self: exchange.Exchange) -> None:
        self._request_complete = True
        complete(self)

    _set(exchange.Exchange, "_complete", careless)


def a_body_that_breaks_off_looks_whole() -> None:
    def lost(self: http1_connection.Http1Connection, exc: Exception | None) -> None:
        reader, body = self.reader, self._body
        if reader is not None and body is not None:
            self.closed = True
            self.reader = None
            self._pool.sweeper.forget(self)
            self._pool.lost(self)
            reader.on_content(b"", True)
        else:
            connection_lost(self, exc)

    connection_lost = http1_connection.Http1Connection.connection_lost
    _set(http1_connection.Http1Connection, "connection_lost", lost)


def what_is_over_is_watched() -> None:
    finish = forward.Forward._finish

    def watchful(self: forward.Forward) -> None:
        finish(self)
        self.deadline = float("inf")
        self._action.sweeper.watch(self)

    _set(forward.Forward, "_finish", watchful)


def anything_is_sent_again() -> None:
    init = retrying.RetryingForward.__init__

    def bold(self: retrying.RetryingForward, *arguments: Any) -> None:
        init(self, *arguments)
        self._idempotent = True

    _set(retrying.RetryingForward, "__init__", bold)


def a_removed_endpoint_keeps_its_connections() -> None:
    _set(pool.EndpointPool, "retire", lambda self: None)


def one_request_too_many_waits() -> None:
    count = queue.Queue._count

    def one_more(self: queue.Queue, waited_for: Any, has_place: bool) -> bool:
        limits = self.limits
        self.limits = queue.ConnectionLimits(limits.per_endpoint, limits.connections, limits.pending + 1)
        try:
            return count(self, waited_for, has_place)
        finally:
            self.limits = limits

    _set(queue.Queue, "_count", one_more)


def nobody_is_told_that_there_is_room() -> None:
    _set(queue.Queue, "_admit", lambda self, pools: None)


def ejections_do_not_end() -> None:
    def release(records: Mapping[str, outlier.Record], rules: outlier.Rules, now: float) -> outlier.Sweep:
        return outlier.Sweep(dict(records))

    _set(outlier, "release", release)
    _set(sweeper, "release", release)


def all_endpoints_may_be_ejected() -> None:
    _set(outlier.Rules, "limit", lambda self, endpoints: endpoints)


def the_unhealthy_stay_unhealthy() -> None:
    _set(EndpointHealth, "succeeded", lambda self, now, thresholds: False)


def _set(owner: object, name: str, value: Any) -> None:
    setattr(owner, name, value)


MUTATIONS: dict[str, Callable[[], None]] = {
    found.__name__: found
    for found in (
        judged_endpoints_get_requests,
        a_retry_goes_where_the_last_attempt_went,
        retries_have_no_budget,
        a_share_of_the_retry_budget_is_kept,
        a_limit_of_connections_is_one_too_many,
        the_place_of_a_failed_dial_is_kept,
        a_limit_of_requests_is_one_too_many,
        a_probe_is_lost_for_ever,
        half_open_lets_everybody_pass,
        a_circuit_opens_one_failure_too_early,
        a_swap_forgets_who_is_under_way,
        a_swap_changes_nothing,
        keys_lead_anywhere,
        time_limits_of_requests_are_forgotten,
        a_busy_connection_is_used_again,
        a_body_that_breaks_off_looks_whole,
        what_is_over_is_watched,
        anything_is_sent_again,
        a_removed_endpoint_keeps_its_connections,
        one_request_too_many_waits,
        nobody_is_told_that_there_is_room,
        ejections_do_not_end,
        all_endpoints_may_be_ejected,
        the_unhealthy_stay_unhealthy,
    )
}
