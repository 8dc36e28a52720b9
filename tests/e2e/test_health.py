"""Health checks of a real proxy: who gets requests while endpoints fail their probes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tls_upstream
from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway
from tests.support.judged import JudgedBackend, answers, destination_of, only, serve
from tests.support.ports import free_port

CHECK: Document = {"path": "/health", "interval": "100ms", "timeout": "10s"}
"""Three failures take half a second at the most, after a first second in which the first probes are made."""


@pytest.fixture
def good() -> Iterator[JudgedBackend]:
    with JudgedBackend("good") as running:
        yield running


@pytest.fixture
def bad() -> Iterator[JudgedBackend]:
    with JudgedBackend("bad") as running:
        yield running


def test_an_endpoint_that_fails_its_probes_gets_no_requests_until_it_passes_them(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK))
    only(port, "good", "bad")
    eventually(lambda: good.probes and bad.probes, what="both are probed")
    bad.health = 503
    only(port, "good")
    assert answers(port, 100) == {"good": 100}
    bad.health = 200
    only(port, "good", "bad")
    probe = next(request for request in bad.requests if request.target == "/health")
    assert probe.all("Host") == [f"127.0.0.1:{bad.port}"]
    assert probe.all("User-Agent")[0].startswith("vrata-health-check/")


def test_an_endpoint_that_does_not_answer_its_probes_is_unhealthy(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    bad.health = 0
    serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK | {"timeout": "200ms"}))
    only(port, "good")


def test_an_endpoint_that_refuses_connections_is_unhealthy(gateway: Gateway, port: int, good: JudgedBackend) -> None:
    check = {"type": "tcp", "interval": "100ms"}
    serve(gateway, port, destination_of(good.port, free_port(), healthCheck=check))
    only(port, "good")
    assert good.probes == 0


def test_below_the_panic_threshold_all_get_requests_and_without_one_nobody_does(
    gateway: Gateway, port: int, good: JudgedBackend, bad: JudgedBackend
) -> None:
    bad.health = 500
    serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK, panicThreshold=51))
    eventually(lambda: bad.probes > 3, what="bad is probed")
    time.sleep(0.2)  # that nothing happens is all there is to see
    assert set(answers(port)) == {"good", "bad"}
    serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK, panicThreshold=0))
    only(port, "good")
    good.health = 500
    only(port, "502")
    serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK))
    only(port, "good", "bad")


def test_the_standing_survives_snapshots_and_the_death_of_workers(
    tmp_path: Path, good: JudgedBackend, bad: JudgedBackend
) -> None:
    bad.health = 503
    port = free_port()
    with Gateway(tmp_path / "gateway") as gateway:
        serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK))
        only(port, "good")
        for name in ("one", "two", "three"):
            serve(gateway, port, destination_of(good.port, bad.port, healthCheck=CHECK), name)
            assert answers(port, 40) == {"good": 40}
        before = gateway.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(gateway.workers()) == 2 and not set(gateway.workers()) & set(before), what="new workers")
        # The first that they serve is right already. Those that were on their way to the dead may fail.
        assert set(answers(port, 100)) == {"good"}
        log = gateway.process.text()
        assert log.count("endpoint is unhealthy") == 1
        assert "status 503" in log
        assert "Traceback" not in log


def test_probes_are_secured_as_requests_are(gateway: Gateway, port: int, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text(tls_upstream.authority().cert_text)
    tls = {"mode": "tls", "ca": str(authority), "sni": tls_upstream.NAME}
    with (
        JudgedBackend("good", tls=tls_upstream.serving()) as good,
        JudgedBackend("bad", health=503, tls=tls_upstream.serving()) as bad,
        JudgedBackend("clear") as clear,
    ):
        serve(gateway, port, destination_of(good.port, bad.port, clear.port, healthCheck=CHECK, tls=tls))
        only(port, "good")
        bad.health = 200
        only(port, "good", "bad")
        assert good.probes
        # Not only nobody's requests: nothing is said in clear to who is to be spoken to over TLS.
        assert clear.probes == 0
