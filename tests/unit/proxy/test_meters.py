"""Meters through changes of what is collected, with requests on their way."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from vrata.model import Listener
from vrata.model.listener import Metrics
from vrata.proxy.meters import (
    OTHER_METHOD,
    UNMATCHED,
    ListenerMeters,
    MiddlewareMeter,
    RouteMeter,
    middleware_key,
    middleware_labels,
)
from vrata.proxy.response_meter import ResponseMeter


def wanted(*, buckets: tuple[float, ...] = (1.0,), **collect: bool) -> Metrics:
    document: dict[str, Any] = {"collect": collect, "histograms": {"durationBuckets": list(buckets)}}
    metrics = Listener.parse({"id": "l", "name": "l", "port": 80, "metrics": document}).metrics
    assert metrics is not None
    return metrics


def test_a_response_counts_by_status_and_by_time() -> None:
    responses = ResponseMeter((0.1, 1.0))
    assert responses.is_zero
    for status, seconds in ((200, 0.1), (200, 0.2), (404, 5.0), (101, 0.0)):
        responses.record(status, seconds)
    assert responses.statuses == {200: 2, 404: 1, 101: 1}
    assert responses.counts == [2, 1, 1]
    assert responses.sum == pytest.approx(5.3)
    other = ResponseMeter((0.1, 1.0))
    other.add_statuses(responses.take_statuses())
    other.add_statuses({200: 1, 404: 1})
    assert responses.is_zero
    assert other.statuses == {200: 3, 404: 2, 101: 1}


def test_a_success_alone_is_not_nothing() -> None:
    responses = ResponseMeter(())
    responses.record(200, 0.1)
    assert not responses.is_zero


@pytest.mark.parametrize("method", [b"", b"get", b"FOO", b"X" * 5000, b"OTHER"])
def test_methods_that_a_client_invents_share_one_meter(method: bytes) -> None:
    route = RouteMeter((1.0,))
    for _ in range(2):
        route.in_flight += 1
        route.ended(method, 200, 0.1)
    assert [*route.methods] == [OTHER_METHOD]
    assert route.methods[OTHER_METHOD].statuses == {200: 2}


def test_the_same_meter_serves_every_plan() -> None:
    meters = ListenerMeters("l", "a:1", wanted())
    first = meters.matched("r\0", 3)
    meters.keep_only({"r\0"}, frozenset(), frozenset(), frozenset())
    assert meters.matched("r\0", 4) is first
    assert first is not None
    assert (first.in_flight, first.request_bytes) == (2, 7)


def test_what_no_plan_names_is_dropped_except_what_matched_nothing() -> None:
    meters = ListenerMeters("l", "a:1", wanted(endpoint=True))
    for key in ("r\0", "s\0", UNMATCHED):
        meters.matched(key, 0)
    for destination, endpoint in (("d", "e:1"), ("d", "e:2"), ("x", "e:1")):
        meters.forwarded(destination, endpoint)
    cors, headers = middleware_key("a", "cors"), middleware_key("a", "headers")
    for key in (cors, headers):
        meters.middleware(key)
    meters.keep_only({"s\0"}, {"d"}, {("d", "e:2")}, {headers})
    assert {*meters.middlewares} == {headers}
    assert {*meters.routes} == {"s\0", UNMATCHED}
    assert {*meters.destinations} == {"d"}
    assert {*meters.endpoints} == {("d", "e:2")}


def test_a_middleware_counts_how_its_runs_came_out() -> None:
    meter = MiddlewareMeter((0.1, 1.0))
    assert meter.is_zero
    meter.passed(0.1)
    meter.passed(0.5)
    meter.rejected(403, 0.5)
    meter.rejected(403, 7.0)
    meter.rejected(429, 0.0)
    meter.failed()
    meter.dropped("queue_full")
    meter.dropped("queue_full", 3)
    assert (meter.passes, meter.rejections, meter.errors) == (2, {403: 2, 429: 1}, 1)
    assert meter.dropped_lines == {"queue_full": 4}
    assert meter.counts == [2, 2, 1]
    assert meter.sum == pytest.approx(8.1)


@pytest.mark.parametrize("tell", [MiddlewareMeter.failed, lambda meter: meter.dropped("write_error")])
def test_a_mishap_alone_is_not_nothing(tell: Any) -> None:
    meter = MiddlewareMeter(())
    tell(meter)
    assert not meter.is_zero


def test_middlewares_are_counted_only_where_somebody_wants_to_know() -> None:
    key = middleware_key("m", "cors")
    assert ListenerMeters("l", "a:1", wanted(middleware=False)).middleware(key) is None
    meters = ListenerMeters("l", "a:1", wanted())
    meter = meters.middleware(key)
    assert meter is not None
    assert meters.middleware(key) is meter
    meters.configure(wanted(middleware=False))
    assert meters.middleware(key) is None


@pytest.mark.parametrize("name", ["m", "", "a\0b"])
def test_the_key_of_a_middleware_tells_its_labels(name: str) -> None:
    assert middleware_labels(middleware_key(name, "rateLimit")) == (name, "rateLimit")


CHOICES = [*product([True, False], repeat=2)]


@pytest.mark.parametrize(("destination", "endpoint"), CHOICES)
@pytest.mark.parametrize(("destination_then", "endpoint_then"), CHOICES)
def test_a_request_that_lives_through_a_change_leaves_nothing_in_flight(
    destination: bool, endpoint: bool, destination_then: bool, endpoint_then: bool
) -> None:
    before = wanted(destination=destination, endpoint=endpoint)
    then = wanted(destination=destination_then, endpoint=endpoint_then, buckets=(1.0, 2.0, 3.0))
    meters = ListenerMeters("l", "a:1", before)
    early = [meters.forwarded("d", "e:1") for _ in range(2)]
    for metrics in (then, before, then):
        meters.configure(metrics)
    late = meters.forwarded("d", "e:1")
    for found in (*early, late):
        if found is not None:
            found.ended(503, 9.0)
    in_flight = [meter.in_flight for meter in (*meters.destinations.values(), *meters.endpoints.values())]
    assert in_flight == [0] * (destination_then + endpoint_then)
    if destination_then:
        # A switch forgets, and so does one that was undone; whoever began after it counts.
        assert meters.destinations["d"].responses.statuses == {503: 3 if destination else 1}
    if endpoint_then:
        assert meters.endpoints["d", "e:1"].failures >= 1


@pytest.mark.parametrize(("destination", "endpoint"), CHOICES)
@pytest.mark.parametrize(("destination_then", "endpoint_then"), CHOICES)
def test_a_request_that_is_sent_again_counts_elsewhere_and_leaves_nothing_in_flight(
    destination: bool, endpoint: bool, destination_then: bool, endpoint_then: bool
) -> None:
    meters = ListenerMeters("l", "a:1", wanted(destination=destination, endpoint=endpoint))
    found = meters.forwarded("d", "e:1")
    if (destination, endpoint) != (destination_then, endpoint_then):
        meters.configure(wanted(destination=destination_then, endpoint=endpoint_then))
    if found is not None:
        found.attempt_failed(503, 1.0)
        meters.forwarded_again(found, "d", "e:2").ended(200, 2.0)
    later = meters.forwarded("d", "e:2")
    if later is not None:
        later.ended(204, 2.0)
    everything = [*meters.destinations.values(), *meters.endpoints.values()]
    assert [meter.in_flight for meter in everything] == [0] * len(everything)
    if destination_then:
        assert 204 in meters.destinations["d"].responses.statuses
    if endpoint_then:
        assert 204 in meters.endpoints["d", "e:2"].responses.statuses
    if (destination, endpoint) == (destination_then, endpoint_then) == (True, True):
        assert meters.destinations["d"].responses.statuses == {200: 1, 204: 1}
        assert meters.endpoints["d", "e:1"].responses.statuses == {503: 1}
        assert meters.endpoints["d", "e:1"].failures == 1
        assert meters.endpoints["d", "e:2"].responses.statuses == {200: 1, 204: 1}


def test_traces_are_noted_with_the_bucket_that_they_are_examples_of() -> None:
    meters = ListenerMeters("l", "a:1", wanted(endpoint=True))
    route, upstream = meters.matched("r\0", 0), meters.forwarded("d", "e:1")
    assert route is not None
    assert upstream is not None
    for seconds, trace_id in ((0.5, "a"), (1.0, "b"), (2.0, "c")):
        route.exemplify(b"GET", seconds, trace_id, 7.0)
        upstream.exemplify(seconds, trace_id, 7.0)
    noted = [route.methods[b"GET"], meters.destinations["d"].responses, meters.endpoints["d", "e:1"].responses]
    assert [found.exemplars for found in noted] == [{0: ("b", 1.0, 7.0), 1: ("c", 2.0, 7.0)}] * 3
    assert noted[0].take_exemplars() is not None
    assert noted[0].take_exemplars() is None
    meters.configure(wanted(endpoint=True, buckets=(5.0, 6.0)))
    assert [found.exemplars for found in noted] == [None] * 3


def test_late_retries_count_together() -> None:
    meter = RouteMeter((1.0,))
    for number in (1, 2, 99, 100, 101, 5000):
        meter.retried(number)
    assert meter.retries == {1: 1, 2: 1, 99: 1, 100: 3}


def test_other_buckets_reach_every_histogram() -> None:
    meters = ListenerMeters("l", "a:1", wanted(endpoint=True))
    route, upstream = meters.matched("r\0", 0), meters.forwarded("d", "e:1")
    assert route is not None
    assert upstream is not None
    route.ended(b"GET", 200, 0.5)
    upstream.ended(200, 0.5)
    middleware = meters.middleware(middleware_key("m", "cors"))
    assert middleware is not None
    middleware.passed(0.5)
    meters.configure(wanted(endpoint=True, buckets=(5.0, 6.0)))
    assert (middleware.counts, middleware.sum, middleware.passes) == ([0, 0, 0], 0.0, 1)
    histograms = [route.methods[b"GET"], meters.destinations["d"].responses, meters.endpoints["d", "e:1"].responses]
    assert [(found.counts, found.sum, found.statuses) for found in histograms] == [([0, 0, 0], 0.0, {200: 1})] * 3
    route.in_flight += 1
    route.ended(b"PUT", 200, 5.5)  # its first with that method
    assert route.methods[b"PUT"].counts == [0, 1, 0]
