"""Hand-overs of several workers becoming one sum, through every change that they may live through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exposition import Scraped
from tests.unit.proxy.metrics.counting import CORS, EVERYTHING, KEY, LOG, A, B, Worker, listener, scope, shown
from vrata.observability.exposition import lines
from vrata.proxy.meters import UNMATCHED, route_key
from vrata.proxy.metrics import families
from vrata.proxy.metrics.totals import Totals


def test_the_sum_of_two_workers() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    one, two = Worker(wanted), Worker(wanted)
    for status in (200, 200, 503):
        one.request(A, status, to="d")
    two.request(A, 200, to="d", seconds=3.0, retries=2)
    one.request(B, 200, retries=1)
    two.request(B, 404)
    totals.add(one, one.hand_over())
    totals.add(two, two.hand_over())
    scraped = shown(totals)
    assert scraped("vrata_route_requests_total", route="a", status_code="200") == 3
    assert scraped("vrata_route_requests_total", route="a", status_code="503") == 1
    assert scraped("vrata_route_requests_total", route="b", group="group", status_code="404") == 1
    assert scraped("vrata_route_duration_seconds_bucket", route="a", le="2.5") == 3
    assert scraped("vrata_route_duration_seconds_sum", route="a") == pytest.approx(3.003)
    assert scraped("vrata_route_request_bytes_total") == 60
    assert scraped("vrata_route_response_bytes_total") == 600
    assert scraped("vrata_route_retries_total", route="a", attempt="1") == 1
    assert scraped("vrata_route_retries_total", route="a", attempt="2") == 1
    assert scraped("vrata_route_retries_total", route="b", group="group", attempt="1") == 1
    assert scraped("vrata_destination_requests_total", destination="d") == 4
    assert scraped("vrata_endpoint_requests_total", endpoint="e:1") == 6


def test_runs_of_middlewares_are_summed() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    workers = Worker(wanted), Worker(wanted)
    for worker in workers:
        cors, log = worker.meters[KEY].middleware(CORS), worker.meters[KEY].middleware(LOG)
        assert cors is not None
        assert log is not None
        cors.passed(0.001)
        cors.rejected(403, 0.02)
        cors.failed()
        log.dropped("queue_full", 2)
        log.dropped("write_error")
        for _ in range(2):  # the second one has nothing new
            totals.add(worker, worker.hand_over())
    scraped = shown(totals)
    labels = {"middleware": "m", "type": "cors"}
    assert scraped("vrata_middleware_passed_total", **labels) == 2
    assert scraped("vrata_middleware_rejections_total", **labels, status_code="403") == 2
    assert scraped("vrata_middleware_errors_total", **labels) == 2
    assert scraped("vrata_middleware_duration_seconds_bucket", **labels, le="0.005") == 2
    assert scraped("vrata_middleware_duration_seconds_count", **labels) == 4
    assert scraped("vrata_middleware_duration_seconds_sum", **labels) == pytest.approx(0.042)
    assert scraped("vrata_middleware_passed_total", middleware="log", type="accessLog") == 0
    assert scraped("vrata_access_log_dropped_lines_total", middleware="log", reason="queue_full") == 4
    assert scraped("vrata_access_log_dropped_lines_total", middleware="log", reason="write_error") == 2


def test_a_middleware_that_is_gone_has_no_series() -> None:
    before, after = scope(), scope(middlewares=[LOG])
    totals, old = Totals(), Worker(before)
    totals.adopt(before)
    for _ in range(2):
        cors = old.meters[KEY].middleware(CORS)
        assert cors is not None
        cors.passed(0.001)
        totals.add(old, old.hand_over())
        totals.adopt(after)
    assert shown(totals).values("middleware") == set()
    old.serve(after)
    assert [*old.meters[KEY].middlewares] == []


def test_the_latest_trace_of_each_bucket_is_shown() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    one, two = Worker(wanted), Worker(wanted)
    for worker, seconds, trace_id in ((one, 0.001, "a"), (two, 0.002, "b"), (two, 3.0, "c")):
        worker.request(A, to="d", seconds=seconds)
        worker.meters[KEY].route(A).exemplify(b"GET", seconds, trace_id, 7.5)
        totals.add(worker, worker.hand_over())
    one.request(A)  # without a trace: what is shown stays
    totals.add(one, one.hand_over())
    found = totals.listener(KEY)
    assert found is not None
    scraped = Scraped("".join(lines(families.samples(found, exemplars=True), openmetrics=True)), openmetrics=True)
    noted = scraped.exemplars("vrata_route_duration_seconds")
    assert noted == {"0.005": ("b", 0.002, 7.5), "5.0": ("c", 3.0, 7.5)}
    assert "trace_id" not in shown(totals).text


def test_nothing_is_counted_twice() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    worker = Worker(wanted)
    worker.request()
    for _ in range(3):
        totals.add(worker, worker.hand_over())
    assert shown(totals)("vrata_route_requests_total") == 1


def test_what_workers_state_is_summed_and_goes_with_them() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    one, two = Worker(wanted), Worker(wanted)
    for worker, count in ((one, 2), (two, 3)):
        for _ in range(count):
            worker.meters[KEY].matched(A, 0)
        worker.meters[KEY].connected = 10 * count
        totals.add(worker, worker.hand_over())
    assert shown(totals)("vrata_route_inflight_requests", route="a") == 5
    assert shown(totals)("vrata_listener_active_connections") == 50
    two.meters[KEY].route(A).ended(b"GET", 200, 0.1)
    totals.add(two, two.hand_over())
    assert shown(totals)("vrata_route_inflight_requests", route="a") == 4
    totals.forget(two)
    assert shown(totals)("vrata_route_inflight_requests", route="a") == 2
    assert shown(totals)("vrata_listener_active_connections") == 20
    assert shown(totals)("vrata_route_requests_total", route="a") == 1
    # Its last request goes without a response: there is nothing to count, and still nothing in flight.
    for _ in range(2):
        one.meters[KEY].route(A).ended(b"GET", 0, 0.1)
    totals.add(one, one.hand_over())
    assert shown(totals)("vrata_route_inflight_requests", route="a") == 0


def test_the_longest_row_of_failures_is_shown() -> None:
    totals, wanted = Totals(), scope()
    totals.adopt(wanted)
    one, two = Worker(wanted), Worker(wanted)
    for worker, failures in ((one, 2), (two, 5)):
        for _ in range(failures):
            worker.request(status=500, to="d")
        totals.add(worker, worker.hand_over())
    assert shown(totals)("vrata_endpoint_consecutive_5xx") == 5
    two.request(to="d")
    totals.add(two, two.hand_over())
    assert shown(totals)("vrata_endpoint_consecutive_5xx") == 2


def test_a_draining_worker_does_not_bring_back_what_is_gone() -> None:
    before = scope()
    totals, old = Totals(), Worker(before)
    totals.adopt(before)
    old.request(A, to="d")
    old.request(B)
    totals.add(old, old.hand_over())
    totals.adopt(scope(routes=[A], destinations=[], endpoints=[]))
    assert shown(totals).values("route") == {"a"}
    for route in (A, B, UNMATCHED):
        old.request(route, to="d")
    totals.add(old, old.hand_over())
    scraped = shown(totals)
    assert scraped.values("route") == {"a", ""}
    assert scraped.values("destination") == set()
    assert scraped("vrata_route_requests_total", route="a") == 2


def test_a_listener_that_is_gone_is_forgotten_and_begins_at_zero_when_it_returns() -> None:
    both = scope(listener(), listener("m", 81))
    only_l = scope(listener())
    totals = Totals()
    totals.adopt(both)
    worker = Worker(scope(listener("m", 81)))
    worker.request()
    totals.add(worker, worker.hand_over())
    assert shown(totals, ("m", "0.0.0.0:81"))("vrata_route_requests_total") == 1
    totals.adopt(only_l)
    worker.request()
    totals.add(worker, worker.hand_over())
    assert shown(totals, ("m", "0.0.0.0:81")).samples == {}
    totals.adopt(both)
    assert shown(totals, ("m", "0.0.0.0:81")).all("vrata_route_requests_total") == []


def test_while_workers_apply_what_was_and_what_will_be_counts() -> None:
    before, after = scope(routes=[A]), scope(routes=[B])
    totals = Totals()
    totals.adopt(before)
    slow, fast = Worker(before), Worker(after)
    totals.expect(after)
    slow.request(A)
    fast.request(B)
    totals.add(slow, slow.hand_over())
    totals.add(fast, fast.hand_over())
    assert shown(totals).values("route") == {"a", "b"}
    totals.adopt(after)
    assert shown(totals).values("route") == {"b"}
    assert shown(totals)("vrata_route_requests_total", route="b") == 1


def test_a_snapshot_that_was_rejected_leaves_nothing() -> None:
    before = scope(routes=[A])
    totals, worker = Totals(), Worker(scope(routes=[B]))
    totals.adopt(before)
    totals.expect(scope(routes=[B]))
    worker.request(B)
    totals.add(worker, worker.hand_over())
    totals.adopt(before)
    worker.request(B)
    totals.add(worker, worker.hand_over())
    assert shown(totals).values("route") == set()


def test_durations_in_other_buckets_do_not_mix() -> None:
    before, after = scope(), scope(listener(histograms={"durationBuckets": [1, 2]}))
    totals = Totals()
    totals.adopt(before)
    worker, old = Worker(before), Worker(before)
    worker.request(seconds=1.5)
    totals.add(worker, worker.hand_over())
    totals.expect(after)
    worker.serve(after)
    worker.request(seconds=1.5)
    totals.add(worker, worker.hand_over())
    # Another worker, which is late or drains, counts in the buckets of before.
    old.request(seconds=1.5)
    totals.add(old, old.hand_over())
    for _ in range(2):
        scraped = shown(totals)
        assert scraped("vrata_route_requests_total") == 3
        assert [scraped("vrata_route_duration_seconds_bucket", le=limit) for limit in ("1.0", "2.0", "+Inf")] == [
            0,
            1,
            1,
        ]
        totals.adopt(after)


@pytest.mark.parametrize("dimension", EVERYTHING)
def test_a_dimension_that_is_switched_off_is_not_fed_by_who_does_not_know_it_yet(dimension: str) -> None:
    before, after = scope(), scope(listener(collect={**EVERYTHING, dimension: False}))
    totals, old = Totals(), Worker(before)
    totals.adopt(before)
    totals.expect(after)
    old.request(to="d")
    totals.add(old, old.hand_over())
    totals.adopt(after)
    old.request(to="d")
    totals.add(old, old.hand_over())
    name = "vrata_endpoint" if dimension == "endpoint" else f"vrata_{dimension}"
    assert [each for each in shown(totals).families if each.name.startswith(name)] == []


@pytest.mark.parametrize("dimension", EVERYTHING)
def test_a_dimension_that_is_about_to_be_switched_on_counts_at_once(dimension: str) -> None:
    before, after = scope(listener(collect={**EVERYTHING, dimension: False})), scope()
    totals, new = Totals(), Worker(after)
    totals.adopt(before)
    totals.expect(after)
    new.request(to="d")
    new.meters[KEY].accepted = 1
    new.meters[KEY].with_middleware(CORS).passed(0.001)
    totals.add(new, new.hand_over())
    totals.adopt(after)
    counters = {
        "route": "vrata_route_requests_total",
        "destination": "vrata_destination_requests_total",
        "endpoint": "vrata_endpoint_requests_total",
        "middleware": "vrata_middleware_passed_total",
        "listener": "vrata_listener_connections_total",
    }
    assert shown(totals)(counters[dimension]) == 1


def test_a_new_name_of_a_listener_goes_on_with_its_counts() -> None:
    totals, worker = Totals(), Worker(scope())
    totals.adopt(scope())
    worker.meters[KEY].accepted = 4
    totals.add(worker, worker.hand_over())
    renamed = listener().model_copy(update={"name": "renamed"})
    totals.adopt(scope(renamed))
    assert shown(totals)("vrata_listener_connections_total", listener="renamed") == 4


def test_lines_that_nobody_wrote_are_refused() -> None:
    totals = Totals()
    totals.adopt(scope())
    with pytest.raises(ValueError, match="Expecting"):
        totals.add("worker", b"nonsense")


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("request"),
            st.integers(0, 2),
            st.sampled_from([A, B, UNMATCHED]),
            st.sampled_from([200, 204, 404, 502, 0]),
            st.sampled_from([0.0, 0.005, 0.3, 99.0]),
            st.sampled_from(["", "d"]),
            st.integers(0, 3),
        ),
        st.tuples(st.just("hand over"), st.integers(0, 2)),
        st.tuples(st.just("replace"), st.integers(0, 2)),
    ),
    max_size=40,
)


@settings(max_examples=50)
@given(STEPS)
def test_however_it_is_spread_the_sum_is_what_one_worker_would_have_counted(steps: list[Any]) -> None:
    wanted = scope()
    totals, alone = Totals(), Totals()
    totals.adopt(wanted)
    alone.adopt(wanted)
    workers, single = [Worker(wanted) for _ in range(3)], Worker(wanted)
    earlier = shown(totals)
    for kind, index, *details in steps:
        if kind == "request":
            route, status, seconds, to, retries = details
            for worker in (workers[index], single):
                worker.request(route, status, to=to, seconds=seconds, retries=retries)
            continue
        totals.add(workers[index], workers[index].hand_over())
        if kind == "replace":
            totals.forget(workers[index])
            workers[index] = Worker(wanted)
        now = shown(totals)
        assert [*now.falls_below(earlier)] == []
        earlier = now
    for worker in workers:
        totals.add(worker, worker.hand_over())
    alone.add(single, single.hand_over())
    together, expected = shown(totals).counters(), shown(alone).counters()
    assert together.keys() >= expected.keys()
    for key, value in together.items():
        assert value == pytest.approx(expected.get(key, 0))


def test_copies_are_summed_over_workers_and_groups_and_go_with_what_they_are_of() -> None:
    twin = route_key("a", "group")
    totals, wanted = Totals(), scope(routes=(A, twin))
    totals.adopt(wanted)
    one, two = Worker(wanted), Worker(wanted)
    for worker, key, sent in ((one, A, 2), (two, A, 3), (two, twin, 4)):
        mirror = worker.meters[KEY].mirrored(key, "d")
        assert mirror is not None
        mirror.sent += sent
        mirror.skip("incomplete")
    for _ in range(2):  # nothing is counted twice
        totals.add(one, one.hand_over())
        totals.add(two, two.hand_over())
    scraped = shown(totals)
    assert scraped.all("vrata_mirror_requests_total", route="a", destination="d") == [9]
    assert scraped.all("vrata_mirror_skipped_total", route="a", destination="d", reason="incomplete") == [3]
    # A route that is gone, in the totals and in a worker that still speaks of it.
    fewer = scope(routes=(A,))
    totals.adopt(fewer)
    assert shown(totals)("vrata_mirror_requests_total") == 5
    late = two.meters[KEY].mirrored(twin, "d")
    assert late is not None
    late.sent += 1
    totals.add(two, two.hand_over())
    assert shown(totals)("vrata_mirror_requests_total") == 5
    two.serve(fewer)
    assert list(two.meters[KEY].mirrors) == [(A, "d")]
    totals.adopt(scope(routes=(A,), destinations=()))
    assert shown(totals).all("vrata_mirror_requests_total") == []


def test_copies_count_where_routes_do() -> None:
    without = listener(collect={"route": False})
    totals, wanted = Totals(), scope(without)
    totals.adopt(wanted)
    worker = Worker(wanted)
    assert worker.meters[KEY].mirrored(A, "d") is None


def test_endpoints_that_are_found_at_run_time_count_until_they_are_gone() -> None:
    totals = Totals()
    wanted = replace(scope(endpoints=()), discovering=frozenset({"d"}))
    totals.adopt(wanted)
    worker = Worker(scope())
    worker.request(to="d")
    totals.add(worker, worker.hand_over())
    totals.adopt(wanted)
    totals.keep_discovered({("d", "e:1")})
    assert shown(totals)("vrata_endpoint_requests_total", endpoint="e:1") == 1
    totals.keep_discovered({("d", "e:2")})
    assert shown(totals).all("vrata_endpoint_requests_total") == []


def test_endpoints_that_are_listed_do_not_depend_on_what_is_found() -> None:
    totals = Totals()
    totals.adopt(scope())
    worker = Worker(scope())
    worker.request(to="d")
    totals.add(worker, worker.hand_over())
    totals.keep_discovered(set())
    assert shown(totals)("vrata_endpoint_requests_total", endpoint="e:1") == 1
