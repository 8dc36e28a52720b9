"""Outlier detection of a real proxy: who gets requests after bad responses."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway
from tests.support.judged import JudgedBackend, answers, destination_of, only, serve
from tests.support.ports import free_port

DETECTION: Document = {"consecutive5xx": 5, "interval": "200ms", "baseEjectionTime": "1s"}
FOR_LONG = DETECTION | {"baseEjectionTime": "1h"}


@pytest.fixture
def good() -> Iterator[JudgedBackend]:
    with JudgedBackend("good") as running:
        yield running


@pytest.fixture
def bad() -> Iterator[JudgedBackend]:
    with JudgedBackend("bad", status=500) as running:
        yield running


def test_an_endpoint_is_ejected_for_its_time_and_returns(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    began = time.monotonic()
    serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=DETECTION))
    only(port, "good")
    bad.status = 200
    only(port, "good", "bad")
    assert time.monotonic() - began > 1.0
    time.sleep(0.5)  # two sweeps: what was before its return is forgotten
    assert set(answers(port)) == {"good", "bad"}


def test_the_workers_count_a_streak_together(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    detection = FOR_LONG | {"consecutive5xx": 40}
    serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=detection))
    ejections = gateway.process.text().count("endpoint is ejected")
    while len(bad.requests) < 36:
        answers(port, 2)
    time.sleep(0.5)  # two sweeps in which nothing happens
    assert "bad" in answers(port, 4)
    while len(bad.requests) < 40:
        answers(port, 2)
    # Neither worker has seen forty. Only the sweep is still to come.
    gateway.process.wait_for_text("endpoint is ejected", times=ejections + 1)
    only(port, "good")


def test_a_good_response_ends_a_streak(gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend) -> None:
    detection = FOR_LONG | {"consecutive5xx": 0, "consecutiveGatewayErrors": 5}
    serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=detection))
    for status in (503, 500, 503, 404, 503, 200):
        bad.status = status
        answers(port, 6)  # three for each
    time.sleep(0.5)
    assert "bad" in answers(port, 8)
    bad.status = 503
    only(port, "good")


def test_no_more_are_ejected_than_the_limit_allows(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    with JudgedBackend("worse", status=500) as worse:
        serve(gateway, port, destination_of(good.port, bad.port, worse.port, outlierDetection=FOR_LONG))
        eventually(lambda: len(answers(port, 30)) == 2, what="one is ejected")
        time.sleep(0.5)
        found = answers(port, 30)
        assert len(found) == 2
        assert "good" in found
        detection = FOR_LONG | {"maxEjectionPercent": 67}
        serve(gateway, port, destination_of(good.port, bad.port, worse.port, outlierDetection=detection))
        only(port, "good")


def test_an_endpoint_that_refuses_connections_is_ejected(gateway: Gateway, port: int, good: JudgedBackend) -> None:
    detection = FOR_LONG | {"consecutive5xx": 0, "consecutiveGatewayErrors": 3}
    serve(gateway, port, destination_of(good.port, free_port(), outlierDetection=detection))
    only(port, "good")


def test_an_ejection_survives_snapshots_and_the_death_of_workers_and_ends_with_outlier_detection(
    tmp_path: Path, good: JudgedBackend, bad: JudgedBackend
) -> None:
    port = free_port()
    with Gateway(tmp_path / "gateway") as gateway:
        serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=FOR_LONG))
        only(port, "good")
        bad.status = 200
        serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=FOR_LONG), "other")
        assert answers(port, 40) == {"good": 40}
        before = gateway.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(gateway.workers()) == 2 and not set(gateway.workers()) & set(before), what="new workers")
        assert set(answers(port, 100)) == {"good"}
        # Other settings leave it, none end it.
        changed = FOR_LONG | {"consecutive5xx": 50, "interval": "1s"}
        serve(gateway, port, destination_of(good.port, bad.port, outlierDetection=changed))
        assert answers(port, 40) == {"good": 40}
        serve(gateway, port, destination_of(good.port, bad.port))
        only(port, "good", "bad")
        log = gateway.process.text()
        assert log.count("endpoint is ejected") == 1
        assert "Traceback" not in log
