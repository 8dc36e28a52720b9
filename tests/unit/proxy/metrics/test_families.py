"""The families that are shown are those that the guide names."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.proxy.metrics.counting import CORS, EVERYTHING, KEY, LOG, A, Worker, listener, scope, shown
from vrata.proxy.endpoint_status import (
    BreakerState,
    BreakerStatus,
    DestinationStatus,
    EndpointStatus,
    HealthState,
    HealthVerdict,
    OutlierVerdict,
)
from vrata.proxy.metrics.families import FAMILIES
from vrata.proxy.metrics.totals import Totals

PAGE = Path(__file__).resolve().parents[4] / "docs" / "guide" / "metrics.md"
ROW = re.compile(r"^\| (\w+) \| `(\w+)` \| (\w+) \| (.+) \|$", re.MULTILINE)


def test_the_guide_has_the_table() -> None:
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)))
        for _, name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    ]
    assert documented == [(family.name, family.kind, family.labels) for family in FAMILIES]


def test_each_is_shown_when_there_is_something_to_show() -> None:
    tls = {"cert": "/cert.pem", "key": "/key.pem"}
    secure = listener().model_copy(update={"tls": type(listener()).parse({"name": "x", "port": 1, "tls": tls}).tls})
    wanted = scope(secure)
    totals, worker = Totals(), Worker(wanted)
    totals.adopt(wanted)
    worker.request(to="d", retries=1)
    worker.meters[KEY].failed("timeout")
    worker.meters[KEY].span("exported")
    mirrored = worker.meters[KEY].mirrored(A, "d")
    assert mirrored is not None
    mirrored.sent += 1
    mirrored.skip("incomplete")
    for key in (CORS, LOG):
        middleware = worker.meters[KEY].middleware(key)
        assert middleware is not None
        middleware.rejected(403, 0.1)
    totals.add(worker, worker.hand_over())
    status = DestinationStatus("d", (EndpointStatus("e:1"),), breaker=BreakerStatus(), has_outlier_detection=True)
    heads = re.findall(r"^# TYPE (\w+) (\w+)$", shown(totals, destinations=[status]).text, re.MULTILINE)
    assert heads == [(family.name, family.kind) for family in FAMILIES]
    dimensions = [dimension for dimension, *_ in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert set(dimensions) == set(EVERYTHING)


def test_what_stands_for_and_against_endpoints_is_shown_without_any_request() -> None:
    wanted = scope()
    totals = Totals()
    totals.adopt(wanted)
    sick = HealthVerdict(HealthState.UNHEALTHY, "status 500")
    statuses = [
        DestinationStatus(
            "d",
            (
                EndpointStatus("e:1", consecutive_5xx=0),
                EndpointStatus("e:2", outlier=OutlierVerdict(True, ejections=3, held_back=2), consecutive_5xx=4),
                EndpointStatus("e:3", health=sick, consecutive_5xx=1),
            ),
            panic="too few",
            breaker=BreakerStatus(BreakerState.HALF_OPEN),
            has_outlier_detection=True,
        ),
        DestinationStatus("plain", (EndpointStatus("e:1"),)),
    ]
    scraped = shown(totals, destinations=statuses)
    assert scraped.all("vrata_destination_circuit_breaker_state") == [2]
    assert [scraped("vrata_destination_panic", destination=each) for each in ("d", "plain")] == [1, 0]
    assert [scraped("vrata_endpoint_healthy", destination="d", endpoint=f"e:{each}") for each in (1, 2, 3)] == [1, 0, 0]
    assert scraped("vrata_endpoint_healthy", destination="plain", endpoint="e:1") == 1
    assert scraped.all("vrata_endpoint_ejections_total") == [0, 3, 0]
    assert scraped.all("vrata_endpoint_ejections_held_back_total") == [0, 2, 0]
    assert scraped.all("vrata_endpoint_consecutive_5xx") == [0, 4, 1]


def test_streaks_that_all_workers_share_stand_before_what_each_has_seen() -> None:
    wanted = scope()
    totals, worker = Totals(), Worker(wanted)
    totals.adopt(wanted)
    worker.request(to="d", status=503)
    totals.add(worker, worker.hand_over())
    assert shown(totals).all("vrata_endpoint_consecutive_5xx") == [1]
    unjudged = DestinationStatus("d", (EndpointStatus("e:1"),))
    assert shown(totals, destinations=[unjudged]).all("vrata_endpoint_consecutive_5xx") == [1]
    judged = DestinationStatus("d", (EndpointStatus("e:1", consecutive_5xx=7),))
    assert shown(totals, destinations=[judged]).all("vrata_endpoint_consecutive_5xx") == [7]


def test_a_listener_that_does_not_collect_a_dimension_shows_none_of_it() -> None:
    bare = listener(collect={"destination": False, "endpoint": False})
    totals = Totals()
    totals.adopt(scope(bare))
    status = DestinationStatus("d", (EndpointStatus("e:1", consecutive_5xx=0),), breaker=BreakerStatus())
    assert "vrata_destination" not in shown(totals, destinations=[status]).text
    assert "vrata_endpoint" not in shown(totals, destinations=[status]).text
