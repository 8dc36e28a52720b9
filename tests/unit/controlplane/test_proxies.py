from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vrata.controlplane import proxies
from vrata.controlplane.proxies import Acknowledgement, ProxyRegistry, TooManyProxiesError

START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def registry(self) -> ProxyRegistry:
        return ProxyRegistry(lambda: self.seconds, lambda: START + timedelta(seconds=self.seconds))


def acknowledgement(version: str = "0.1.0") -> Acknowledgement:
    return Acknowledgement.model_validate(
        {
            "version": version,
            "activeSnapshot": {"id": "s1", "name": "first"},
            "lastApply": {
                "snapshotId": "s1",
                "status": "applied",
                "reason": "",
                "problems": [{"kind": "route", "id": "r1", "name": "one", "reason": "bad regex"}],
                "seconds": 0.12,
            },
            "listeners": [{"id": "l1", "name": "web", "address": "0.0.0.0:3000", "state": "listening", "reason": ""}],
            "workers": [{"slot": 0, "pid": 123, "state": "serving"}],
            "somethingNewer": True,
        }
    )


def test_a_proxy_is_shown_as_it_acknowledged() -> None:
    registry = Time().registry()
    registry.acknowledge("p1", acknowledgement())
    assert registry.documents() == [
        {
            "id": "p1",
            "connected": True,
            "lastSeen": "2026-01-01T00:00:00.000000Z",
            "version": "0.1.0",
            "activeSnapshot": {"id": "s1", "name": "first"},
            "lastApply": {
                "snapshotId": "s1",
                "status": "applied",
                "reason": "",
                "problems": [{"kind": "route", "id": "r1", "name": "one", "reason": "bad regex"}],
                "seconds": 0.12,
            },
            "listeners": [
                {
                    "id": "l1",
                    "name": "web",
                    "address": "0.0.0.0:3000",
                    "state": "listening",
                    "reason": "",
                    "bindError": None,
                    "tls": None,
                }
            ],
            "workers": [{"slot": 0, "pid": 123, "state": "serving"}],
        }
    ]


def test_proxies_are_sorted_by_id() -> None:
    registry = Time().registry()
    for id_ in ("b", "a", "C"):
        registry.acknowledge(id_, acknowledgement())
    assert [status.id for status in registry.statuses()] == ["C", "a", "b"]


def test_a_proxy_is_connected_for_30_seconds_after_an_acknowledgement() -> None:
    time = Time()
    registry = time.registry()
    registry.acknowledge("p1", acknowledgement())
    time.seconds = 29.9
    assert registry.statuses()[0].connected
    time.seconds = 30
    assert not registry.statuses()[0].connected
    assert registry.statuses()[0].last_seen == "2026-01-01T00:00:00.000000Z"


def test_a_proxy_is_connected_as_long_as_a_stream_is_open() -> None:
    time = Time()
    registry = time.registry()
    with registry.stream_open("p1"):
        with registry.stream_open("p1"):
            time.seconds = 50
        time.seconds = 100
        (status,) = registry.statuses()
        assert status.connected
        assert status.last_seen == "2026-01-01T00:01:40.000000Z"
        assert (status.version, status.active_snapshot) == ("", None)
    time.seconds = 110
    (status,) = registry.statuses()
    assert not status.connected
    assert status.last_seen == "2026-01-01T00:01:40.000000Z"


def test_a_proxy_silent_for_an_hour_is_forgotten() -> None:
    time = Time()
    registry = time.registry()
    registry.acknowledge("p1", acknowledgement())
    with registry.stream_open("p2"):
        time.seconds = 3599
        assert [status.id for status in registry.statuses()] == ["p1", "p2"]
        time.seconds = 3600
        assert [status.id for status in registry.statuses()] == ["p2"]


def test_the_number_of_proxies_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "MOST_PROXIES", 2)
    time = Time()
    registry = time.registry()
    registry.acknowledge("p1", acknowledgement())
    registry.acknowledge("p2", acknowledgement())
    with pytest.raises(TooManyProxiesError):
        registry.acknowledge("p3", acknowledgement())
    registry.acknowledge("p1", acknowledgement("0.2.0"))
    time.seconds = 3600
    registry.acknowledge("p3", acknowledgement())
